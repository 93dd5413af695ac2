//! The negotiation of one peer connection: what each media section is for, and the offers and answers that
//! say so (JSEP, RFC 8829, as far as LiveKit's clients need it; livekit.md §2.5–2.7).
//!
//! A section has two sides. What the other side described is kept as it came ([`Remote`]); what we do on it
//! is a sender bound to it and preferences about what we receive. Offers and answers are written from both.

mod answer;
mod parse;
mod snapshot;
mod write;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ext::{ExtKind, ExtMap};
use crate::transport::Fingerprint;
use crate::{Codec, MediaKind, Mid, Pt, Rid, Ssrc};

pub use parse::{
    Description, Direction, Format, MAX_SDP, MAX_SECTIONS, Remote, SdpError, SectionKind, Setup,
};
pub use snapshot::NegotiationSnapshot;

/// What our side says about itself in every description.
#[derive(Clone, Debug)]
pub struct Local {
    pub ufrag: String,
    pub pwd: String,
    pub fingerprint: Fingerprint,
    pub ice_lite: bool,
    /// `candidate:…` lines; none when they are trickled.
    pub candidates: Vec<String>,
    /// Number of the session in the `o=` line.
    pub session_id: u64,
}

/// How a track that we receive is to be sent to us.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReceivePrefs {
    /// What we accept, best first.
    pub codecs: Vec<Codec>,
    /// `usedtx=1` on Opus.
    pub opus_dtx: bool,
    /// `stereo=1` and a bitrate to match on Opus.
    pub opus_stereo: bool,
}

/// A stream of ours on a section.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outgoing {
    /// `a=msid`: the stream …
    pub stream: String,
    /// … and the track.
    pub track: String,
    pub cname: String,
    pub codec: Codec,
    pub stereo: bool,
    pub ssrc: Ssrc,
    pub rtx_ssrc: Option<Ssrc>,
    /// Simulcast encodings, ascending; the SSRCs are then left to the packets.
    pub rids: Vec<Rid>,
}

/// A media section with both sides.
#[derive(Clone, Debug)]
pub struct Section {
    pub mid: Mid,
    pub kind: SectionKind,
    /// `None` until the other side has described it.
    pub remote: Option<Remote>,
    pub outgoing: Option<Outgoing>,
    /// We would receive on it, if the other side sends.
    pub receive: bool,
    pub prefs: ReceivePrefs,
}

/// Payload types as settled for a stream of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendFormat {
    pub pt: Pt,
    pub rtx_pt: Option<Pt>,
    /// Redundant audio is taken too.
    pub red_pt: Option<Pt>,
}

impl Section {
    fn offered(mid: Mid, kind: SectionKind) -> Section {
        Section { mid, kind, remote: None, outgoing: None, receive: false, prefs: ReceivePrefs::default() }
    }

    /// Audio, video, or neither.
    pub fn media_kind(&self) -> Option<MediaKind> {
        match self.kind {
            SectionKind::Media(kind) => Some(kind),
            SectionKind::Application | SectionKind::Other => None,
        }
    }

    /// The other side sends, or wants to.
    pub fn remote_sends(&self) -> bool {
        self.media_kind().is_some() && self.remote.as_ref().is_some_and(|remote| remote.direction.sends())
    }

    /// The other side would receive.
    pub fn remote_receives(&self) -> bool {
        self.media_kind().is_some() && self.remote.as_ref().is_some_and(|remote| remote.direction.receives())
    }

    /// A place for a stream of ours that none has taken.
    pub fn is_free(&self, kind: MediaKind) -> bool {
        self.media_kind() == Some(kind)
            && self.outgoing.is_none()
            && self.remote.as_ref().is_some_and(|remote| remote.direction == Direction::RecvOnly)
    }

    /// Stream and track by which the other side names what it sends.
    pub fn remote_msid(&self) -> (&str, &str) {
        let msid = self.remote.as_ref().and_then(|remote| remote.msid.as_ref());
        msid.map_or(("", ""), |(stream, track)| (stream.as_str(), track.as_str()))
    }

