//! Mirrors: each room of a media node is known to one other, so that its calls go on there or anywhere when the node
//! dies.
//!
//! [`Mirroring`] is the owner's side. It holds the latest mirror of each room that this node serves and sees to it
//! that the room's keeper has it: the media node that [`rendezvous_order`] names first, which every node works out
//! by itself from the registry. [`Mirrors`] is the keeper's side. Whoever takes a room over asks for its mirror with
//! [`Mirroring::find`].

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode};
use futures_util::stream::{FuturesUnordered, StreamExt, iter};
use http_body_util::{BodyExt, Limited};
use sfu::{RoomDescription, RoomName, RoomSnapshot};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, timeout};

use super::routes::MAX_SNAPSHOT_BYTES;
use crate::NodeId;
use crate::control::rendezvous_order;
use crate::link::InternalClient;
use crate::runtime::Node;

/// What a node keeps for others, at most: the rooms of a node with ten thousand participants.
const MAX_KEPT_BYTES: usize = 512 * 1024 * 1024;

/// Mirrors under way at once.
const CONCURRENCY: usize = 8;

/// A keeper that does not take a mirror within this is asked again later.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// Clients wait meanwhile.
const FIND_TIMEOUT: Duration = Duration::from_millis(300);

/// Nodes that may have a room's mirror: its keeper, and those that were before nodes came or went.
const CANDIDATES: usize = 3;

/// How often it is checked that every mirror is where it belongs.
const TICK: Duration = Duration::from_secs(1);

/// A room that has come here is activated within this time, or never.
const ARRIVAL_WAIT: Duration = Duration::from_secs(10);

/// Mirrors of rooms that are over are dropped this often, in ticks.
const SWEEP_TICKS: u32 = 30;

/// What this node keeps for others.
#[derive(Default)]
pub struct Mirrors {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    mirrors: HashMap<RoomName, KeptMirror>,
    bytes: usize,
}

struct KeptMirror {
    owner: NodeId,
    mirror: Bytes,
}

impl Mirrors {
    /// Keeps a room's mirror for `owner` in place of the one before. `false`: there is no space, and none is kept.
    pub fn keep(&self, room: RoomName, owner: NodeId, mirror: Bytes) -> bool {
        let mut kept = lock(&self.kept);
        kept.forget(&room);
        if kept.bytes + mirror.len() > MAX_KEPT_BYTES {
            return false;
        }
        kept.bytes += mirror.len();
        kept.mirrors.insert(room, KeptMirror { owner, mirror });
        true
    }

    /// The mirror of a room.
    pub fn get(&self, room: &RoomName) -> Option<Bytes> {
        lock(&self.kept).mirrors.get(room).map(|kept| kept.mirror.clone())
    }

    /// The room is over, or another keeps it: nobody asks for what `owner` sent.
    pub fn release(&self, room: &RoomName, owner: &NodeId) {
        let mut kept = lock(&self.kept);
        if kept.mirrors.get(room).is_some_and(|kept| kept.owner == *owner) {
            kept.forget(room);
        }
    }

    fn forget(&self, room: &RoomName) {
        lock(&self.kept).forget(room);
    }

    fn retain(&self, is_room: impl Fn(&RoomName) -> bool) {
        let names: Vec<_> = lock(&self.kept).mirrors.keys().cloned().collect();
        names.iter().filter(|name| !is_room(name)).for_each(|name| self.forget(name));
    }
}

impl Kept {
    fn forget(&mut self, room: &RoomName) {
        self.bytes -= self.mirrors.remove(room).map_or(0, |kept| kept.mirror.len());
    }
}

/// The latest mirror of a room that is served here.
struct Own {
    mirror: Arc<RoomSnapshot>,
    since: Instant,
    /// Who has this one, …
    kept_by: Option<Keeper>,
    /// … and who has one that is older.
    former: Option<Keeper>,
}

type Keeper = (NodeId, SocketAddr);

