//! Session tokens: JSON web tokens whose signature only Oracle checks; we read when they end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::PrincipalError;
use crate::ocid::Ocid;

/// A token is renewed this long before its end…
const AHEAD: Duration = Duration::from_secs(300);
/// …or when this part of its life is left, if that is shorter.
const LAST_PART: u32 = 4;

/// When a token ends and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) ends: SystemTime,
    life: Option<Duration>,
    /// Tenancy of a resource.
    pub(super) tenancy: Option<Ocid>,
}

/// How good a token still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    Fresh,
    /// Good, but to be renewed.
    Stale,
    Ended,
}

impl Claims {
    pub(super) fn of(token: &str) -> Result<Claims, PrincipalError> {
        #[derive(Deserialize)]
        struct Payload {
            exp: u64,
            iat: Option<u64>,
            res_tenant: Option<Ocid>,
        }
        let mut parts = token.split('.');
        let (Some(_), Some(payload), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(PrincipalError::Token("it has not three parts"));
        };
        let json = URL_SAFE_NO_PAD
            .decode(payload.trim_end_matches('='))
            .map_err(|_| PrincipalError::Token("its second part is no base64"))?;
        let payload: Payload = serde_json::from_slice(&json)
            .map_err(|_| PrincipalError::Token("it does not say when it ends"))?;
        let ends = UNIX_EPOCH
            .checked_add(Duration::from_secs(payload.exp))
            .ok_or(PrincipalError::Token("its end is no time"))?;
        let life = payload.iat.map(|from| Duration::from_secs(payload.exp.saturating_sub(from)));
        Ok(Claims { ends, life, tenancy: payload.res_tenant })
    }

    pub(super) fn freshness(&self, now: SystemTime) -> Freshness {
        let Ok(left) = self.ends.duration_since(now) else {
            return Freshness::Ended;
        };
        let ahead = self.life.map_or(AHEAD, |life| AHEAD.min(life / LAST_PART));
        match left {
            // A request is on its way for a moment.
            left if left < Duration::from_secs(1) => Freshness::Ended,
            left if left <= ahead => Freshness::Stale,
            _ => Freshness::Fresh,
        }
    }
}

#[cfg(test)]
pub(super) fn test_token(issued: u64, ends: u64) -> String {
    let payload = format!(r#"{{"exp":{ends},"iat":{issued},"res_tenant":"ocid1.tenancy.oc1..t"}}"#);
    format!("e30.{}.x", URL_SAFE_NO_PAD.encode(payload))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn freshness(issued: u64, ends: u64, now: u64) -> Freshness {
        let claims = Claims::of(&test_token(issued, ends)).unwrap();
        claims.freshness(UNIX_EPOCH + Duration::from_secs(now))
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        assert_eq!(freshness(0, 1200, 899), Freshness::Fresh);
        assert_eq!(freshness(0, 1200, 900), Freshness::Stale);
        assert_eq!(freshness(0, 1200, 1200), Freshness::Ended);
        // A short one is not stale from its first moment.
        assert_eq!(freshness(0, 40, 10), Freshness::Fresh);
        assert_eq!(freshness(0, 40, 31), Freshness::Stale);
    }

    proptest! {
        #[test]
        fn nonsense_is_an_error_and_no_panic(token in ".{0,200}") {
            prop_assert!(Claims::of(&token).is_err());
        }

        #[test]
        fn any_numbers_are_taken(issued: u64, ends: u64, now in 0u64..(1 << 40)) {
            let payload = format!(r#"{{"exp":{ends},"iat":{issued}}}"#);
            if let Ok(claims) = Claims::of(&format!("e30.{}.x", URL_SAFE_NO_PAD.encode(payload))) {
                claims.freshness(UNIX_EPOCH + Duration::from_secs(now));
            }
        }
    }
}
