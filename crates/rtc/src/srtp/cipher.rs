//! The transforms: what a profile does to one packet whose index is known.
//!
//! All work in place on slices that the callers have measured; nothing here knows streams or windows.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::EncryptingKey;
use aws_lc_rs::{constant_time, hmac};

use super::kdf::{Label, counter_mode_key, xor_keystream};
use super::{MasterKey, RTCP_E_BIT, RTCP_HEADER_LEN, RTCP_INDEX_LEN, SrtpError, SrtpProfile, kdf};
use crate::Ssrc;

const GCM_TAG_LEN: usize = 16;
const SHA1_80_TAG_LEN: usize = 10;
const SHA1_KEY_LEN: usize = 20;

/// The session keys of one direction, of either RTP or RTCP.
#[derive(Debug)]
pub(super) enum Cipher {
    Gcm(Gcm),
    /// Boxed, for its expanded keys are forty times as large and only old clients need it.
    Cm(Box<Cm>),
}

/// Session keys for RTP and RTCP.
pub(super) fn derive(master: &MasterKey) -> (Cipher, Cipher) {
    let rtp = [Label::RtpCipher, Label::RtpAuth, Label::RtpSalt];
    let rtcp = [Label::RtcpCipher, Label::RtcpAuth, Label::RtcpSalt];
    (Cipher::derive(master, rtp), Cipher::derive(master, rtcp))
}

impl Cipher {
    fn derive(master: &MasterKey, [cipher, auth, salt]: [Label; 3]) -> Cipher {
        let profile = master.profile;
        let (mut key, mut session_salt, mut auth_key) = ([0; 32], [0; 14], [0; SHA1_KEY_LEN]);
        kdf::derive(master, cipher, &mut key[..profile.key_len()]);
        kdf::derive(master, salt, &mut session_salt[..profile.salt_len()]);
        kdf::derive(master, auth, &mut auth_key);
        Cipher::new(profile, &key[..profile.key_len()], session_salt, &auth_key)
    }

    /// From session keys; GCM uses the first twelve bytes of the salt and no authentication key.
    pub(super) fn new(
        profile: SrtpProfile,
        key: &[u8],
        salt: [u8; 14],
        auth_key: &[u8; SHA1_KEY_LEN],
    ) -> Cipher {
        let gcm = |algorithm| {
            let key = UnboundKey::new(algorithm, key).expect("a key of the profile's length");
            let mut gcm_salt = [0; 12];
            gcm_salt.copy_from_slice(&salt[..12]);
            Cipher::Gcm(Gcm { key: LessSafeKey::new(key), salt: gcm_salt })
        };
        match profile {
            SrtpProfile::AeadAes128Gcm => gcm(&AES_128_GCM),
            SrtpProfile::AeadAes256Gcm => gcm(&AES_256_GCM),
            SrtpProfile::Aes128CmSha1_80 => Cipher::Cm(Box::new(Cm {
                key: counter_mode_key(key),
                salt,
                auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth_key),
            })),
        }
    }

    pub(super) fn tag_len(&self) -> usize {
        match self {
            Cipher::Gcm(_) => GCM_TAG_LEN,
            Cipher::Cm(_) => SHA1_80_TAG_LEN,
        }
    }

    /// `packet` is header, payload and room for exactly the tag.
    #[inline]
    pub(super) fn seal_rtp(&self, packet: &mut [u8], header_len: usize, ssrc: Ssrc, index: u64) {
        let tag_at = packet.len() - self.tag_len();
        match self {
            Cipher::Gcm(gcm) => {
                let (header, rest) = packet.split_at_mut(header_len);
                gcm.seal(gcm.rtp_nonce(ssrc, index), header, rest);
            }
            Cipher::Cm(cm) => {
                xor_keystream(&cm.key, cm.iv(ssrc, index), &mut packet[header_len..tag_at]);
                let (sealed, tag) = packet.split_at_mut(tag_at);
                tag.copy_from_slice(&cm.tag(sealed, &roc(index)));
            }
        }
    }

    /// `packet` has at least header and tag. Returns the length without the tag.
    #[inline]
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: Ssrc,
        index: u64,
    ) -> Result<usize, SrtpError> {
        let tag_at = packet.len() - self.tag_len();
        match self {
            Cipher::Gcm(gcm) => {
                let (header, rest) = packet.split_at_mut(header_len);
                gcm.open(gcm.rtp_nonce(ssrc, index), header, rest)?;
            }
            Cipher::Cm(cm) => {
                let (sealed, tag) = packet.split_at_mut(tag_at);
                cm.verify(sealed, &roc(index), tag)?;
                xor_keystream(&cm.key, cm.iv(ssrc, index), &mut sealed[header_len..]);
            }
        }
        Ok(tag_at)
    }

    /// `packet` is `len` bytes of RTCP and room for exactly tag and index.
    pub(super) fn seal_rtcp(&self, packet: &mut [u8], len: usize, ssrc: Ssrc, index: u32) {
        let word = (RTCP_E_BIT | index).to_be_bytes();
        match self {
            Cipher::Gcm(gcm) => {
                let (sealed, index_word) = packet.split_at_mut(len + GCM_TAG_LEN);
                index_word.copy_from_slice(&word);
                let (header, rest) = sealed.split_at_mut(RTCP_HEADER_LEN);
                gcm.seal(gcm.rtcp_nonce(ssrc, index), &rtcp_aad(header, word), rest);
            }
            Cipher::Cm(cm) => {
                xor_keystream(&cm.key, cm.iv(ssrc, index.into()), &mut packet[RTCP_HEADER_LEN..len]);
                let (sealed, trailer) = packet.split_at_mut(len);
                trailer[..RTCP_INDEX_LEN].copy_from_slice(&word);
                trailer[RTCP_INDEX_LEN..].copy_from_slice(&cm.tag(sealed, &word));
            }
        }
    }

    /// E bit and index of an SRTCP packet, which has at least header, tag and index.
    pub(super) fn rtcp_index_word(&self, packet: &[u8]) -> u32 {
        let end = match self {
            Cipher::Gcm(_) => packet.len(),
            Cipher::Cm(_) => packet.len() - SHA1_80_TAG_LEN,
        };
        packet[..end].last_chunk().map_or(0, |word| u32::from_be_bytes(*word))
    }

    /// `word` is the packet's [`Self::rtcp_index_word`]. Returns the length of the compound packet.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: Ssrc, word: u32) -> Result<usize, SrtpError> {
        let len = packet.len() - self.tag_len() - RTCP_INDEX_LEN;
        let index = word & !RTCP_E_BIT;
        let word = word.to_be_bytes();
        match self {
            Cipher::Gcm(gcm) => {
                let (header, rest) = packet[..len + GCM_TAG_LEN].split_at_mut(RTCP_HEADER_LEN);
                gcm.open(gcm.rtcp_nonce(ssrc, index), &rtcp_aad(header, word), rest)?;
            }
            Cipher::Cm(cm) => {
                let (sealed, trailer) = packet.split_at_mut(len);
                cm.verify(sealed, &word, &trailer[RTCP_INDEX_LEN..])?;
                xor_keystream(&cm.key, cm.iv(ssrc, index.into()), &mut sealed[RTCP_HEADER_LEN..]);
            }
        }
        Ok(len)
    }
}

