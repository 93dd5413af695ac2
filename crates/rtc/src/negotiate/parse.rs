//! SDP as text (RFC 8866): lines in, typed sections out. Total: any text yields a description or an error,
//! unknown attributes are passed over, and the work is bounded by the limits below.

use crate::ext::{ExtKind, ExtMap};
use crate::transport::Fingerprint;
use crate::{Codec, MediaKind, Mid, Pt, Rid, Ssrc};

/// Longest description that is read, in bytes. A client with 200 video sections sends some 700 kB.
pub const MAX_SDP: usize = 2 * 1024 * 1024;

/// Most media sections of one description.
pub const MAX_SECTIONS: usize = 300;

/// Most payload types of one section: there are only 128.
const MAX_FORMATS: usize = 128;

/// Most SSRCs that one section announces: simulcast of three with repair, twice over.
const MAX_SSRCS: usize = 24;

/// Why a description was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    #[error("SDP of {0} bytes exceeds the limit of {MAX_SDP}; offer fewer media sections")]
    TooLong(usize),
    #[error("SDP has more than {MAX_SECTIONS} media sections; reuse inactive ones")]
    TooManySections,
    #[error("SDP has no media section; add a transceiver or a data channel before the offer")]
    NoSections,
    #[error("SDP line {0} is malformed: {1}")]
    Line(usize, &'static str),
    #[error("media section {0} has no usable mid; Sala needs BUNDLE with mids (RFC 8843)")]
    NoMid(usize),
    #[error("mid {0} names two media sections")]
    DuplicateMid(Mid),
    #[error("SDP lacks {0}")]
    Missing(&'static str),
    #[error(
        "media section {0} is gone or changed its kind; sections keep their place for ever (RFC 8829 §5.2.2)"
    )]
    SectionChanged(Mid),
    #[error("SDP answers an offer with {expected} sections by {got}")]
    SectionCount { expected: usize, got: usize },
}

/// Who sends on a section, from the describer's point of view.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub(crate) fn new(send: bool, recv: bool) -> Direction {
        match (send, recv) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    pub(crate) fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    pub(crate) fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }
}

/// `a=setup` (RFC 4145).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setup {
    Active,
    Passive,
    ActPass,
}

/// A codec as a section offers it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Format {
    pub pt: Pt,
    pub codec: Codec,
    pub fmtp: String,
    pub rtx: Option<Pt>,
    pub feedback: Vec<String>,
}

impl Format {
    pub(crate) fn has_feedback(&self, feedback: &str) -> bool {
        self.feedback.iter().any(|known| known == feedback)
    }

    /// The value of a `key=value` parameter of the fmtp line.
    pub(crate) fn parameter(&self, key: &str) -> Option<&str> {
        self.fmtp
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v)
    }
}

/// What a section is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionKind {
    Media(MediaKind),
    Application,
    /// Something we cannot use; it is rejected and keeps its place.
    Other,
}

/// One `m=` section as the other side describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remote {
    pub mid: Mid,
    pub kind: SectionKind,
    /// The words of the `m=` line after the port, to reject in kind.
    pub proto: String,
    pub rejected: bool,
    pub direction: Direction,
    pub formats: Vec<Format>,
    pub ext: Vec<(u8, ExtKind)>,
    pub msid: Option<(String, String)>,
    pub ssrcs: Vec<Ssrc>,
    /// Media and its repair (`FID`).
    pub fid: Vec<(Ssrc, Ssrc)>,
    pub cname: Option<String>,
    /// Simulcast encodings that the describer sends, ascending.
    pub rids: Vec<Rid>,
}

/// A whole description.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    pub ufrag: String,
    pub pwd: String,
    pub fingerprint: Option<Fingerprint>,
    pub setup: Option<Setup>,
    pub candidates: Vec<String>,
    pub max_message_size: Option<u32>,
    pub sections: Vec<Remote>,
}

impl Description {
    /// Reads a description.
    pub fn parse(sdp: &str) -> Result<Description, SdpError> {
        if sdp.len() > MAX_SDP {
            return Err(SdpError::TooLong(sdp.len()));
        }
        let mut parser = Parser::default();
        for (number, line) in sdp.lines().enumerate() {
            parser.line(number + 1, line.trim_end())?;
        }
        parser.finish()
    }

