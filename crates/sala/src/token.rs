//! `sala token`: access tokens on the command line.

use std::time::{Duration, SystemTime};

use auth::{Claims, KeyStore, VideoGrant};

use crate::cli::{KeyArgs, TokenArgs};

/// Prints a token.
pub(crate) fn create(args: TokenArgs) -> anyhow::Result<()> {
    let join = args.join || !(args.create || args.list || args.admin);
    if (join || args.admin) && args.room.is_empty() {
        anyhow::bail!("the token needs a room to join or administer; add --room NAME");
    }
    let video = VideoGrant {
        room_join: join,
        room_create: args.create,
        room_list: args.list,
        room_admin: args.admin,
        room: args.room,
        can_publish: args.no_publish.then_some(false),
        can_subscribe: args.no_subscribe.then_some(false),
        hidden: args.hidden,
        ..VideoGrant::default()
    };
    let claims = Claims {
        identity: args.identity,
        name: args.name,
        metadata: args.metadata,
        attributes: args.attributes.into_iter().collect(),
        video: Some(video),
        ..Claims::default()
    };
    println!("{}", key_store(&args.keys)?.mint(&claims, SystemTime::now(), args.valid_for));
    Ok(())
}

/// The one pair of the command line as a store.
pub(crate) fn key_store(keys: &KeyArgs) -> anyhow::Result<KeyStore> {
    Ok(KeyStore::new([(keys.api_key.clone(), keys.api_secret.as_str().into())])?)
}

pub(crate) fn parse_attribute(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `90s`, `30m`, `6h`, `1d`.
pub(crate) fn parse_ttl(text: &str) -> Result<Duration, String> {
    const REMEDY: &str = "write a number and s, m, h or d, as in 6h";
    let unit = text.chars().last().ok_or(REMEDY)?;
    let number: u32 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| REMEDY)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(REMEDY.into()),
    };
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_read_with_their_unit() {
        assert_eq!(parse_ttl("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_ttl("6h"), Ok(Duration::from_secs(21_600)));
        for wrong in ["", "6", "h", "-1h", "6 h", "6é"] {
            assert!(parse_ttl(wrong).is_err(), "{wrong}");
        }
    }
}