/// The rollover counter as it is authenticated after the packet (RFC 3711 §4.2).
fn roc(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// What GCM authenticates of an RTCP packet without encrypting it (RFC 7714 §9.2).
fn rtcp_aad(header: &[u8], index_word: [u8; 4]) -> [u8; RTCP_HEADER_LEN + RTCP_INDEX_LEN] {
    let mut aad = [0; RTCP_HEADER_LEN + RTCP_INDEX_LEN];
    aad[..RTCP_HEADER_LEN].copy_from_slice(header);
    aad[RTCP_HEADER_LEN..].copy_from_slice(&index_word);
    aad
}

/// Authenticated encryption with AES-GCM (RFC 7714).
#[derive(Debug)]
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Gcm {
    /// RFC 7714 §8.1: two zero bytes, SSRC, rollover counter and sequence number, mixed with the salt.
    #[inline]
    fn rtp_nonce(&self, ssrc: Ssrc, index: u64) -> Nonce {
        self.nonce(u128::from(ssrc.0) << 48 | u128::from(index))
    }

    /// RFC 7714 §9.1: two zero bytes, SSRC, two zero bytes and index, mixed with the salt.
    fn rtcp_nonce(&self, ssrc: Ssrc, index: u32) -> Nonce {
        self.nonce(u128::from(ssrc.0) << 48 | u128::from(index))
    }

    #[inline]
    fn nonce(&self, value: u128) -> Nonce {
        let mut nonce = self.salt;
        let value = value.to_be_bytes();
        nonce.iter_mut().zip(&value[4..]).for_each(|(byte, mask)| *byte ^= mask);
        Nonce::assume_unique_for_key(nonce)
    }

    /// `text` is plaintext and room for the tag.
    #[inline]
    fn seal(&self, nonce: Nonce, aad: &[u8], text: &mut [u8]) {
        let (plain, tag_room) = text.split_at_mut(text.len() - GCM_TAG_LEN);
        // The only failure is a text beyond 64 GiB.
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(aad), plain);
        tag_room.copy_from_slice(tag.expect("a datagram is short enough for GCM").as_ref());
    }

    /// `text` is ciphertext and tag.
    #[inline]
    fn open(&self, nonce: Nonce, aad: &[u8], text: &mut [u8]) -> Result<(), SrtpError> {
        let opened = self.key.open_in_place(nonce, Aad::from(aad), text);
        opened.map(drop).map_err(|_| SrtpError::Authentication)
    }
}

/// AES in counter mode with HMAC-SHA1 cut to 80 bits (RFC 3711 §4.1.1, §4.2.1).
#[derive(Debug)]
pub(super) struct Cm {
    key: EncryptingKey,
    salt: [u8; 14],
    auth: hmac::Key,
}

impl Cm {
    /// RFC 3711 §4.1.1: salt, SSRC and packet index in one number, two zero bytes of block counter.
    fn iv(&self, ssrc: Ssrc, index: u64) -> [u8; 16] {
        let mut iv = (u128::from(ssrc.0) << 64 | u128::from(index) << 16).to_be_bytes();
        iv.iter_mut().zip(&self.salt).for_each(|(byte, salt)| *byte ^= salt);
        iv
    }

    fn tag(&self, sealed: &[u8], suffix: &[u8; 4]) -> [u8; SHA1_80_TAG_LEN] {
        let mut context = hmac::Context::with_key(&self.auth);
        context.update(sealed);
        context.update(suffix);
        let mut tag = [0; SHA1_80_TAG_LEN];
        tag.copy_from_slice(&context.sign().as_ref()[..SHA1_80_TAG_LEN]);
        tag
    }

    fn verify(&self, sealed: &[u8], suffix: &[u8; 4], tag: &[u8]) -> Result<(), SrtpError> {
        constant_time::verify_slices_are_equal(&self.tag(sealed, suffix), tag)
            .map_err(|_| SrtpError::Authentication)
    }
}
