//! Checks a request's signature as the service would.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Seen;

/// The key's name and the headers that are signed, if the signature is that of the key. `public_key` is a
/// SubjectPublicKeyInfo.
pub(crate) fn verified(seen: &Seen, public_key: &[u8]) -> Option<(String, String)> {
    let authorization = seen.header("authorization")?.strip_prefix("Signature ")?;
    let field = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let headers = field("headers")?;
    let line = |name: &str| match name {
        "(request-target)" => {
            Some(format!("{name}: {} {}", seen.method.as_str().to_lowercase(), seen.target()))
        }
        name => Some(format!("{name}: {}", seen.header(name)?)),
    };
    let text = headers.split(' ').map(line).collect::<Option<Vec<_>>>()?.join("\n");
    if headers.contains("x-content-sha256") {
        let sha256 = STANDARD.encode(digest(&SHA256, &seen.body));
        assert_eq!(seen.header("x-content-sha256"), Some(sha256.as_str()));
    }
    let signature = STANDARD.decode(field("signature")?).ok()?;
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key);
    key.verify(text.as_bytes(), &signature).ok()?;
    Some((field("keyId")?, headers))
}
