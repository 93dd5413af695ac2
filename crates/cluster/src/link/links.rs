//! All links of a node as their owner holds them: whom to dial, what to send, and one bounded channel of what
//! happened.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};

use super::dial::{DialError, dial};
use super::{LINK_ALPN, MAX_FRAME_BYTES, connection};
use crate::NodeId;
use crate::security::{NodeTls, SecurityError};

/// Events that may wait for the owner, who takes microseconds for each. Beyond that links stop reading.
const EVENT_QUEUE: usize = 1_024;

/// Frames that may wait for one peer: several seconds of heartbeats. A peer so far behind is silent.
const SEND_QUEUE: usize = 64;

/// Accepted links of one peer at a time: the one in use and some that are about to be found dead.
const MAX_ACCEPTED_PER_PEER: usize = 4;

/// A lost peer is dialled at once, then after pauses that double up to this.
const MAX_BACKOFF: Duration = Duration::from_millis(100);
const MIN_BACKOFF: Duration = Duration::from_millis(10);

/// A peer that we do not trust, or that does not trust us, will not change its mind within milliseconds.
const TRUST_BACKOFF: Duration = Duration::from_secs(2);

/// One connection among all that this process has had.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct LinkId(u64);

/// Who made the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// This node.
    Dialled,
    /// The peer.
    Accepted,
}

/// What happened to a link. The peer's name is proved by its certificate.
#[derive(Debug)]
pub enum LinkEvent {
    Connected {
        link: LinkId,
        peer: NodeId,
        side: Side,
    },
    Frame {
        link: LinkId,
        peer: NodeId,
        payload: Bytes,
        received_at: Instant,
    },
    /// A link that was connected is no more.
    Reset {
        link: LinkId,
        peer: NodeId,
        side: Side,
    },
    /// A dialled peer's host refuses the connection: its process is gone. Told at each attempt.
    Refused {
        peer: NodeId,
    },
    /// A dialled peer cannot be reached for another reason, which proves nothing. Told at each attempt.
    Unreachable {
        peer: NodeId,
        error: DialError,
    },
}

/// Why a frame was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    #[error("the link is no more; wait for the next Connected")]
    Closed,
    #[error("the peer does not keep up; this frame is dropped")]
    Busy,
    #[error("a frame of {0} bytes is over the limit of {MAX_FRAME_BYTES}")]
    TooLong(usize),
}

/// The links of this node. Clones are handles of the same; when the last is dropped all links close.
#[derive(Clone, Debug)]
pub struct Links {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    /// Each dialled peer with its address; dropping the sender ends the dialling and the link.
    dialling: Mutex<HashMap<NodeId, (SocketAddr, watch::Sender<()>)>>,
    /// Dropped with the owner, which ends the accepted links.
    alive: watch::Sender<()>,
}

/// What the tasks of links need.
#[derive(Debug)]
struct Shared {
    tls: Arc<NodeTls>,
    config: Arc<ClientConfig>,
    local: Option<IpAddr>,
    events: mpsc::Sender<LinkEvent>,
    next_id: AtomicU64,
    open: Mutex<HashMap<LinkId, Open>>,
}

#[derive(Debug)]
struct Open {
    peer: NodeId,
    side: Side,
    /// Dropping it closes the link.
    outgoing: mpsc::Sender<Bytes>,
}

impl Links {
    /// Makes the links' owner's handle and its channel of events. `local` is the address to dial from: the
    /// node's internal one, so that firewalls see the node by the address it is known by.
    pub fn new(
        tls: Arc<NodeTls>,
        local: Option<IpAddr>,
    ) -> Result<(Links, mpsc::Receiver<LinkEvent>), SecurityError> {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let config = tls.client_config(LINK_ALPN)?;
        let next_id = AtomicU64::new(1);
        let shared = Shared { tls, config, local, events, next_id, open: Mutex::default() };
        let owner =
            Owner { shared: Arc::new(shared), dialling: Mutex::default(), alive: watch::Sender::new(()) };
        Ok((Links { owner: Arc::new(owner) }, receiver))
    }

    /// Keeps a link to each of `peers`; links to others that were dialled are closed, without an event. Call it
    /// again with every change. Must be called within a tokio runtime.
    pub fn set_peers(&self, peers: &[(NodeId, SocketAddr)]) {
        let mut dialling = lock(&self.owner.dialling);
        dialling.retain(|node, (address, _)| peers.iter().any(|(n, a)| n == node && a == address));
        for (node, address) in peers {
            if *node == *self.owner.shared.tls.node() {
                continue;
            }
            dialling.entry(node.clone()).or_insert_with(|| {
                let (wanted, dropped) = watch::channel(());
                let shared = self.owner.shared.clone();
                tokio::spawn(until_dropped(dropped, shared.keep_dialling(node.clone(), *address)));
                (*address, wanted)
            });
        }
    }

