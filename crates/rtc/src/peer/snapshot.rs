//! A peer carried to another process. What the client knows of the connection (sections, streams with their
//! SSRCs, open data channels) goes along; ICE, DTLS and SRTP begin anew there, which the client takes for an
//! ICE restart to a server with another certificate. It knows of that once it has negotiated with the other
//! process: until then what it says of handshakes is meant for the former one.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::hello::Ear;
use super::{Peer, PeerConfig, PeerEvent, SenderInfo, SenderKey};
use crate::negotiate::{NegotiationSnapshot, Negotiator, SdpError};
use crate::transport::{Carried, ChannelConfig, ChannelId, DataChannels, Fingerprint};
use crate::{Mid, Path};

/// See the module. Carries no key material.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerSnapshot {
    negotiation: NegotiationSnapshot,
    session_id: u64,
    dtls_active: bool,
    /// The client had a session here.
    #[serde(default = "yes")]
    connected: bool,
    /// Data channels were there, with these open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channels: Option<Vec<(ChannelId, ChannelConfig)>>,
    /// There was an association once.
    #[serde(default = "yes")]
    associated: bool,
    /// Data channels that we have opened, without an answer so far.
    #[serde(default)]
    unconfirmed_channels: Vec<(ChannelId, ChannelConfig)>,
    /// Data channels that wait for the connection.
    #[serde(default)]
    wanted_channels: Vec<ChannelConfig>,
    /// Certificates that the client may take for ours.
    #[serde(default)]
    shown: Vec<Fingerprint>,
}

/// Processes that a client was told of and never reached: a client that is told of more is long gone.
const MAX_SHOWN: usize = 8;

impl PeerSnapshot {
    /// Whether the client may take this certificate for ours.
    pub fn knows(&self, certificate: &Fingerprint) -> bool {
        self.shown.contains(certificate)
    }
}

impl Peer {
    /// What another process needs to go on with the client.
    pub fn export(&self) -> PeerSnapshot {
        let carried = self.data.as_ref().map(DataChannels::export);
        let Carried { associated, open, unconfirmed, waiting } = carried.clone().unwrap_or_default();
        PeerSnapshot {
            negotiation: self.negotiator.export(),
            session_id: self.session_id,
            dtls_active: self.dtls_active,
            connected: self.connected,
            channels: carried.is_some().then_some(open),
            associated,
            unconfirmed_channels: unconfirmed,
            wanted_channels: self.wanted_channels.iter().chain(&waiting).cloned().collect(),
            shown: self.shown.clone(),
        }
    }

    /// Another process goes on with the client: from now on its handshakes are left to that. Media flows on
    /// here until the client has moved.
    pub fn hand_over(&mut self) {
        self.handed_over = true;
    }

    /// The client speaks with the other process: nothing more is sent to it from here. Its checks of this way
    /// go unanswered, too, so that it looks for one to the other process; a browser goes on sending by the
    /// old way meanwhile.
    pub fn let_go(&mut self) {
        self.srtp = None;
        self.dtls = None;
        self.data = None;
        self.connected = false;
        self.gone = true;
    }

    /// Datagrams of the peer come this way, whatever ICE has found out yet: whoever says so knows.
    pub fn admit_path(&mut self, path: Path) {
        if !self.paths.contains(&path) {
            self.paths.push(path);
            self.events.push_back(PeerEvent::PathValidated(path));
        }
        self.path.get_or_insert(path);
    }

    /// The handing over did not come about.
    pub fn keep(&mut self, now: Instant) {
        self.handed_over = false;
        self.due = Some(now);
    }

    /// A description with our certificate goes to the client.
    pub(super) fn show_certificate(&mut self) {
        let ours = self.config.identity.fingerprint();
        if !self.shown.contains(&ours) {
            self.shown.push(ours);
            if self.shown.len() > MAX_SHOWN {
                self.shown.remove(0);
            }
        }
    }

    /// The client has spoken with us under our certificate.
    pub(super) fn certificate_seen(&mut self) {
        let ours = self.config.identity.fingerprint();
        self.shown.retain(|shown| *shown == ours);
    }

    /// Goes on where another process stopped. The client must restart ICE, or answer an offer that does.
    ///
    /// # Errors
    ///
    /// The snapshot's description is none.
    pub fn import(config: PeerConfig, snapshot: PeerSnapshot, now: Instant) -> Result<Peer, SdpError> {
        let mut peer = Peer::new(config, now);
        peer.session_id = snapshot.session_id;
        peer.dtls_active = snapshot.dtls_active;
        peer.shown = snapshot.shown;
        peer.negotiator = Negotiator::import(snapshot.negotiation)?;
        peer.ear = if snapshot.connected { Ear::UntilNegotiated(Vec::new()) } else { Ear::UntilChecked };
        match snapshot.channels {
            None => peer.wanted_channels = snapshot.wanted_channels,
            Some(open) => {
                let (unconfirmed, waiting) = (snapshot.unconfirmed_channels, snapshot.wanted_channels);
                let carried = Carried { associated: snapshot.associated, open, unconfirmed, waiting };
                peer.data = Some(DataChannels::restored(peer.dtls_active, carried));
            }
        }
        let outgoing: Vec<SenderInfo> = peer
            .negotiator
            .sections()
            .iter()
            .filter_map(|section| {
                let outgoing = section.outgoing.as_ref()?;
                Some(SenderInfo {
                    mid: section.mid,
                    ssrc: outgoing.ssrc,
                    rtx_ssrc: outgoing.rtx_ssrc,
                    cname: outgoing.cname.clone(),
                    codec: outgoing.codec,
                    rid: None,
                })
            })
            .collect();
        for info in outgoing {
            let rtx_seq = peer.rng.u16(..0x8000);
            peer.senders.add(info, rtx_seq);
        }
        peer.settle(now);
        Ok(peer)
    }

    /// The section of a stream of ours.
    pub fn sender_mid(&self, key: SenderKey) -> Option<Mid> {
        self.senders.get(key).map(|sender| sender.info.mid)
    }

    /// The stream of ours on a section.
    pub fn sender_on(&self, mid: Mid) -> Option<SenderKey> {
        self.senders.keyed().find(|(_, sender)| sender.info.mid == mid).map(|(key, _)| key)
    }
}

fn yes() -> bool {
    true
}
