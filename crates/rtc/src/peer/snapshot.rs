//! A peer carried to another process. What the client knows of the connection (sections, streams with their
//! SSRCs, open data channels) goes along; ICE, DTLS and SRTP begin anew there, which the client takes for an
//! ICE restart to a server with another certificate.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Peer, PeerConfig, PeerEvent, SenderInfo, SenderKey};
use crate::negotiate::{NegotiationSnapshot, Negotiator, SdpError};
use crate::transport::{ChannelConfig, ChannelId, DataChannels};
use crate::{Mid, Path};

/// See the module. Carries no key material.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerSnapshot {
    negotiation: NegotiationSnapshot,
    session_id: u64,
    dtls_active: bool,
    #[serde(default)]
    generation: u32,
    /// Data channels were there, with these open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channels: Option<Vec<(ChannelId, ChannelConfig)>>,
    /// Data channels that wait for the connection.
    #[serde(default)]
    wanted_channels: Vec<ChannelConfig>,
}

impl PeerSnapshot {
    /// Gives every stream of ours another SSRC: for a successor that does not know which packets the client has
    /// got, so that the client expects nothing of them.
    pub fn renew_streams(&mut self, rng: &mut fastrand::Rng) {
        self.negotiation.renew_streams(rng);
    }
}

impl Peer {
    /// What another process needs to go on with the client.
    pub fn export(&self) -> PeerSnapshot {
        PeerSnapshot {
            negotiation: self.negotiator.export(),
            session_id: self.session_id,
            dtls_active: self.dtls_active,
            generation: self.generation,
            channels: self.data.as_ref().map(DataChannels::export),
            wanted_channels: self.wanted_channels.clone(),
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
    pub fn keep(&mut self) {
        self.handed_over = false;
    }

    /// Goes on where another process stopped. The client must restart ICE, or answer an offer that does.
    ///
    /// # Errors
    ///
    /// The snapshot's description is none.
    pub fn import(config: PeerConfig, snapshot: PeerSnapshot, now: Instant) -> Result<Peer, SdpError> {
        let mut peer = Peer::of_generation(config, snapshot.generation.wrapping_add(1), now);
        peer.session_id = snapshot.session_id;
        peer.dtls_active = snapshot.dtls_active;
        peer.wanted_channels = snapshot.wanted_channels;
        peer.negotiator = Negotiator::import(snapshot.negotiation)?;
        if let Some(fingerprint) = peer.negotiator.remote().and_then(|remote| remote.fingerprint) {
            peer.start_dtls(now, fingerprint);
        }
        peer.data = snapshot.channels.map(|open| DataChannels::restored(peer.dtls_active, open));
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
