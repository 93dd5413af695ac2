//! A negotiation carried to another process: what was agreed on stays agreed on, so that the next offer or
//! answer there continues the description that the other side knows.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Description, MAX_SECTIONS, Negotiator, Outgoing, ReceivePrefs, SdpError, Section, SectionKind, supported,
};
use crate::{MediaKind, Mid, Ssrc};

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NegotiationSnapshot {
    /// The other side's last description; empty when there was none.
    #[serde(serialize_with = "write_text", deserialize_with = "read_text")]
    remote_sdp: Arc<str>,
    sections: Vec<SectionSnapshot>,
    offers_made: u64,
    next_mid: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SectionSnapshot {
    mid: Mid,
    kind: KindSnapshot,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outgoing: Option<Outgoing>,
    receive: bool,
    prefs: ReceivePrefs,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum KindSnapshot {
    Audio,
    Video,
    Application,
    Other,
}

fn write_text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn read_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Arc::from)
}

impl NegotiationSnapshot {
    /// Gives every stream of ours another SSRC.
    pub(crate) fn renew_streams(&mut self, rng: &mut fastrand::Rng) {
        for outgoing in self.sections.iter_mut().filter_map(|section| section.outgoing.as_mut()) {
            outgoing.ssrc = Ssrc(rng.u32(1..));
            outgoing.rtx_ssrc = outgoing.rtx_ssrc.map(|_| Ssrc(rng.u32(1..)));
        }
    }
}

impl Negotiator {
    /// Everything that was agreed on so far.
    pub fn export(&self) -> NegotiationSnapshot {
        let sections = self.sections.iter().map(|section| SectionSnapshot {
            mid: section.mid,
            kind: match section.kind {
                SectionKind::Media(MediaKind::Audio) => KindSnapshot::Audio,
                SectionKind::Media(MediaKind::Video) => KindSnapshot::Video,
                SectionKind::Application => KindSnapshot::Application,
                SectionKind::Other => KindSnapshot::Other,
            },
            outgoing: section.outgoing.clone(),
            receive: section.receive,
            prefs: section.prefs.clone(),
        });
        NegotiationSnapshot {
            remote_sdp: self.remote_sdp.clone(),
            sections: sections.collect(),
            offers_made: self.offers_made,
            next_mid: self.next_mid,
        }
    }

    /// Goes on where another process stopped.
    pub fn import(snapshot: NegotiationSnapshot) -> Result<Negotiator, SdpError> {
        let remote = match &*snapshot.remote_sdp {
            "" => None,
            sdp => Some(Description::parse(sdp)?),
        };
        let described = remote.as_ref().map_or(&[][..], |remote| &remote.sections);
        let sections =
            snapshot.sections.into_iter().take(MAX_SECTIONS).enumerate().map(|(index, section)| {
                let kind = match section.kind {
                    KindSnapshot::Audio => SectionKind::Media(MediaKind::Audio),
                    KindSnapshot::Video => SectionKind::Media(MediaKind::Video),
                    KindSnapshot::Application => SectionKind::Application,
                    KindSnapshot::Other => SectionKind::Other,
                };
                Section {
                    mid: section.mid,
                    kind,
                    remote: described.get(index).filter(|remote| remote.mid == section.mid).cloned(),
                    outgoing: section.outgoing,
                    receive: section.receive,
                    prefs: section.prefs,
                }
            });
        let sections = sections.collect();
        let ext = remote.as_ref().map(|remote| supported(&remote.ext_map())).unwrap_or_default();
        Ok(Negotiator {
            sections,
            remote,
            remote_sdp: snapshot.remote_sdp,
            ext,
            offers_made: snapshot.offers_made,
            next_mid: snapshot.next_mid,
        })
    }
}
