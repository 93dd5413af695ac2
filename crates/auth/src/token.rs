//! Access tokens: signing and checking. A token is an HS256 JWT whose issuer names the API key; an expiry
//! is mandatory. The texts of [`TokenError`] are what LiveKit's server answers, because people search for them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Claims, KeyStore};

/// How far the clocks of the token's maker and of this server may differ.
const LEEWAY_SECONDS: f64 = 60.0;

/// Life of a token whose maker did not say.
pub const DEFAULT_TTL: Duration = Duration::from_secs(6 * 3600);

/// Least life of a refresh token: long enough to bridge two refreshes (each 5 minutes).
pub const REFRESH_TTL: Duration = Duration::from_secs(600);

/// Why a token is refused. All of these are HTTP 401.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("invalid authorization token")]
    Malformed,
    #[error("invalid API key")]
    UnknownKey,
    #[error("invalid authorization token: token signature is invalid: signing method {0} is invalid")]
    BadMethod(String),
    #[error("invalid authorization token: token signature is invalid: signature is invalid")]
    BadSignature,
    #[error("invalid authorization token: token is unverifiable: its claims are of the wrong types")]
    BadClaims,
    #[error(
        "invalid authorization token: token has invalid claims: token is missing required claim: \
         exp claim is required"
    )]
    NoExpiry,
    #[error("invalid authorization token: token has invalid claims: token is expired")]
    Expired,
    #[error("invalid authorization token: token has invalid claims: token is not valid yet")]
    NotYetValid,
}

/// A token that passed every check.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// Id of the API key that signed it.
    pub api_key: String,
    pub claims: Claims,
    pub expires_at: SystemTime,
}

/// The registered claims that matter; numbers may be fractional.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Registered {
    iss: String,
    sub: String,
    #[serde(skip_serializing)]
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<f64>,
}

#[derive(Serialize)]
struct Payload<'a> {
    iss: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sub: &'a str,
    iat: u64,
    nbf: u64,
    exp: u64,
    #[serde(flatten)]
    claims: &'a Claims,
}

impl KeyStore {
    /// Checks a token: well-formed, known key, signature, expiry, start of validity; in this order.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Verified, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        let unverified = jsonwebtoken::dangerous::insecure_decode::<Value>(token);
        let mut payload = unverified.map_err(|_| TokenError::Malformed)?.claims;
        drop_nulls(&mut payload);
        let registered = Registered::deserialize(&payload).map_err(|_| TokenError::Malformed)?;
        let secret = self.secret(&registered.iss).ok_or(TokenError::UnknownKey)?;
        if header.alg != Algorithm::HS256 {
            return Err(TokenError::BadMethod(format!("{:?}", header.alg)));
        }

        let mut signature_only = Validation::new(Algorithm::HS256);
        signature_only.required_spec_claims.clear();
        signature_only.validate_exp = false; // checked below against `now`
        signature_only.validate_aud = false;
        let key = DecodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::decode::<Value>(token, &key, &signature_only).map_err(|e| match e.kind() {
            ErrorKind::InvalidSignature => TokenError::BadSignature,
            _ => TokenError::Malformed,
        })?;

        let expires_at = check_times(&registered, now)?;
        let mut claims = Claims::deserialize(payload).map_err(|_| TokenError::BadClaims)?;
        claims.identity = if registered.sub.is_empty() { registered.jti } else { registered.sub };
        Ok(Verified { api_key: registered.iss, claims, expires_at })
    }

    /// Signs a token with the first key, valid from now on for `ttl`.
    pub fn mint(&self, claims: &Claims, now: SystemTime, ttl: Duration) -> String {
        let (key, secret) = self.first();
        let now = unix_seconds(now);
        let payload =
            Payload { iss: key, sub: &claims.identity, iat: now, nbf: now, exp: now + ttl.as_secs(), claims };
        jsonwebtoken::encode(&Header::default(), &payload, &EncodingKey::from_secret(secret.as_bytes()))
            .expect("plain strings and numbers always serialise")
    }
}

/// `exp` is required; both bounds have a minute of leeway.
fn check_times(registered: &Registered, now: SystemTime) -> Result<SystemTime, TokenError> {
    let now = unix_seconds(now) as f64;
    let exp = registered.exp.ok_or(TokenError::NoExpiry)?;
    if now >= exp + LEEWAY_SECONDS {
        return Err(TokenError::Expired);
    }
    if registered.nbf.is_some_and(|nbf| now + LEEWAY_SECONDS < nbf) {
        return Err(TokenError::NotYetValid);
    }
    // A token for the end of time is cut to a century: `SystemTime` cannot hold every float.
    const CENTURY_SECONDS: f64 = 100.0 * 365.0 * 86_400.0;
    let expires_at = exp.clamp(0.0, now + CENTURY_SECONDS);
    Ok(UNIX_EPOCH + Duration::from_secs_f64(expires_at))
}

/// Some token makers write `null` for what they leave out.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
