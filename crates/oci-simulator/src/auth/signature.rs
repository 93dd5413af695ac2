//! Checks a request's signature as OCI does: draft-cavage HTTP signatures with RSA-SHA256, a date within five
//! minutes, the body's digest, and a key that is known.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::header::{self, Header};
use super::public_key::{PublicKey, unarmoured};
use super::{Authority, Principal, token};
use crate::api::{Refusal, Request};
use crate::config::User;

/// How far a date may be off.
pub(crate) const MAX_SKEW_SECONDS: i64 = 300;

/// What the check needs to know.
pub(crate) struct Verifier<'a> {
    pub(crate) authority: &'a Authority,
    pub(crate) users: &'a [User],
    pub(crate) tenancy: &'a str,
    /// Real unix seconds.
    pub(crate) unix: i64,
}

/// What must be signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cover {
    /// Everything, body included.
    Body,
    /// All but the body: puts of objects.
    Headers,
    /// The federation's request, which does not sign `host`.
    Federation,
}

impl Verifier<'_> {
    /// The caller, if all is well.
    ///
    /// # Errors
    /// 401 with a message for the log of whoever wonders; the real service says less.
    pub(crate) fn caller(&self, request: &Request, cover: Cover) -> Result<Principal, Refusal> {
        let value =
            request.header("authorization").ok_or_else(|| refused("there is no Authorization header"))?;
        let header = header::parse(value)
            .ok_or_else(|| refused("the Authorization header is no HTTP signature, version 1"))?;
        let (principal, key) = self.key(header.key_id)?;
        self.check(request, &header, &key, cover)?;
        Ok(principal)
    }

    fn key(&self, key_id: &str) -> Result<(Principal, PublicKey), Refusal> {
        if let Some(text) = key_id.strip_prefix("ST$") {
            let session = token::verify(self.authority, text, self.unix).map_err(|error| match error {
                token::TokenError::Malformed => refused("the session token is not one of this cloud"),
                token::TokenError::Expired => refused("the session token has expired"),
            })?;
            return Ok((session.principal, session.key));
        }
        let mut parts = key_id.splitn(3, '/');
        let (tenancy, id, fingerprint) = (parts.next(), parts.next(), parts.next());
        let user = self.users.iter().find(|user| {
            tenancy == Some(self.tenancy)
                && id == Some(&user.id)
                && fingerprint.is_some_and(|print| print.eq_ignore_ascii_case(&user.fingerprint))
        });
        let user = user.ok_or_else(|| refused("no user has that key"))?;
        let key = PublicKey::from_pem(&user.public_key)
            .ok_or_else(|| refused("the user's publicKey in the configuration is no RSA key in PEM"))?;
        Ok((Principal::User { id: user.id.clone(), groups: user.groups.clone() }, key))
    }

    /// The instance that asks for a token: signed with the key of its certificate, which the body carries too.
    ///
    /// # Errors
    /// 401 when certificate or signature are not good.
    pub(crate) fn federated(
        &self,
        request: &Request,
        certificate: &str,
    ) -> Result<super::authority::Certified, Refusal> {
        let value =
            request.header("authorization").ok_or_else(|| refused("there is no Authorization header"))?;
        let header = header::parse(value)
            .ok_or_else(|| refused("the Authorization header is no HTTP signature, version 1"))?;
        let der = unarmoured(certificate).ok_or_else(|| refused("the certificate is not base64"))?;
        let certified = self
            .authority
            .certified(&der, self.unix)
            .ok_or_else(|| refused("the certificate is not of this cloud, or not valid now"))?;
        let expected = |algorithm, kind: &str| {
            let print = aws_lc_rs::digest::digest(algorithm, &der);
            let print: Vec<String> = print.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
            format!("{}/{kind}/{}", certified.tenancy, print.join(":"))
        };
        let sha1 = expected(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, "fed-x509");
        let sha256 = expected(&aws_lc_rs::digest::SHA256, "fed-x509-sha256");
        // Oracle's SDK for Python writes capital letters, the one for Go small ones.
        if ![sha1, sha256].iter().any(|id| header.key_id.eq_ignore_ascii_case(id)) {
            return Err(refused("keyId is not <tenancy>/fed-x509/<fingerprint of the certificate>"));
        }
        self.check(request, &header, &certified.key, Cover::Federation)?;
        Ok(certified)
    }

    fn check(
        &self,
        request: &Request,
        header: &Header<'_>,
        key: &PublicKey,
        cover: Cover,
    ) -> Result<(), Refusal> {
        if header.algorithm != "rsa-sha256" {
            return Err(refused("the algorithm is not rsa-sha256"));
        }
        let covers = |name: &str| header.headers.iter().any(|header| header == name);
        self.check_date(request, &covers)?;
        let is_with_body = matches!(request.method.as_str(), "POST" | "PUT" | "PATCH");
        let mut required = vec!["(request-target)"];
        if cover != Cover::Federation {
            required.push("host");
        }
        if is_with_body && cover != Cover::Headers {
            required.extend(["content-length", "content-type", "x-content-sha256"]);
        }
        if let Some(missing) = required.into_iter().find(|name| !covers(name)) {
            return Err(refused(&format!("{missing} is not among the signed headers")));
        }
        if covers("x-content-sha256") {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &request.body);
            if request.header("x-content-sha256") != Some(STANDARD.encode(digest).as_str()) {
                return Err(refused("x-content-sha256 is not the digest of the body"));
            }
        }
        let message = message(request, &header.headers)?;
        let signature =
            STANDARD.decode(header.signature).map_err(|_| refused("the signature is not base64"))?;
        if !key.verifies(message.as_bytes(), &signature) {
            return Err(refused("the signature does not fit the request"));
        }
        Ok(())
    }

    fn check_date(&self, request: &Request, covers: &dyn Fn(&str) -> bool) -> Result<(), Refusal> {
        let name = ["x-date", "date"].into_iter().find(|name| covers(name) && request.header(name).is_some());
        let name = name.ok_or_else(|| refused("neither date nor x-date is among the signed headers"))?;
        let date = request.header(name).and_then(|date| httpdate::parse_http_date(date).ok());
        let date = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
        let date = date.ok_or_else(|| refused("the date is no HTTP date"))?;
        if (date.as_secs() as i64 - self.unix).abs() > MAX_SKEW_SECONDS {
            return Err(refused("the date is more than five minutes off"));
        }
        Ok(())
    }
}

/// The text that is signed.
fn message(request: &Request, headers: &[String]) -> Result<String, Refusal> {
    let mut lines = Vec::with_capacity(headers.len());
    for name in headers {
        if name == "(request-target)" {
            let method = request.method.as_str().to_ascii_lowercase();
            lines.push(format!("(request-target): {method} {}", request.target));
            continue;
        }
        let value = request
            .header(name)
            .ok_or_else(|| refused(&format!("the signed header {name} is not in the request")))?;
        lines.push(format!("{name}: {value}"));
    }
    Ok(lines.join("\n"))
}

fn refused(why: &str) -> Refusal {
    let text = "The required information to complete authentication was not provided or was incorrect.";
    Refusal::new(401, "NotAuthenticated", format!("{text} (simulator: {why})"))
}
