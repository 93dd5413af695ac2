//! SRTP and SRTCP: sealing packets in place on the way out, opening them in place on the way in.
//!
//! DTLS exports [`KeyingMaterial`]; one half makes the [`SrtpSender`], the other the [`SrtpReceiver`].
//! Both derive their session keys once and keep the expanded key schedules, so that a packet costs one
//! pass of the cipher. The sender knows no streams: whoever numbers the packets (the munger) says the
//! rollover counter, and must never seal two different packets under one SSRC and extended sequence
//! number, for GCM breaks on a repeated nonce. The receiver keeps rollover counter and replay window of
//! each SSRC that has ever authenticated.
//!
//! Profiles: AEAD_AES_128_GCM, AEAD_AES_256_GCM (RFC 7714), AES_CM_128_HMAC_SHA1_80 (RFC 3711). No MKI,
//! no header encryption, no key derivation rate: WebRTC uses none of them.

mod cipher;
mod kdf;
mod replay;

use std::collections::HashMap;

use cipher::Cipher;
use replay::ReplayWindow;

use crate::Ssrc;
use crate::rtp::{FIXED_HEADER_LEN, RtpHeader};

/// Most SSRCs that a receiver keeps state for, RTP and RTCP each. A publisher of simulcast video with
/// RTX uses six for each track; a peer with more than a hundred live tracks is not one. When the table
/// is full, the SSRC that has been silent longest gives way: sessions of days retire many SSRCs.
pub const MAX_SSRCS: usize = 1024;

/// How far behind the newest packet a packet may be, in packets, before it counts as too old: 1024 is
/// more than a second of 8 Mbit/s video.
pub const REPLAY_WINDOW: u64 = 64 * RTP_WINDOW_WORDS as u64;
const RTP_WINDOW_WORDS: usize = 16;
/// RTCP is sparse and rarely reordered.
const RTCP_WINDOW_WORDS: usize = 2;

/// The cleartext part of RTCP: first header and sender (RFC 3711 §3.4).
const RTCP_HEADER_LEN: usize = 8;
/// E bit and index at the end of an SRTCP packet (RFC 3711 §3.4).
const RTCP_INDEX_LEN: usize = 4;
const RTCP_E_BIT: u32 = 0x8000_0000;

/// Most bytes that sealing adds to an RTP packet, in any profile.
pub const MAX_RTP_OVERHEAD: usize = 16;
/// Most bytes that sealing adds to an RTCP packet, in any profile.
pub const MAX_RTCP_OVERHEAD: usize = MAX_RTP_OVERHEAD + RTCP_INDEX_LEN;

/// Why a packet was not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    #[error("the keying material is too short for its profile; export as many bytes as the profile needs")]
    KeyingMaterial,
    #[error("Sala does not speak this SRTP profile; offer only AES-GCM and AES128_CM_SHA1_80")]
    Profile,
    #[error("the packet is shorter than its header and tag; drop it")]
    Truncated,
    #[error("the buffer has no room for the tag; leave MAX_RTP_OVERHEAD or MAX_RTCP_OVERHEAD bytes")]
    NoRoom,
    #[error("the packet does not authenticate; drop it")]
    Authentication,
    #[error("the packet was received before; drop it")]
    Replayed,
    #[error("the packet is older than the replay window; drop it")]
    TooOld,
    #[error("the RTCP packet is not encrypted, which WebRTC forbids; drop it")]
    Unencrypted,
    #[error("2^31 RTCP packets were sealed with one key; restart the DTLS session")]
    KeyExhausted,
}

/// Protection profile, as negotiated by `use_srtp` (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    AeadAes128Gcm,
    AeadAes256Gcm,
    Aes128CmSha1_80,
}

impl SrtpProfile {
    /// Bytes of a master key.
    pub fn key_len(self) -> usize {
        match self {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::Aes128CmSha1_80 => 16,
            SrtpProfile::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of a master salt.
    pub fn salt_len(self) -> usize {
        match self {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => 12,
            SrtpProfile::Aes128CmSha1_80 => 14,
        }
    }

    /// Bytes of the authentication tag, which sealing adds to an RTP packet.
    pub fn tag_len(self) -> usize {
        match self {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => 16,
            SrtpProfile::Aes128CmSha1_80 => 10,
        }
    }

    /// Bytes to export from DTLS: both keys and both salts.
    pub fn keying_material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }
}

impl TryFrom<dimpl::SrtpProfile> for SrtpProfile {
    type Error = SrtpError;

