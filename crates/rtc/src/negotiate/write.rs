//! Writing of descriptions: what offers and answers have in common, and our offer.

use std::fmt::Write as _;

use super::{Direction, Format, Local, Negotiator, Outgoing, Section, SectionKind};
use crate::ext::ExtKind;
use crate::{Codec, MediaKind, Pt};

/// Codecs with the payload types of our own offers (livekit.md §2.7).
const OFFERED: [(Codec, u8, Option<u8>, &str); 9] = [
    (Codec::Opus, 111, None, "minptime=10;useinbandfec=1"),
    (Codec::Red, 63, None, "111/111"),
    (Codec::Pcmu, 0, None, ""),
    (Codec::Pcma, 8, None, ""),
    (Codec::Vp8, 96, Some(97), ""),
    (Codec::Vp9, 98, Some(99), "profile-id=0"),
    (Codec::H264, 108, Some(109), "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
    (Codec::Av1, 35, Some(36), ""),
    (Codec::H265, 116, Some(117), ""),
];

/// Header extensions of our own offers. Ids up to 14 fit the short form.
const OFFERED_EXT: [(u8, ExtKind, Option<MediaKind>); 8] = [
    (1, ExtKind::AudioLevel, Some(MediaKind::Audio)),
    (2, ExtKind::AbsCaptureTime, None),
    (3, ExtKind::TransportCc, None),
    (4, ExtKind::Mid, None),
    (5, ExtKind::PlayoutDelay, Some(MediaKind::Video)),
    (10, ExtKind::Rid, Some(MediaKind::Video)),
    (11, ExtKind::RepairedRid, Some(MediaKind::Video)),
    (12, ExtKind::DependencyDescriptor, Some(MediaKind::Video)),
];

impl Negotiator {
    /// Our offer. Sections that carry nothing any more are kept inactive.
    pub fn create_offer(&mut self, local: &Local) -> String {
        self.offers_made += 1;
        let mut sdp = self.head(local);
        for section in &self.sections {
            match section.kind {
                SectionKind::Media(kind) => offer_media(&mut sdp, section, kind, local),
                SectionKind::Application | SectionKind::Other => {
                    application(&mut sdp, section, local, "actpass")
                }
            }
        }
        sdp
    }

    pub(super) fn head(&self, local: &Local) -> String {
        let mut sdp = String::with_capacity(256 + self.sections.len() * 1_500);
        let version = self.offers_made;
        let _ = write!(sdp, "v=0\r\no=- {} {version} IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", local.session_id);
        if local.ice_lite {
            sdp.push_str("a=ice-lite\r\n");
        }
        let _ = write!(sdp, "a=fingerprint:sha-256 {}\r\n", local.fingerprint);
        sdp.push_str("a=extmap-allow-mixed\r\na=msid-semantic:WMS *\r\na=group:BUNDLE");
        let rejected = |section: &Section| section.remote.as_ref().is_some_and(|remote| remote.rejected);
        for section in self.sections.iter().filter(|section| !rejected(section)) {
            let _ = write!(sdp, " {}", section.mid);
        }
        sdp.push_str("\r\n");
        sdp
    }
}

/// `m=` line and what every section repeats.
pub(super) fn open_media(
    sdp: &mut String,
    section: &Section,
    kind: MediaKind,
    pts: impl Iterator<Item = Pt>,
    local: &Local,
    setup: &str,
) {
    let _ = write!(sdp, "m={} 9 UDP/TLS/RTP/SAVPF", kind.as_str());
    let before = sdp.len();
    for pt in pts {
        let _ = write!(sdp, " {pt}");
    }
    if sdp.len() == before {
        sdp.push_str(" 0");
    }
    let _ = write!(sdp, "\r\nc=IN IP4 0.0.0.0\r\na=setup:{setup}\r\na=mid:{}\r\n", section.mid);
    credentials(sdp, local);
    sdp.push_str("a=rtcp-mux\r\na=rtcp-rsize\r\n");
}

fn credentials(sdp: &mut String, local: &Local) {
    let _ = write!(sdp, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", local.ufrag, local.pwd);
    for candidate in &local.candidates {
        let _ = write!(sdp, "a={candidate}\r\n");
    }
    if !local.candidates.is_empty() {
        sdp.push_str("a=end-of-candidates\r\n");
    }
}

pub(super) fn application(sdp: &mut String, section: &Section, local: &Local, setup: &str) {
    let _ = write!(
        sdp,
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=setup:{setup}\r\na=mid:{}\r\n",
        section.mid
    );
    let _ = write!(
        sdp,
        "a=sendrecv\r\na=sctp-port:5000\r\na=max-message-size:{}\r\n",
        crate::transport::MAX_MESSAGE
    );
    credentials(sdp, local);
}

/// `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` of a codec and its repair.
pub(super) fn format_lines(sdp: &mut String, format: &Format, fmtp: &str) {
    let (pt, codec) = (format.pt, format.codec);
    let channels = if matches!(codec, Codec::Opus | Codec::Red) { "/2" } else { "" };
    let _ = write!(sdp, "a=rtpmap:{pt} {}/{}{channels}\r\n", codec.name(), codec.clock_rate_hz());
    if !fmtp.is_empty() {
        let _ = write!(sdp, "a=fmtp:{pt} {fmtp}\r\n");
    }
    for feedback in &format.feedback {
        let _ = write!(sdp, "a=rtcp-fb:{pt} {feedback}\r\n");
    }
    if let Some(rtx) = format.rtx {
        let _ = write!(sdp, "a=rtpmap:{rtx} rtx/{}\r\na=fmtp:{rtx} apt={pt}\r\n", codec.clock_rate_hz());
    }
}

/// `a=msid` and `a=ssrc` of a stream of ours.
pub(super) fn outgoing_lines(sdp: &mut String, outgoing: &Outgoing, kind: MediaKind) {
    let Outgoing { stream, track, cname, ssrc, .. } = outgoing;
    let _ = write!(sdp, "a=msid:{stream} {track}\r\n");
    if !outgoing.rids.is_empty() {
        for rid in &outgoing.rids {
            let _ = write!(sdp, "a=rid:{rid} send\r\n");
        }
        let rids: Vec<&str> = outgoing.rids.iter().map(|rid| rid.as_str()).collect();
        let _ = write!(sdp, "a=simulcast:send {}\r\n", rids.join(";"));
        return;
    }
    let rtx = outgoing.rtx_ssrc.filter(|_| kind == MediaKind::Video);
    if let Some(rtx) = rtx {
        let _ = write!(sdp, "a=ssrc-group:FID {ssrc} {rtx}\r\n");
    }
    for ssrc in std::iter::once(*ssrc).chain(rtx) {
        let _ = write!(sdp, "a=ssrc:{ssrc} cname:{cname}\r\na=ssrc:{ssrc} msid:{stream} {track}\r\n");
    }
}

fn offer_media(sdp: &mut String, section: &Section, kind: MediaKind, local: &Local) {
    let formats = offered_formats(section, kind);
    let pts = formats.iter().flat_map(|format| std::iter::once(format.pt).chain(format.rtx));
    open_media(sdp, section, kind, pts, local, "actpass");
    for format in &formats {
        let fmtp = match (&section.outgoing, format.codec) {
            (Some(Outgoing { stereo: true, .. }), Codec::Opus) => format!("{};sprop-stereo=1", format.fmtp),
            _ => format.fmtp.clone(),
        };
        format_lines(sdp, format, &fmtp);
    }
    for (id, ext, only) in OFFERED_EXT {
        if only.is_none_or(|only| only == kind) {
            let _ = write!(sdp, "a=extmap:{id} {}\r\n", ext.uri());
        }
    }
    let direction = Direction::new(section.outgoing.is_some(), section.receive);
    let _ = write!(sdp, "a={}\r\n", direction.as_str());
    if let Some(outgoing) = &section.outgoing {
        outgoing_lines(sdp, outgoing, kind);
    }
}

/// What a section of ours offers: the codec of its stream first, or all that we would receive.
fn offered_formats(section: &Section, kind: MediaKind) -> Vec<Format> {
    let wanted = |codec: Codec| match &section.outgoing {
        Some(outgoing) => codec == outgoing.codec || (outgoing.codec == Codec::Opus && codec == Codec::Red),
        None => section.prefs.codecs.is_empty() || section.prefs.codecs.contains(&codec),
    };
    let feedback: &[&str] = match kind {
        MediaKind::Video => &["transport-cc", "ccm fir", "nack", "nack pli"],
        MediaKind::Audio => &["transport-cc", "nack"],
    };
    let table = OFFERED.iter().filter(|(codec, ..)| codec.kind() == kind && wanted(*codec));
    table
        .map(|(codec, pt, rtx, fmtp)| Format {
            pt: Pt(*pt),
            codec: *codec,
            fmtp: (*fmtp).to_owned(),
            rtx: rtx.map(Pt),
            feedback: feedback.iter().map(|feedback| (*feedback).to_owned()).collect(),
        })
        .collect()
}
