//! Key derivation: AES in counter mode as pseudo-random function (RFC 3711 §4.3, RFC 6188 for 256 bits).

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::MasterKey;

/// What a session key is for (RFC 3711 §4.3.2).
#[derive(Debug, Clone, Copy)]
pub(super) enum Label {
    RtpCipher = 0,
    RtpAuth = 1,
    RtpSalt = 2,
    RtcpCipher = 3,
    RtcpAuth = 4,
    RtcpSalt = 5,
}

/// Fills `out` with the session key of `label`.
pub(super) fn derive(master: &MasterKey, label: Label, out: &mut [u8]) {
    out.fill(0);
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(&master.salt);
    iv[7] ^= label as u8;
    xor_keystream(&counter_mode_key(master.key()), iv, out);
}

/// An expanded AES key, 16 or 32 bytes long.
pub(super) fn counter_mode_key(key: &[u8]) -> EncryptingKey {
    let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
    let key = UnboundCipherKey::new(algorithm, key).expect("a key of the profile's length");
    EncryptingKey::ctr(key).expect("AES supports counter mode")
}

/// Encrypts or decrypts in counter mode.
pub(super) fn xor_keystream(key: &EncryptingKey, iv: [u8; 16], data: &mut [u8]) {
    let iv = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(data, iv).expect("counter mode takes any length");
}
