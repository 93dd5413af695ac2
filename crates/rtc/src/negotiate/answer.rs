//! Our answer: the other side's sections in its order, with its numbers, cut to what we do.

use std::fmt::Write as _;

use super::write::{application, format_lines, open_media, outgoing_lines};
use super::{Direction, Format, Local, Negotiator, Remote, Section, SectionKind, is_supported};
use crate::{Codec, MediaKind, Pt};

/// Feedback that we understand, video and audio.
const FEEDBACK: [&str; 5] = ["transport-cc", "ccm fir", "nack", "nack pli", "goog-remb"];

impl Negotiator {
    /// The answer to the last offer. `passive`: we wait for the DTLS handshake.
    pub fn create_answer(&mut self, local: &Local, passive: bool) -> String {
        self.offers_made += 1;
        let setup = if passive { "passive" } else { "active" };
        let mut sdp = self.head(local);
        for section in &self.sections {
            let Some(remote) = &section.remote else { continue };
            match section.kind {
                SectionKind::Application => application(&mut sdp, section, local, setup),
                SectionKind::Media(kind) => answer_media(&mut sdp, section, remote, kind, local, setup),
                SectionKind::Other => reject(&mut sdp, remote),
            }
        }
        sdp
    }
}

/// A section that we cannot use keeps its place with port 0 (RFC 8829 §5.3.1).
fn reject(sdp: &mut String, remote: &Remote) {
    let _ = write!(sdp, "m={} 0\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na=inactive\r\n", remote.proto, remote.mid);
}

fn answer_media(
    sdp: &mut String,
    section: &Section,
    remote: &Remote,
    kind: MediaKind,
    local: &Local,
    setup: &str,
) {
    let receives = remote.direction.sends() && section.receive;
    // A free section is answered as if we sent, without saying what: it will be filled later.
    let sends = remote.direction.receives() && (section.outgoing.is_some() || !receives);
    let formats: Vec<&Format> = if receives {
        section.accepted()
    } else {
        remote.formats.iter().filter(|format| format.codec.kind() == kind).collect()
    };
    let pts = formats.iter().flat_map(|format| std::iter::once(format.pt).chain(format.rtx));
    open_media(sdp, section, kind, pts, local, setup);
    for format in &formats {
        let answered = Format {
            feedback: format.feedback.iter().filter(|fb| FEEDBACK.contains(&fb.as_str())).cloned().collect(),
            ..(*format).clone()
        };
        format_lines(sdp, &with_audio_nack(answered, receives), &fmtp(section, format, receives));
    }
    for (id, ext) in &remote.ext {
        if is_supported(*ext) {
            let _ = write!(sdp, "a=extmap:{id} {}\r\n", ext.uri());
        }
    }
    let _ = write!(sdp, "a={}\r\n", Direction::new(sends, receives).as_str());
    if receives && !remote.rids.is_empty() {
        for rid in &remote.rids {
            let _ = write!(sdp, "a=rid:{rid} recv\r\n");
        }
        let rids: Vec<&str> = remote.rids.iter().map(|rid| rid.as_str()).collect();
        let _ = write!(sdp, "a=simulcast:recv {}\r\n", rids.join(";"));
    }
    if let Some(outgoing) = section.outgoing.as_ref().filter(|_| sends) {
        outgoing_lines(sdp, outgoing, kind);
    }
}

/// Browsers do not offer NACK for audio, yet honour it in an answer.
fn with_audio_nack(mut format: Format, receives: bool) -> Format {
    if receives && format.codec == Codec::Opus && !format.has_feedback("nack") {
        format.feedback.push("nack".to_owned());
    }
    format
}

fn fmtp(section: &Section, format: &Format, receives: bool) -> String {
    let mut fmtp = format.fmtp.clone();
    if format.codec != Codec::Opus || !receives {
        return strip_hints(&fmtp);
    }
    let mut set = |parameter: &str| {
        let key = parameter.split('=').next().unwrap_or_default();
        let kept = fmtp.split(';').filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(key));
        let mut pairs: Vec<&str> = kept.collect();
        pairs.push(parameter);
        fmtp = pairs.join(";");
    };
    if section.prefs.opus_dtx {
        set("usedtx=1");
    }
    if section.prefs.opus_stereo {
        set("stereo=1");
        set("maxaveragebitrate=510000");
    }
    fmtp
}

/// Bitrate hints of the client's own are not for us to echo.
fn strip_hints(fmtp: &str) -> String {
    let kept: Vec<&str> = fmtp.split(';').filter(|pair| !pair.trim().starts_with("x-google-")).collect();
    kept.join(";")
}

impl Section {
    /// What arrives on this section, by payload type, as settled: codec and repair.
    pub(crate) fn receive_formats(&self) -> Vec<(Pt, &Format)> {
        let mut formats = Vec::new();
        for format in self.accepted() {
            formats.push((format.pt, format));
            formats.extend(format.rtx.map(|rtx| (rtx, format)));
        }
        formats
    }
}