/// See the module.
pub struct Mirroring {
    node: Node,
    client: InternalClient,
    kept: Arc<Mirrors>,
    /// Bounded by the rooms of the node.
    own: Mutex<HashMap<RoomName, Own>>,
    /// Nodes that did not take a mirror lately: the next in order takes it meanwhile.
    failing: Mutex<HashSet<NodeId>>,
    changed: Notify,
}

impl Mirroring {
    /// Also starts the task that sends mirrors; it runs as long as the process. `kept`: what this node keeps for
    /// others.
    pub fn new(node: Node, client: InternalClient, kept: Arc<Mirrors>) -> Arc<Mirroring> {
        let (own, failing, changed) = (Mutex::default(), Mutex::default(), Notify::new());
        let mirroring = Arc::new(Mirroring { node, client, kept, own, failing, changed });
        tokio::spawn(run(mirroring.clone()));
        mirroring
    }

    /// A room of this node is another than before.
    pub fn changed(&self, room: RoomName, mirror: Arc<RoomSnapshot>) {
        let mut own = lock(&self.own);
        let former = own.remove(&room).and_then(|own| own.kept_by.or(own.former));
        own.insert(room, Own { mirror, since: Instant::now(), kept_by: None, former });
        self.changed.notify_one();
    }

    /// The room is not served here any longer.
    pub async fn ended(&self, room: &RoomName) {
        let own = lock(&self.own).remove(room);
        if let Some(keeper) = own.and_then(|own| own.kept_by.or(own.former)) {
            self.ask(&keeper, Method::DELETE, room, Body::empty()).await;
        }
    }

    /// The mirror of a room whose node has died, if there is one as new as `description`.
    pub async fn find(&self, room: &RoomName, description: &RoomDescription) -> Option<RoomSnapshot> {
        let fitting = |bytes: &[u8]| {
            let read = serde_json::from_slice::<RoomSnapshot>(bytes);
            read.inspect_err(|error| tracing::warn!(%room, %error, "a mirror cannot be read"))
                .ok()
                .filter(|mirror| mirror.mirrors(description))
        };
        if let Some(found) = self.kept.get(room).and_then(|bytes| fitting(&bytes)) {
            self.kept.forget(room);
            return Some(found);
        }
        let candidates = self.candidates(room);
        let ask = |keeper: Keeper| async move { self.ask(&keeper, Method::GET, room, Body::empty()).await };
        let mut asked: FuturesUnordered<_> = candidates.into_iter().take(CANDIDATES).map(ask).collect();
        let found = async {
            while let Some(answer) = asked.next().await {
                if let Some(found) = answer.and_then(|bytes| fitting(&bytes)) {
                    return Some(found);
                }
            }
            None
        };
        timeout(FIND_TIMEOUT, found).await.ok().flatten()
    }

    /// Who may have the mirror of a room, the likeliest first.
    fn candidates(&self, room: &RoomName) -> Vec<Keeper> {
        rendezvous_order(room.as_str(), self.node.media_peers())
    }

    /// Sends the mirrors that nobody has yet, or with `all` every one that is not where it belongs.
    async fn send(&self, all: bool) {
        let mut peers = self.node.media_peers();
        let due: Vec<_> = {
            let failing = lock(&self.failing);
            peers.retain(|(node, _)| !failing.contains(node));
            let own = lock(&self.own);
            // A room that moves here is its former node's to mirror until it is here.
            let unsent = own.iter().filter(|(_, own)| all || own.kept_by.is_none());
            let served = unsent.filter(|(room, _)| self.node.serves(room.as_str()));
            let due = served.filter_map(|(room, own)| {
                let keeper = rendezvous_order(room.as_str(), peers.clone()).into_iter().next()?;
                (own.kept_by.as_ref() != Some(&keeper)).then(|| (room.clone(), own.mirror.clone(), keeper))
            });
            due.collect()
        };
        iter(due)
            .for_each_concurrent(CONCURRENCY, |(room, mirror, keeper)| self.send_one(room, mirror, keeper))
            .await;
    }

