//! The plain values that every layer above and below shares: ids, payload types, codecs, wrapping
//! wire numbers. Nothing here has behaviour beyond conversion.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Synchronisation source of an RTP stream (RFC 3550 §3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ssrc(pub u32);

/// RTP payload type, 0..=127 (RFC 3550 §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pt(pub u8);

/// RTP sequence number extended to 64 bits: the wire's 16 bits are `as u16`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ExtSeq(pub u64);

impl ExtSeq {
    /// The sixteen bits that go on the wire.
    pub fn wire(self) -> u16 {
        self.0 as u16
    }

    /// The extended number nearest to `self` whose low sixteen bits are `wire`.
    ///
    /// Saturates at zero for streams that have only just begun.
    pub fn nearest(self, wire: u16) -> ExtSeq {
        let delta = wire.wrapping_sub(self.wire()) as i16 as i64;
        ExtSeq(self.0.saturating_add_signed(delta))
    }
}

impl fmt::Debug for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ssrc:{}", self.0)
    }
}

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Pt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pt:{}", self.0)
    }
}

impl fmt::Display for Pt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Longest `mid` or `rid` that is kept (RFC 8852 §3: at most what fits a one-byte header extension).
pub const MAX_TOKEN_LEN: usize = 16;

macro_rules! token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name {
            len: u8,
            bytes: [u8; MAX_TOKEN_LEN],
        }

        impl $name {
            /// `None` when the token is empty, longer than [`MAX_TOKEN_LEN`] or not visible ASCII.
            pub fn new(token: &str) -> Option<Self> {
                Self::from_bytes(token.as_bytes())
            }

            /// As [`Self::new`], from the bytes of a header extension.
            pub fn from_bytes(token: &[u8]) -> Option<Self> {
                if token.is_empty() || token.len() > MAX_TOKEN_LEN || !token.iter().all(u8::is_ascii_graphic) {
                    return None;
                }
                let mut bytes = [0; MAX_TOKEN_LEN];
                bytes[..token.len()].copy_from_slice(token);
                Some(Self { len: token.len() as u8, bytes })
            }

            /// The token as text.
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.bytes[..self.len as usize]).unwrap_or_default()
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(token: String) -> Result<Self, String> {
                Self::new(&token).ok_or_else(|| {
                    format!("`{token}` is no token: 1 to {MAX_TOKEN_LEN} visible ASCII characters are expected")
                })
            }
        }

        impl From<$name> for String {
            fn from(token: $name) -> String {
                token.as_str().to_owned()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.as_str())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

token! {
    /// Identification of a media section (RFC 8843 §15).
    Mid
}
token! {
    /// Identification of one simulcast encoding within a media section (RFC 8851).
    Rid
}

/// Audio or video; the application section is neither.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MediaKind {
    Audio,
    Video,
}

impl MediaKind {
    /// As written in an `m=` line.
    pub fn as_str(self) -> &'static str {
        match self {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        }
    }
}

/// The codecs that Sala forwards. RTX is a repair format of these, not a codec.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Codec {
    Opus,
    /// Redundant audio (RFC 2198) around Opus.
    Red,
    Pcmu,
    Pcma,
    Vp8,
    H264,
    Vp9,
    Av1,
    H265,
}

impl Codec {
    /// The encoding name as written in `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Opus => "opus",
            Codec::Red => "red",
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::Vp8 => "VP8",
            Codec::H264 => "H264",
            Codec::Vp9 => "VP9",
            Codec::Av1 => "AV1",
            Codec::H265 => "H265",
        }
    }

    /// The codec of an `a=rtpmap` encoding name, in any case.
    pub fn from_name(name: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// All codecs, audio first.
    pub const ALL: [Codec; 9] = [
        Codec::Opus,
        Codec::Red,
        Codec::Pcmu,
        Codec::Pcma,
        Codec::Vp8,
        Codec::H264,
        Codec::Vp9,
        Codec::Av1,
        Codec::H265,
    ];

    /// Audio or video.
    pub fn kind(self) -> MediaKind {
        match self {
            Codec::Opus | Codec::Red | Codec::Pcmu | Codec::Pcma => MediaKind::Audio,
            Codec::Vp8 | Codec::H264 | Codec::Vp9 | Codec::Av1 | Codec::H265 => MediaKind::Video,
        }
    }

    /// RTP clock rate in Hz.
    pub fn clock_rate_hz(self) -> u32 {
        match self {
            Codec::Opus | Codec::Red => 48_000,
            Codec::Pcmu | Codec::Pcma => 8_000,
            _ => 90_000,
        }
    }

    /// As LiveKit writes it in `TrackInfo`: `video/VP8`, `audio/opus`.
    pub fn mime(self) -> String {
        format!("{}/{}", self.kind().as_str(), self.name())
    }
}