    /// All header extensions; over a bundle an id means the same in every section.
    pub(crate) fn ext_map(&self) -> ExtMap {
        let mut map = ExtMap::new();
        for (id, kind) in self.sections.iter().flat_map(|section| &section.ext) {
            if map.id(*kind).is_none() {
                map.set(*id, *kind);
            }
        }
        map
    }
}

#[derive(Default)]
struct Parser {
    ufrag: Option<String>,
    pwd: Option<String>,
    fingerprint: Option<Fingerprint>,
    setup: Option<Setup>,
    candidates: Vec<String>,
    max_message_size: Option<u32>,
    session_direction: Direction,
    sections: Vec<Draft>,
}

/// A section under construction.
struct Draft {
    mid: Option<Mid>,
    kind: SectionKind,
    proto: String,
    rejected: bool,
    direction: Direction,
    pts: Vec<Pt>,
    rtpmaps: Vec<(Pt, String)>,
    fmtps: Vec<(Pt, String)>,
    /// `None` is `*`.
    feedback: Vec<(Option<Pt>, String)>,
    ext: Vec<(u8, ExtKind)>,
    msid: Option<(String, String)>,
    ssrcs: Vec<Ssrc>,
    fid: Vec<(Ssrc, Ssrc)>,
    cname: Option<String>,
    send_rids: Vec<Rid>,
    simulcast: Option<String>,
}

impl Parser {
    fn line(&mut self, number: usize, line: &str) -> Result<(), SdpError> {
        if line.is_empty() {
            return Ok(());
        }
        let (kind, value) = line.split_once('=').ok_or(SdpError::Line(number, "no '=' in it"))?;
        match kind {
            "m" => self.media(number, value),
            "a" => {
                let (name, value) = value.split_once(':').unwrap_or((value, ""));
                self.attribute(name, value);
                Ok(())
            }
            _ if kind.len() == 1 => Ok(()),
            _ => Err(SdpError::Line(number, "a line begins with one letter and '='")),
        }
    }

    fn media(&mut self, number: usize, value: &str) -> Result<(), SdpError> {
        if self.sections.len() >= MAX_SECTIONS {
            return Err(SdpError::TooManySections);
        }
        let mut words = value.split(' ');
        let kind = words.next().unwrap_or_default();
        let port = words.next().ok_or(SdpError::Line(number, "m= without port"))?;
        let proto = words.next().ok_or(SdpError::Line(number, "m= without protocol"))?;
        let kind = match kind {
            "audio" => SectionKind::Media(MediaKind::Audio),
            "video" => SectionKind::Media(MediaKind::Video),
            "application" if proto.ends_with("SCTP") => SectionKind::Application,
            _ => SectionKind::Other,
        };
        self.sections.push(Draft {
            mid: None,
            kind,
            proto: value.split_once(' ').map(|(kind, _)| kind).unwrap_or_default().to_owned() + " 0 " + proto,
            rejected: port == "0",
            direction: self.session_direction,
            pts: words
                .filter_map(|word| word.parse().ok())
                .filter(|pt| *pt < 128)
                .map(Pt)
                .take(MAX_FORMATS)
                .collect(),
            rtpmaps: Vec::new(),
            fmtps: Vec::new(),
            feedback: Vec::new(),
            ext: Vec::new(),
            msid: None,
            ssrcs: Vec::new(),
            fid: Vec::new(),
            cname: None,
            send_rids: Vec::new(),
            simulcast: None,
        });
        Ok(())
    }