    async fn send_one(&self, room: RoomName, mirror: Arc<RoomSnapshot>, keeper: Keeper) {
        let Ok(bytes) = serde_json::to_vec(&*mirror) else { return };
        if self.ask(&keeper, Method::PUT, &room, Body::from(bytes)).await.is_none() {
            lock(&self.failing).insert(keeper.0);
            return;
        }
        let former = {
            let mut own = lock(&self.own);
            let Some(own) = own.get_mut(&room) else { return };
            let former = own.former.replace(keeper.clone());
            if Arc::ptr_eq(&own.mirror, &mirror) {
                own.kept_by = Some(keeper.clone());
            }
            former
        };
        if let Some(former) = former.filter(|former| *former != keeper) {
            self.ask(&former, Method::DELETE, &room, Body::empty()).await;
        }
    }

    /// Forgets rooms that have moved away, and what is kept of rooms that are over.
    async fn tidy(&self, sweep: bool) {
        let gone: Vec<_> = {
            let own = lock(&self.own);
            let old = own.iter().filter(|(_, own)| own.since.elapsed() > ARRIVAL_WAIT);
            old.map(|(room, _)| room).filter(|room| !self.node.serves(room.as_str())).cloned().collect()
        };
        for room in gone {
            self.ended(&room).await;
        }
        if sweep {
            self.kept.retain(|room| self.node.is_room(room.as_str()));
        }
    }

    /// The body of a positive answer.
    async fn ask(&self, keeper: &Keeper, method: Method, room: &RoomName, body: Body) -> Option<Bytes> {
        let (node, address) = keeper;
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let (name, owner) = (encoded(room.as_str()), encoded(&self.node.id().0));
        let request = Request::builder()
            .method(method)
            .uri(format!("/internal/mirrors?room={name}&owner={owner}"))
            .body(body)
            .expect("the path is encoded");
        let exchange = async {
            let response = self.client.request(*address, node, request).await.ok()?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_SNAPSHOT_BYTES).collect().await.ok()?;
            if status == StatusCode::INSUFFICIENT_STORAGE {
                tracing::warn!(%room, %node, "the mirror of a room finds no space");
            }
            status.is_success().then(|| body.to_bytes())
        };
        timeout(SEND_TIMEOUT, exchange).await.ok().flatten()
    }
}

async fn run(here: Arc<Mirroring>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0;
    loop {
        let all = tokio::select! {
            () = here.changed.notified() => false,
            _ = tick.tick() => {
                ticks += 1;
                lock(&here.failing).clear();
                here.tidy(ticks % SWEEP_TICKS == 0).await;
                true
            }
        };
        here.send(all).await;
    }
}

/// Nobody panics while holding these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_replaces_forgets_and_has_a_limit() {
        let mirrors = Mirrors::default();
        let name = |room: &str| RoomName::from(room);
        let (one, two) = (NodeId("one".into()), NodeId("two".into()));
        let keep = |room, owner: &NodeId, mirror| mirrors.keep(name(room), owner.clone(), mirror);
        assert!(keep("a", &one, Bytes::from_static(b"first")));
        assert!(keep("a", &two, Bytes::from_static(b"second")));
        mirrors.release(&name("a"), &one);
        assert_eq!(mirrors.get(&name("a")), Some(Bytes::from_static(b"second")));
        assert_eq!(lock(&mirrors.kept).bytes, 6);
        let too_much = Bytes::from(vec![0; MAX_KEPT_BYTES]);
        assert!(!keep("b", &one, too_much.clone()), "there is another");
        assert!(!keep("a", &two, Bytes::from(vec![0; MAX_KEPT_BYTES + 1])));
        assert_eq!(mirrors.get(&name("a")), None, "one that is out of date helps nobody");
        assert!(keep("b", &one, too_much));
        mirrors.retain(|room| *room != name("b"));
        assert_eq!((mirrors.get(&name("b")), lock(&mirrors.kept).bytes), (None, 0));
        assert!(keep("c", &one, Bytes::from_static(b"third")));
        mirrors.release(&name("c"), &one);
        assert_eq!(mirrors.get(&name("c")), None);
    }
}
