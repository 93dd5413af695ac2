//! Invite codes of the meeting page: whoever holds the link of a room may join it. A code is a keyed hash
//! of the room's name, so nothing is stored and a code cannot be guessed from another room's.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::KeyStore;

/// 128 bits: far beyond guessing over HTTP, and short in a link (22 characters).
const CODE_BYTES: usize = 16;

/// Separates this use of the API secret from any other.
const DOMAIN: &[u8] = b"sala-invite\0";

/// The right to join one room, as it stands in a link.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteCode(String);

impl InviteCode {
    /// The code of `room` under the deployment's first key.
    pub fn of_room(keys: &KeyStore, room: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, keys.first().1.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        context.update(DOMAIN);
        context.update(room.as_bytes());
        Self(URL_SAFE_NO_PAD.encode(&context.sign().as_ref()[..CODE_BYTES]))
    }

    /// Whether `candidate` is this code, in a time that tells nothing about it.
    pub fn matches(&self, candidate: &str) -> bool {
        constant_time_eq(self.0.as_bytes(), candidate.as_bytes())
    }

    /// The code as it stands in a link.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InviteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteCode(…)")
    }
}

/// Compares secrets in a time that depends on their lengths only.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secret: &str) -> KeyStore {
        KeyStore::new([("k".to_owned(), secret.into())]).unwrap()
    }

    #[test]
    fn a_code_opens_its_own_room_only() {
        let keys = keys("secret");
        let code = InviteCode::of_room(&keys, "calm-otter-12");
        assert_eq!(code.as_str().len(), 22);
        assert!(InviteCode::of_room(&keys, "calm-otter-12").matches(code.as_str()));
        assert!(!InviteCode::of_room(&keys, "calm-otter-13").matches(code.as_str()));
        assert!(!code.matches(""));
    }

    #[test]
    fn another_deployments_code_is_refused() {
        let foreign = InviteCode::of_room(&keys("other"), "r");
        assert!(!InviteCode::of_room(&keys("secret"), "r").matches(foreign.as_str()));
    }

    #[test]
    fn a_code_is_never_printed() {
        let code = InviteCode::of_room(&keys("secret"), "r");
        assert!(!format!("{code:?}").contains(code.as_str()));
    }
}
