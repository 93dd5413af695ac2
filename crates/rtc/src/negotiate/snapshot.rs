//! A negotiation carried to another process: what was agreed on stays agreed on, so that the next offer or
//! answer there continues the description that the other side knows.

use serde::{Deserialize, Serialize};

use super::{
    Description, MAX_SECTIONS, Negotiator, Outgoing, ReceivePrefs, SdpError, Section, SectionKind, supported,
};
use crate::{MediaKind, Mid};

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NegotiationSnapshot {
    /// The other side's last description; empty when there was none.
    remote_sdp: String,
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
            remote_sdp: self.remote_sdp.to_string(),
            sections: sections.collect(),
            offers_made: self.offers_made,
            next_mid: self.next_mid,
        }
    }

    /// Goes on where another process stopped.
    pub fn import(snapshot: NegotiationSnapshot) -> Result<Negotiator, SdpError> {
        let remote = match snapshot.remote_sdp.as_str() {
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
            remote_sdp: snapshot.remote_sdp.into(),
            ext,
            offers_made: snapshot.offers_made,
            next_mid: snapshot.next_mid,
        })
    }
}
