//! The auth service's `POST /v1/x509`: an instance shows its certificate and gets a session token for a key of its own.

use serde::Deserialize;
use serde_json::json;

use super::{Answer, Refusal, Request};
use crate::auth::public_key::PublicKey;
use crate::auth::signature::Verifier;
use crate::auth::token;
use crate::cloud::{Cloud, Now};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Federate {
    certificate: String,
    public_key: String,
}

/// The answer, and who it went to.
///
/// # Errors
/// 400 for a body of another form; 401 when certificate or signature are not good.
pub(crate) fn answer(cloud: &Cloud, request: &Request, now: Now) -> Result<(Answer, String), Refusal> {
    let wanted: Federate = request.json()?;
    let verifier = Verifier {
        authority: &cloud.authority,
        users: &cloud.users,
        tenancy: &cloud.settings.tenancy.id,
        unix: now.unix(),
    };
    let certified = verifier.federated(request, &wanted.certificate)?;
    let instance = cloud.compute.get(&certified.instance).filter(|instance| !instance.state.is_gone());
    let instance = instance.ok_or_else(Refusal::not_found)?;
    let key = PublicKey::from_pem(&wanted.public_key)
        .ok_or_else(|| Refusal::invalid("publicKey is no RSA key, base64 of a SubjectPublicKeyInfo."))?;
    let token = token::of_instance(
        &cloud.authority,
        &instance.id,
        &instance.compartment,
        &cloud.settings.tenancy.id,
        &key,
        (now.unix(), cloud.settings.tokens.session_seconds),
    );
    Ok((Answer::json(&json!({"token": token})), instance.id.clone()))
}