    fn try_from(profile: dimpl::SrtpProfile) -> Result<SrtpProfile, SrtpError> {
        match profile {
            dimpl::SrtpProfile::AEAD_AES_128_GCM => Ok(SrtpProfile::AeadAes128Gcm),
            dimpl::SrtpProfile::AEAD_AES_256_GCM => Ok(SrtpProfile::AeadAes256Gcm),
            dimpl::SrtpProfile::AES128_CM_SHA1_80 => Ok(SrtpProfile::Aes128CmSha1_80),
            _ => Err(SrtpError::Profile),
        }
    }
}

/// Master key and salt of one direction.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    profile: SrtpProfile,
    key: [u8; 32],
    salt: [u8; 14],
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterKey").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl MasterKey {
    /// `key` and `salt` have the lengths that `profile` says.
    pub fn new(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Result<MasterKey, SrtpError> {
        if key.len() != profile.key_len() || salt.len() != profile.salt_len() {
            return Err(SrtpError::KeyingMaterial);
        }
        let mut master = MasterKey { profile, key: [0; 32], salt: [0; 14] };
        master.key[..key.len()].copy_from_slice(key);
        // A twelve byte salt is derived from as if followed by two zero bytes (RFC 7714 §11).
        master.salt[..salt.len()].copy_from_slice(salt);
        Ok(master)
    }

    fn key(&self) -> &[u8] {
        &self.key[..self.profile.key_len()]
    }
}

/// What the DTLS exporter gives, split by direction (RFC 5764 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyingMaterial {
    /// Protects what the DTLS client sends.
    pub client: MasterKey,
    /// Protects what the DTLS server sends.
    pub server: MasterKey,
}

impl KeyingMaterial {
    /// Splits client key, server key, client salt, server salt, in this order on the wire.
    pub fn split(profile: SrtpProfile, exported: &[u8]) -> Result<KeyingMaterial, SrtpError> {
        let (key_len, salt_len) = (profile.key_len(), profile.salt_len());
        let exported = exported.get(..profile.keying_material_len()).ok_or(SrtpError::KeyingMaterial)?;
        let (keys, salts) = exported.split_at(2 * key_len);
        Ok(KeyingMaterial {
            client: MasterKey::new(profile, &keys[..key_len], &salts[..salt_len])?,
            server: MasterKey::new(profile, &keys[key_len..], &salts[salt_len..])?,
        })
    }

    /// Sender and receiver for the DTLS client or the DTLS server.
    pub fn into_contexts(self, we_are_client: bool) -> (SrtpSender, SrtpReceiver) {
        let (ours, theirs) =
            if we_are_client { (self.client, self.server) } else { (self.server, self.client) };
        (SrtpSender::new(&ours), SrtpReceiver::new(&theirs))
    }
}

/// Seals what we send.
#[derive(Debug)]
pub struct SrtpSender {
    rtp: Cipher,
    rtcp: Cipher,
    rtcp_index: u32,
}

impl SrtpSender {
    /// Derives the session keys.
    pub fn new(master: &MasterKey) -> SrtpSender {
        let (rtp, rtcp) = cipher::derive(master);
        SrtpSender { rtp, rtcp, rtcp_index: 0 }
    }

    /// Bytes that [`Self::protect_rtp`] adds.
    pub fn rtp_overhead(&self) -> usize {
        self.rtp.tag_len()
    }

    /// Bytes that [`Self::protect_rtcp`] adds.
    pub fn rtcp_overhead(&self) -> usize {
        self.rtcp.tag_len() + RTCP_INDEX_LEN
    }

    /// Seals the packet at the start of `buf` in place: `header_len` bytes of header, `payload_len` bytes
    /// of payload (with padding, if any), and room for the tag. `roc` is the upper half of the extended
    /// sequence number's low 48 bits: `(ext_seq.0 >> 16) as u32`. Returns the length to send.
    #[inline]
    pub fn protect_rtp(
        &mut self,
        buf: &mut [u8],
        header_len: usize,
        payload_len: usize,
        roc: u32,
    ) -> Result<usize, SrtpError> {
        let sealed_len = header_len + payload_len + self.rtp.tag_len();
        let packet = buf.get_mut(..sealed_len).ok_or(SrtpError::NoRoom)?;
        if header_len < FIXED_HEADER_LEN {
            return Err(SrtpError::Truncated);
        }
        let index = u64::from(roc) << 16 | u64::from(u16::from_be_bytes([packet[2], packet[3]]));
        let ssrc = Ssrc(u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]));
        self.rtp.seal_rtp(packet, header_len, ssrc, index);
        Ok(sealed_len)
    }

    /// Seals the compound packet in the first `len` bytes of `buf` in place; returns the length to send.
    pub fn protect_rtcp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let packet = buf.get_mut(..len + self.rtcp_overhead()).ok_or(SrtpError::NoRoom)?;
        if len < RTCP_HEADER_LEN {
            return Err(SrtpError::Truncated);
        }
        if self.rtcp_index & RTCP_E_BIT != 0 {
            return Err(SrtpError::KeyExhausted);
        }
        let ssrc = Ssrc(u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]));
        self.rtcp.seal_rtcp(packet, len, ssrc, self.rtcp_index);
        self.rtcp_index += 1;
        Ok(packet.len())
    }
}