    /// Simulcast encodings that the other side sends, ascending.
    pub fn remote_rids(&self) -> &[Rid] {
        self.remote.as_ref().map_or(&[], |remote| &remote.rids)
    }

    /// Codecs that the other side lists.
    pub fn remote_codecs(&self) -> impl Iterator<Item = Codec> + '_ {
        self.remote.iter().flat_map(|remote| &remote.formats).map(|format| format.codec)
    }

    /// The payload types for a stream of ours, as far as the other side agreed.
    pub fn send_format(&self) -> Option<SendFormat> {
        let outgoing = self.outgoing.as_ref()?;
        let remote = self.remote.as_ref().filter(|remote| remote.direction.receives())?;
        let format = best_format(&remote.formats, outgoing.codec)?;
        let red = remote.formats.iter().find(|format| format.codec == Codec::Red).map(|format| format.pt);
        Some(SendFormat {
            pt: format.pt,
            rtx_pt: format.rtx,
            red_pt: red.filter(|_| outgoing.codec == Codec::Opus),
        })
    }

    /// The codecs, in order, that we accept on this section; without preferences, all of them.
    fn accepted(&self) -> Vec<&Format> {
        let Some(remote) = &self.remote else { return Vec::new() };
        if self.prefs.codecs.is_empty() {
            return remote.formats.iter().collect();
        }
        let mut accepted: Vec<&Format> = Vec::new();
        for codec in &self.prefs.codecs {
            accepted.extend(remote.formats.iter().filter(|format| format.codec == *codec));
        }
        accepted
    }
}

/// The most widely decodable of the variants of a codec: H.264 constrained baseline with packetization
/// mode 1, profile 0 of VP9 and AV1.
fn best_format(formats: &[Format], codec: Codec) -> Option<&Format> {
    let variants = || formats.iter().filter(|format| format.codec == codec);
    let plain = |format: &&Format| match codec {
        Codec::H264 => {
            format.parameter("packetization-mode") == Some("1")
                && format
                    .parameter("profile-level-id")
                    .is_some_and(|id| id.to_ascii_lowercase().starts_with("42"))
        }
        Codec::Vp9 => format.parameter("profile-id").is_none_or(|profile| profile == "0"),
        Codec::Av1 => format.parameter("profile").is_none_or(|profile| profile == "0"),
        _ => true,
    };
    variants().find(plain).or_else(|| variants().next())
}

/// All sections of one peer connection.
#[derive(Clone, Debug, Default)]
pub struct Negotiator {
    sections: Vec<Section>,
    remote: Option<Description>,
    /// The same as it came: what another node needs to go on with the connection.
    remote_sdp: Arc<str>,
    /// Header extensions of the bundle, as settled.
    ext: ExtMap,
    offers_made: u64,
    next_mid: u32,
}

impl Negotiator {
    /// Nothing negotiated yet.
    pub fn new() -> Negotiator {
        Negotiator::default()
    }

    /// All sections, in the order of the SDP.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// A section by its mid.
    pub fn section(&self, mid: Mid) -> Option<&Section> {
        self.sections.iter().find(|section| section.mid == mid)
    }

    fn section_mut(&mut self, mid: Mid) -> Option<&mut Section> {
        self.sections.iter_mut().find(|section| section.mid == mid)
    }

    /// The other side's last description.
    pub fn remote(&self) -> Option<&Description> {
        self.remote.as_ref()
    }

    /// Header extensions, by id, that both sides use.
    pub fn ext(&self) -> &ExtMap {
        &self.ext
    }

    /// Whether data channels were negotiated.
    pub fn has_application(&self) -> bool {
        self.sections
            .iter()
            .any(|section| section.kind == SectionKind::Application && section.remote.is_some())
    }

    /// Whether the other side lists a codec anywhere where it could receive it; `None` when it has not
    /// described any section of that kind.
    pub fn can_receive(&self, codec: Codec) -> Option<bool> {
        let mut sections = self
            .sections
            .iter()
            .filter(|section| section.media_kind() == Some(codec.kind()) && section.remote_receives())
            .peekable();
        sections.peek()?;
        Some(sections.any(|section| section.remote_codecs().any(|known| known == codec)))
    }

