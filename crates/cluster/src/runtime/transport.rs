//! How frames reach other processes: the links of [`crate::link`], or in tests a pair of queues.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::control::ProbeOutcome;
use crate::link::{LinkEvent, LinkId, Links, Probe, Side, probe};
use crate::record::NodeId;

/// A process that does not even refuse a connection within this is silent.
const PROBE_DEADLINE: Duration = Duration::from_millis(250);

/// Carries frames. Nothing here waits; what cannot be sent now is lost, as the next heartbeat makes good for it.
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// Keep a link to each of these.
    fn set_masters(&self, masters: &[(NodeId, SocketAddr)]);
    /// To every master that a link leads to.
    fn to_masters(&self, frame: Bytes);
    /// To a process that has a link to this one.
    fn to_node(&self, node: &NodeId, frame: Bytes);
    /// Whether somebody listens at `address`.
    fn probe(&self, address: SocketAddr) -> BoxFuture<'static, ProbeOutcome>;
}

/// What a transport delivers.
#[derive(Debug)]
pub enum Arrival {
    /// The sender's name is proved.
    Frame { from: NodeId, frame: Bytes },
    /// A link ended, or a process refuses to have one.
    Lost(NodeId),
}

/// [`Links`] as a transport.
#[derive(Debug)]
pub struct LinkTransport {
    links: Links,
    local: Option<IpAddr>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    dialled: HashMap<NodeId, LinkId>,
    accepted: HashMap<NodeId, LinkId>,
}

impl LinkTransport {
    /// `local`: the address to probe from, the node's internal one.
    pub fn new(links: Links, local: Option<IpAddr>) -> LinkTransport {
        LinkTransport { links, local, open: Mutex::default() }
    }

    /// Takes an event of the links; returns what the cluster should know of it.
    pub fn event(&self, event: LinkEvent) -> Option<Arrival> {
        let mut open = super::lock(&self.open);
        let Open { dialled, accepted } = &mut *open;
        match event {
            LinkEvent::Connected { link, peer, side: Side::Dialled } => {
                dialled.insert(peer, link);
                None
            }
            LinkEvent::Connected { link, peer, side: Side::Accepted } => {
                accepted.insert(peer, link);
                None
            }
            LinkEvent::Frame { peer, payload, .. } => Some(Arrival::Frame { from: peer, frame: payload }),
            LinkEvent::Reset { link, peer, side } => {
                let side = if side == Side::Dialled { dialled } else { accepted };
                if side.get(&peer) == Some(&link) {
                    side.remove(&peer);
                }
                Some(Arrival::Lost(peer))
            }
            LinkEvent::Refused { peer } => Some(Arrival::Lost(peer)),
            LinkEvent::Unreachable { peer, error } => {
                tracing::debug!(%peer, %error, "a master cannot be reached");
                None
            }
        }
    }

    fn send(&self, node: &NodeId, link: LinkId, frame: Bytes) {
        if let Err(error) = self.links.send(link, frame) {
            tracing::debug!(%node, %error, "a frame was not sent");
        }
    }
}

impl Transport for LinkTransport {
    fn set_masters(&self, masters: &[(NodeId, SocketAddr)]) {
        self.links.set_peers(masters);
    }

    fn to_masters(&self, frame: Bytes) {
        for (node, link) in &super::lock(&self.open).dialled {
            self.send(node, *link, frame.clone());
        }
    }

    fn to_node(&self, node: &NodeId, frame: Bytes) {
        let open = super::lock(&self.open);
        if let Some(link) = open.accepted.get(node) {
            self.send(node, *link, frame);
        }
    }

    fn probe(&self, address: SocketAddr) -> BoxFuture<'static, ProbeOutcome> {
        let attempt = probe(address, self.local, PROBE_DEADLINE);
        Box::pin(async move {
            match attempt.await {
                Probe::Refused => ProbeOutcome::Refused,
                Probe::Open => ProbeOutcome::Answered,
                Probe::Silent => ProbeOutcome::Silent,
            }
        })
    }
}