    /// Queues a frame. Never waits.
    pub fn send(&self, link: LinkId, payload: Bytes) -> Result<(), SendError> {
        if payload.len() > MAX_FRAME_BYTES {
            return Err(SendError::TooLong(payload.len()));
        }
        let open = lock(&self.owner.shared.open);
        let outgoing = &open.get(&link).ok_or(SendError::Closed)?.outgoing;
        outgoing.try_send(payload).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::Busy,
            mpsc::error::TrySendError::Closed(_) => SendError::Closed,
        })
    }

    /// Closes a link; a dialled one is dialled again.
    pub fn close(&self, link: LinkId) {
        lock(&self.owner.shared.open).remove(&link);
    }

    /// Carries an accepted connection until it ends.
    pub(super) async fn run_accepted(&self, stream: impl AsyncRead + AsyncWrite, peer: NodeId) {
        let dropped = self.owner.alive.subscribe();
        let shared = self.owner.shared.clone();
        shared.close_oldest_accepted(&peer);
        until_dropped(dropped, async move { shared.run(stream, &peer, Side::Accepted).await }).await;
    }

    /// A handle that does not keep the links open.
    pub(super) fn downgrade(&self) -> WeakLinks {
        WeakLinks(Arc::downgrade(&self.owner))
    }
}

/// See [`Links::downgrade`].
#[derive(Clone)]
pub(super) struct WeakLinks(std::sync::Weak<Owner>);

impl WeakLinks {
    pub(super) fn upgrade(&self) -> Option<Links> {
        Some(Links { owner: self.0.upgrade()? })
    }
}

impl Shared {
    async fn keep_dialling(self: Arc<Self>, peer: NodeId, address: SocketAddr) {
        let mut backoff = MIN_BACKOFF;
        let mut told = None;
        loop {
            let event = match dial(&self.tls, self.config.clone(), &peer, address, self.local).await {
                Ok(stream) => {
                    told = None;
                    backoff = MIN_BACKOFF;
                    let began = Instant::now();
                    self.run(stream, &peer, Side::Dialled).await;
                    // A link that worked is dialled anew at once: whether it is refused is what counts now.
                    if began.elapsed() < MAX_BACKOFF {
                        tokio::time::sleep(MAX_BACKOFF).await;
                    }
                    continue;
                }
                Err(DialError::Refused) => LinkEvent::Refused { peer: peer.clone() },
                Err(error) => {
                    if told.as_ref() != Some(&error) {
                        tracing::warn!(%peer, %address, %error, "cannot reach a node");
                    }
                    told = Some(error.clone());
                    LinkEvent::Unreachable { peer: peer.clone(), error }
                }
            };
            let distrust = matches!(event, LinkEvent::Unreachable { error: DialError::Trust(_), .. });
            if self.events.send(event).await.is_err() {
                return;
            }
            tokio::time::sleep(if distrust { TRUST_BACKOFF } else { backoff }).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    /// Registers a link, carries it until it ends, and tells the owner of both.
    async fn run(self: &Arc<Self>, stream: impl AsyncRead + AsyncWrite, peer: &NodeId, side: Side) {
        let link = LinkId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let (sender, outgoing) = mpsc::channel(SEND_QUEUE);
        lock(&self.open).insert(link, Open { peer: peer.clone(), side, outgoing: sender });
        let _registered = Registered { shared: self.clone(), link };
        if self.events.send(LinkEvent::Connected { link, peer: peer.clone(), side }).await.is_err() {
            return;
        }
        let ended = connection::run(stream, link, peer, outgoing, &self.events).await;
        tracing::debug!(%peer, ?side, error = ended.err().map(tracing::field::display), "a link ended");
        lock(&self.open).remove(&link);
        let _ = self.events.send(LinkEvent::Reset { link, peer: peer.clone(), side }).await;
    }

    fn close_oldest_accepted(&self, peer: &NodeId) {
        let mut open = lock(&self.open);
        let of_peer = open.iter().filter(|(_, open)| open.side == Side::Accepted && open.peer == *peer);
        let mut links: Vec<LinkId> = of_peer.map(|(link, _)| *link).collect();
        if links.len() >= MAX_ACCEPTED_PER_PEER {
            links.sort_unstable();
            open.remove(&links[0]);
        }
    }
}

/// Takes a link off the list even when its task is dropped.
struct Registered {
    shared: Arc<Shared>,
    link: LinkId,
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&self.shared.open).remove(&self.link);
    }
}

/// Runs `task` until whoever holds the other end of `dropped` lets go of it.
async fn until_dropped(mut dropped: watch::Receiver<()>, task: impl Future<Output = ()>) {
    tokio::select! {
        () = task => {}
        _ = dropped.changed() => {}
    }
}

/// No code panics while it holds these locks.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