/// Opens what the peer sends.
#[derive(Debug)]
pub struct SrtpReceiver {
    rtp: Cipher,
    rtcp: Cipher,
    rtp_streams: StreamTable<RTP_WINDOW_WORDS>,
    rtcp_streams: StreamTable<RTCP_WINDOW_WORDS>,
}

impl SrtpReceiver {
    /// Derives the session keys.
    pub fn new(master: &MasterKey) -> SrtpReceiver {
        let (rtp, rtcp) = cipher::derive(master);
        SrtpReceiver { rtp, rtcp, rtp_streams: StreamTable::default(), rtcp_streams: StreamTable::default() }
    }

    /// Opens a packet in place; returns the length of header and payload, after which the tag's bytes
    /// are to be ignored.
    ///
    /// A repeated packet, as senders use for probing, is [`SrtpError::Replayed`] and harms nothing. After
    /// an error the packet's contents are arbitrary.
    #[inline]
    pub fn unprotect_rtp(&mut self, packet: &mut [u8], header: &RtpHeader) -> Result<usize, SrtpError> {
        let sealed_from = header.header_len;
        if packet.len() < sealed_from + self.rtp.tag_len() || sealed_from < FIXED_HEADER_LEN {
            return Err(SrtpError::Truncated);
        }
        let known = self.rtp_streams.get(header.ssrc);
        let index = match &known {
            Some(window) => window.index_of(header.seq).ok_or(SrtpError::TooOld)?,
            None => u64::from(header.seq),
        };
        if let Some(window) = &known {
            window.check(index)?;
        }
        let len = self.rtp.open_rtp(packet, sealed_from, header.ssrc, index)?;
        match known {
            Some(window) => window.mark(index),
            None => self.rtp_streams.insert(header.ssrc).mark(index),
        }
        Ok(len)
    }

    /// Opens an SRTCP packet in place; returns the length of the compound packet.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        if packet.len() < RTCP_HEADER_LEN + self.rtcp.tag_len() + RTCP_INDEX_LEN {
            return Err(SrtpError::Truncated);
        }
        let ssrc = Ssrc(u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]));
        let word = self.rtcp.rtcp_index_word(packet);
        if word & RTCP_E_BIT == 0 {
            return Err(SrtpError::Unencrypted);
        }
        let index = u64::from(word & !RTCP_E_BIT);
        let known = self.rtcp_streams.get(ssrc);
        if let Some(window) = &known {
            window.check(index)?;
        }
        let len = self.rtcp.open_rtcp(packet, ssrc, word)?;
        match known {
            Some(window) => window.mark(index),
            None => self.rtcp_streams.insert(ssrc).mark(index),
        }
        Ok(len)
    }
}

/// Replay windows by SSRC, at most [`MAX_SSRCS`] of them.
#[derive(Debug, Default)]
struct StreamTable<const WORDS: usize> {
    streams: HashMap<Ssrc, (u64, ReplayWindow<WORDS>)>,
    /// Counts look-ups: the age of a stream's last packet.
    uses: u64,
}

impl<const WORDS: usize> StreamTable<WORDS> {
    fn get(&mut self, ssrc: Ssrc) -> Option<&mut ReplayWindow<WORDS>> {
        self.uses += 1;
        let (used, window) = self.streams.get_mut(&ssrc)?;
        *used = self.uses;
        Some(window)
    }

    fn insert(&mut self, ssrc: Ssrc) -> &mut ReplayWindow<WORDS> {
        if self.streams.len() >= MAX_SSRCS
            && let Some(oldest) =
                self.streams.iter().min_by_key(|(_, (used, _))| *used).map(|(ssrc, _)| *ssrc)
        {
            self.streams.remove(&oldest);
        }
        &mut self.streams.entry(ssrc).or_insert((self.uses, ReplayWindow::new())).1
    }
}

#[cfg(test)]
mod tests;