    fn attribute(&mut self, name: &str, value: &str) {
        match name {
            "ice-ufrag" => keep_first(&mut self.ufrag, value),
            "ice-pwd" => keep_first(&mut self.pwd, value),
            "fingerprint" => self.fingerprint = self.fingerprint.or_else(|| fingerprint(value)),
            "setup" => {
                self.setup = self.setup.or(match value {
                    "active" => Some(Setup::Active),
                    "passive" => Some(Setup::Passive),
                    "actpass" => Some(Setup::ActPass),
                    _ => None,
                });
            }
            "candidate" if self.candidates.len() < 64 => self.candidates.push(format!("candidate:{value}")),
            "max-message-size" => self.max_message_size = value.parse().ok(),
            "sendrecv" | "sendonly" | "recvonly" | "inactive" => {
                let direction = match name {
                    "sendonly" => Direction::SendOnly,
                    "recvonly" => Direction::RecvOnly,
                    "inactive" => Direction::Inactive,
                    _ => Direction::SendRecv,
                };
                match self.sections.last_mut() {
                    Some(section) => section.direction = direction,
                    None => self.session_direction = direction,
                }
            }
            _ => {
                if let Some(section) = self.sections.last_mut() {
                    section.attribute(name, value);
                }
            }
        }
    }

    fn finish(self) -> Result<Description, SdpError> {
        if self.sections.is_empty() {
            return Err(SdpError::NoSections);
        }
        let mut sections: Vec<Remote> = Vec::with_capacity(self.sections.len());
        for (index, draft) in self.sections.into_iter().enumerate() {
            let section = draft.finish(index)?;
            if sections.iter().any(|other| other.mid == section.mid) {
                return Err(SdpError::DuplicateMid(section.mid));
            }
            sections.push(section);
        }
        Ok(Description {
            ufrag: self.ufrag.ok_or(SdpError::Missing("a=ice-ufrag"))?,
            pwd: self.pwd.ok_or(SdpError::Missing("a=ice-pwd"))?,
            fingerprint: self.fingerprint,
            setup: self.setup,
            candidates: self.candidates,
            max_message_size: self.max_message_size,
            sections,
        })
    }
}

impl Draft {
    fn attribute(&mut self, name: &str, value: &str) {
        match name {
            "mid" => self.mid = Mid::new(value),
            "rtpmap" => push_pt(&mut self.rtpmaps, value),
            "fmtp" => push_pt(&mut self.fmtps, value),
            "rtcp-fb" if self.feedback.len() < 8 * MAX_FORMATS => {
                if let Some((pt, feedback)) = value.split_once(' ') {
                    self.feedback.push((pt.parse().ok().map(Pt), feedback.to_owned()));
                }
            }
            "extmap" => self.extmap(value),
            "msid" => {
                let (stream, track) = value.split_once(' ').unwrap_or((value, ""));
                self.msid = Some((stream.to_owned(), track.to_owned()));
            }
            "ssrc" => self.ssrc(value),
            "ssrc-group" => {
                let mut words = value.split(' ');
                if words.next() == Some("FID")
                    && let (Some(media), Some(repair)) = (parse_ssrc(words.next()), parse_ssrc(words.next()))
                    && self.fid.len() < MAX_SSRCS
                {
                    self.fid.push((media, repair));
                }
            }
            "rid" => {
                let mut words = value.split(' ');
                if let (Some(rid), Some("send")) = (words.next().and_then(Rid::new), words.next())
                    && self.send_rids.len() < 8
                {
                    self.send_rids.push(rid);
                }
            }
            "simulcast" => self.simulcast = Some(value.to_owned()),
            _ => {}
        }
    }

    fn extmap(&mut self, value: &str) {
        let mut words = value.split(' ');
        let id = words.next().and_then(|word| word.split('/').next()).and_then(|id| id.parse().ok());
        if let (Some(id), Some(kind)) = (id, words.next().and_then(ExtKind::from_uri))
            && self.ext.len() < 32
            && id != 0
        {
            self.ext.push((id, kind));
        }
    }

    fn ssrc(&mut self, value: &str) {
        let (ssrc, attribute) = value.split_once(' ').unwrap_or((value, ""));
        let Some(ssrc) = parse_ssrc(Some(ssrc)) else { return };
        if !self.ssrcs.contains(&ssrc) && self.ssrcs.len() < MAX_SSRCS {
            self.ssrcs.push(ssrc);
        }
        if let Some(cname) = attribute.strip_prefix("cname:") {
            keep_first(&mut self.cname, cname);
        }
        if let Some(msid) = attribute.strip_prefix("msid:")
            && self.msid.is_none()
        {
            let (stream, track) = msid.split_once(' ').unwrap_or((msid, ""));
            self.msid = Some((stream.to_owned(), track.to_owned()));
        }
    }

