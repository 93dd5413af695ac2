//! Times as the services write them: RFC 3339 in UTC.

use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Reads `2026-11-24T12:00:00.123Z`.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

/// Writes milliseconds at most: some services refuse more digits.
pub fn to_rfc3339(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    at.replace_millisecond(at.millisecond()).ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// For a field that is always there.
pub(crate) mod required {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        parse_rfc3339(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no RFC 3339 time")))
    }

    pub(crate) fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&to_rfc3339(*at))
    }
}

/// For a field that may be absent or null; give it `#[serde(default)]` too.
pub(crate) mod optional {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
        match Option::<String>::deserialize(from)? {
            None => Ok(None),
            Some(text) => parse_rfc3339(&text)
                .map(Some)
                .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no RFC 3339 time"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_survive_with_milliseconds() {
        let at = UNIX_EPOCH + Duration::new(1_795_521_600, 123_456_789);
        assert_eq!(to_rfc3339(at), "2026-11-24T12:00:00.123Z");
        assert_eq!(
            parse_rfc3339("2026-11-24T13:00:00+01:00"),
            Some(UNIX_EPOCH + Duration::from_secs(1_795_521_600))
        );
        assert_eq!(parse_rfc3339("yesterday"), None);
    }
}