    /// Says how we want to receive on a section.
    pub fn set_receive(&mut self, mid: Mid, prefs: ReceivePrefs) {
        if let Some(section) = self.section_mut(mid) {
            section.receive = true;
            section.prefs = prefs;
        }
    }

    /// Puts a stream of ours on a section; takes it away with `None`.
    pub fn set_outgoing(&mut self, mid: Mid, outgoing: Option<Outgoing>) {
        if let Some(section) = self.section_mut(mid) {
            section.outgoing = outgoing;
        }
    }

    /// A section of our own making for the next offer: one of this kind that lies idle, or a new one.
    pub fn add_section(&mut self, kind: SectionKind) -> Mid {
        let idle = |section: &&Section| {
            section.kind == kind
                && section.outgoing.is_none()
                && !section.receive
                && kind != SectionKind::Application
        };
        if let Some(section) = self.sections.iter().find(idle) {
            return section.mid;
        }
        loop {
            let mid = Mid::new(&self.next_mid.to_string()).expect("a number is a token");
            self.next_mid += 1;
            if self.section(mid).is_none() {
                self.sections.push(Section::offered(mid, kind));
                return mid;
            }
        }
    }

    /// Takes the other side's offer. Returns whether it restarts ICE.
    pub fn accept_offer(&mut self, sdp: &str) -> Result<bool, SdpError> {
        let description = Description::parse(sdp)?;
        self.check_places(&description)?;
        for (index, remote) in description.sections.iter().enumerate() {
            if index == self.sections.len() {
                self.sections.push(Section::offered(remote.mid, remote.kind));
            }
            let section = &mut self.sections[index];
            if !remote.direction.receives() {
                section.outgoing = None;
            }
            section.receive = remote.direction.sends();
            section.remote = Some(remote.clone());
        }
        self.ext = supported(&description.ext_map());
        self.remote_sdp = sdp.into();
        Ok(self.take_remote(description))
    }

    /// Takes the answer to our offer. Returns whether it restarts ICE.
    pub fn accept_answer(&mut self, sdp: &str) -> Result<bool, SdpError> {
        let description = Description::parse(sdp)?;
        let (expected, got) = (self.sections.len(), description.sections.len());
        // Sections that were added after the offer are not in the answer yet.
        if got > expected {
            return Err(SdpError::SectionCount { expected, got });
        }
        self.check_places(&description)?;
        for (section, remote) in self.sections.iter_mut().zip(&description.sections) {
            section.remote = Some(remote.clone());
        }
        self.ext = supported(&description.ext_map());
        self.remote_sdp = sdp.into();
        Ok(self.take_remote(description))
    }

    fn check_places(&self, description: &Description) -> Result<(), SdpError> {
        if description.sections.len()
            < self.sections.iter().filter(|section| section.remote.is_some()).count()
        {
            let gone = &self.sections[description.sections.len()];
            return Err(SdpError::SectionChanged(gone.mid));
        }
        let changed = self
            .sections
            .iter()
            .zip(&description.sections)
            .find(|(section, remote)| section.mid != remote.mid || section.kind != remote.kind);
        changed.map_or(Ok(()), |(section, _)| Err(SdpError::SectionChanged(section.mid)))
    }

    fn take_remote(&mut self, description: Description) -> bool {
        let restarted = self
            .remote
            .as_ref()
            .is_some_and(|old| old.ufrag != description.ufrag || old.pwd != description.pwd);
        self.remote = Some(description);
        restarted
    }
}

/// Header extensions that we read or write, at the other side's ids.
fn supported(remote: &ExtMap) -> ExtMap {
    let mut map = ExtMap::new();
    for (id, kind) in remote.iter().filter(|(_, kind)| is_supported(*kind)) {
        map.set(id, kind);
    }
    map
}

fn is_supported(kind: ExtKind) -> bool {
    matches!(
        kind,
        ExtKind::Mid
            | ExtKind::Rid
            | ExtKind::RepairedRid
            | ExtKind::AudioLevel
            | ExtKind::TransportCc
            | ExtKind::AbsCaptureTime
            | ExtKind::DependencyDescriptor
            | ExtKind::PlayoutDelay
    )
}

#[cfg(test)]
mod tests;