    fn finish(self, index: usize) -> Result<Remote, SdpError> {
        let mid = self.mid.ok_or(SdpError::NoMid(index))?;
        let formats = self.formats();
        Ok(Remote {
            mid,
            kind: self.kind,
            rejected: self.rejected && self.kind == SectionKind::Other,
            direction: self.direction,
            formats,
            rids: self.rids(),
            proto: self.proto,
            ext: self.ext,
            msid: self.msid,
            ssrcs: self.ssrcs,
            fid: self.fid,
            cname: self.cname,
        })
    }

    /// The encodings in the order of `a=simulcast`, pause marks removed.
    fn rids(&self) -> Vec<Rid> {
        let Some(simulcast) = &self.simulcast else { return self.send_rids.clone() };
        let mut words = simulcast.split(' ');
        while let (Some(direction), Some(list)) = (words.next(), words.next()) {
            if direction == "send" {
                let first_alternative = |streams: &str| streams.split(',').next().map(str::to_owned);
                let named = list.split(';').filter_map(first_alternative);
                return named.filter_map(|rid| Rid::new(rid.trim_start_matches('~'))).take(8).collect();
            }
        }
        Vec::new()
    }

    /// The codecs that we know, with their repair. One pass over each list: payload types index tables.
    fn formats(&self) -> Vec<Format> {
        let mut names = [""; 128];
        (names[0], names[8]) = ("PCMU", "PCMA");
        for (pt, rtpmap) in &self.rtpmaps {
            names[usize::from(pt.0 & 0x7F)] = rtpmap.split('/').next().unwrap_or_default();
        }
        let mut fmtps = [""; 128];
        for (pt, fmtp) in &self.fmtps {
            fmtps[usize::from(pt.0 & 0x7F)] = fmtp;
        }
        let mut rtx = [None; 128];
        for pt in self.pts.iter().filter(|pt| names[usize::from(pt.0)].eq_ignore_ascii_case("rtx")) {
            let apt = fmtps[usize::from(pt.0)].strip_prefix("apt=").and_then(|apt| apt.parse::<u8>().ok());
            if let Some(apt) = apt.filter(|apt| *apt < 128) {
                rtx[usize::from(apt)] = Some(*pt);
            }
        }
        let feedback_of = |pt: Pt| {
            let mine = self.feedback.iter().filter(|(of, _)| of.is_none_or(|of| of == pt));
            mine.map(|(_, feedback)| feedback.clone()).collect()
        };
        let known = self.pts.iter().filter_map(|pt| Some((*pt, Codec::from_name(names[usize::from(pt.0)])?)));
        known
            .map(|(pt, codec)| Format {
                pt,
                codec,
                fmtp: fmtps[usize::from(pt.0)].to_owned(),
                rtx: rtx[usize::from(pt.0)],
                feedback: feedback_of(pt),
            })
            .collect()
    }
}

fn keep_first(slot: &mut Option<String>, value: &str) {
    if slot.is_none() {
        *slot = Some(value.to_owned());
    }
}

fn push_pt(list: &mut Vec<(Pt, String)>, value: &str) {
    if let Some((pt, rest)) = value.split_once(' ')
        && let Ok(pt) = pt.parse::<u8>()
        && pt < 128
        && list.len() < MAX_FORMATS
    {
        list.push((Pt(pt), rest.to_owned()));
    }
}

fn parse_ssrc(word: Option<&str>) -> Option<Ssrc> {
    word?.parse().ok().map(Ssrc)
}

fn fingerprint(value: &str) -> Option<Fingerprint> {
    let (algorithm, hex) = value.split_once(' ')?;
    if !algorithm.eq_ignore_ascii_case("sha-256") {
        return None;
    }
    let mut bytes = [0; 32];
    let mut pairs = hex.trim().split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(pairs.next()?, 16).ok()?;
    }
    pairs.next().is_none().then_some(Fingerprint(bytes))
}
