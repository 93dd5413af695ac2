//! Exchanges an instance's certificate for a session: a token and the key that signs with it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Uri};
use serde::Deserialize;
use serde_json::json;

use super::PrincipalError;
use super::certificate::Leaf;
use super::token::Claims;
use crate::endpoints::Service;
use crate::error::{Error, Failure};
use crate::signing::{Signer, SigningError};
use crate::transport::{Answer, Budget, Call, HttpClient, Patience, Policy, path, refusal, retrying, signed};

const OPERATION: &str = "X509Federation";

/// A session of an instance.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) signer: Signer,
    pub(super) claims: Claims,
}

/// The federation endpoint of the region.
pub(super) struct Federation {
    pub(super) http: HttpClient,
    pub(super) endpoint: Uri,
    pub(super) policy: Policy,
    pub(super) budget: Budget,
}

impl Federation {
    /// A new session with a new key.
    pub(super) async fn session(&self, leaf: &Leaf) -> Result<Session, PrincipalError> {
        let key = new_key().await?;
        let public: PublicKeyX509Der<'_> =
            key.public_key().as_der().map_err(|_| PrincipalError::Signing(SigningError::Failed))?;
        let body = json!({
            "certificate": leaf.certificate(),
            "publicKey": STANDARD.encode(public.as_ref()),
            "intermediateCertificates": leaf.intermediates(),
            "fingerprintAlgorithm": "SHA256",
        });
        // Sessions may be asked for again and again.
        let call = Call::post(OPERATION, Service::Auth, path(["v1", "x509"])).json(&body).idempotent();
        let signer = leaf.signer();
        let once = |within| self.once(&call, &signer, within);
        let answer = retrying(&self.policy, Patience::default(), call.safety, &self.budget, once).await?;
        #[derive(Deserialize)]
        struct Token {
            token: String,
        }
        let Token { token } = serde_json::from_slice(&answer.body).map_err(|_| {
            Error::new(OPERATION, Failure::BadAnswer { cause: "there is no token in it".into() })
                .with_request_id(answer.header("opc-request-id").map(str::to_owned))
        })?;
        let claims = Claims::of(&token)?;
        Ok(Session { signer: Signer::new(format!("ST${token}"), Arc::new(key)), claims })
    }

    async fn once(&self, call: &Call, signer: &Signer, within: Duration) -> Result<Answer, Error> {
        let now = SystemTime::now();
        let fail = |failure| Error::new(OPERATION, failure);
        let request = signed(&self.endpoint, call, HeaderMap::new(), signer, false, now).map_err(fail)?;
        let answer = self.http.exchange(request, call.limit, within).await.map_err(fail)?;
        match answer.status.is_success() {
            true => Ok(answer),
            false => Err(refusal(OPERATION, &answer, now)),
        }
    }
}

/// Takes a good part of a second: not on a thread that serves others.
async fn new_key() -> Result<RsaKeyPair, PrincipalError> {
    let made = tokio::task::spawn_blocking(|| RsaKeyPair::generate(KeySize::Rsa2048)).await;
    match made {
        Ok(Ok(key)) => Ok(key),
        _ => Err(PrincipalError::Signing(SigningError::Failed)),
    }
}
