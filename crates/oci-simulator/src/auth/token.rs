//! Session tokens: JSON Web Tokens signed by the cloud, which name a caller and the key that it signs with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::authority::Key;
use super::public_key::PublicKey;
use super::{Authority, Principal};
use crate::ocid;

/// What a good token says.
pub(crate) struct Session {
    pub(crate) principal: Principal,
    pub(crate) key: PublicKey,
}

/// Why a token is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TokenError {
    Malformed,
    Expired,
}

/// A token for an instance that has shown its certificate.
pub(crate) fn of_instance(
    authority: &Authority,
    instance: &str,
    compartment: &str,
    tenancy: &str,
    session_key: &PublicKey,
    (unix, seconds): (i64, i64),
) -> String {
    sign(
        authority.key(),
        json!({
            "sub": instance, "iss": "authService.oracle.com", "aud": "oci", "ptype": "instance", "ttype": "x509",
            "opc-certtype": "instance", "opc-instance": instance, "opc-compartment": compartment,
            "opc-tenant": tenancy, "tenant": tenancy, "iat": unix, "exp": unix + seconds, "jti": ocid::uuid(),
            "jwk": session_key.to_jwk(instance).to_string(),
        }),
    )
}

/// A resource principal's token, as a function finds it in its container.
pub(crate) fn of_resource(
    authority: &Authority,
    (kind, id): (&str, &str),
    compartment: &str,
    tenancy: &str,
    session_key: &PublicKey,
    (unix, seconds): (i64, i64),
) -> String {
    sign(
        authority.key(),
        json!({
            "sub": id, "iss": "authService.oracle.com", "aud": "oci", "ptype": "resource", "ttype": "res",
            "res_id": id, "res_type": kind, "res_compartment": compartment, "res_tenant": tenancy,
            "tenant": tenancy, "iat": unix, "exp": unix + seconds, "jti": ocid::uuid(),
            "jwk": session_key.to_jwk(id).to_string(),
        }),
    )
}

fn sign(key: &Key, claims: Value) -> String {
    let header = json!({"kid": "asw_sim", "alg": "RS256"});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&header), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()));
    format!("{text}.{signature}")
}

/// Reads a token.
///
/// # Errors
/// When the cloud has not signed it, or it has expired.
pub(crate) fn verify(authority: &Authority, token: &str, unix: i64) -> Result<Session, TokenError> {
    let claims = signed_claims(authority, token).ok_or(TokenError::Malformed)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).ok_or(TokenError::Malformed);
    if claims.get("exp").and_then(Value::as_i64).ok_or(TokenError::Malformed)? <= unix {
        return Err(TokenError::Expired);
    }
    let jwk: Value = serde_json::from_str(text("jwk")?).map_err(|_| TokenError::Malformed)?;
    let key = PublicKey::from_jwk(&jwk).ok_or(TokenError::Malformed)?;
    let principal = match text("ptype")? {
        "instance" => Principal::Instance { id: text("opc-instance")?.into() },
        "resource" => Principal::Resource {
            id: text("res_id")?.into(),
            kind: text("res_type")?.into(),
            compartment: text("res_compartment")?.into(),
        },
        _ => return Err(TokenError::Malformed),
    };
    Ok(Session { principal, key })
}

fn signed_claims(authority: &Authority, token: &str) -> Option<Value> {
    let (text, signature) = token.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if !authority.key().public()?.verifies(text.as_bytes(), &signature) {
        return None;
    }
    let (_, claims) = text.split_once('.')?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_for_its_time_and_only_if_untouched() {
        let authority = Authority::new(1000).unwrap();
        let key = authority.key().public().unwrap();
        let token = of_instance(&authority, "i", "c", "t", &key, (1000, 60));
        let session = verify(&authority, &token, 1059).unwrap();
        assert_eq!(session.principal, Principal::Instance { id: "i".into() });
        assert_eq!(session.key, key);
        assert_eq!(verify(&authority, &token, 1060).err(), Some(TokenError::Expired));
        let forged = token.replacen('a', "b", 1);
        assert_eq!(verify(&authority, &forged, 1001).err(), Some(TokenError::Malformed));
        assert_eq!(verify(&authority, "..", 1001).err(), Some(TokenError::Malformed));
    }
}
