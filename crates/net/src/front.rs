//! The handle by which the asynchronous world reaches rooms by name, whichever shard they live on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use livekit_protocol as proto;
use rtc::Path;
use rtc::negotiate::SdpError;
use rtc::transport::DtlsIdentity;
use sfu::{JoinError, JoinParams, Room, RoomDescription, RoomEvent, RoomName, RoomOptions, RoomSnapshot};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::config::{NetConfig, NetError};
use crate::directory::Directory;
use crate::mailbox::{Birth, Command, JoinCommand, JoinReply, Mailbox, Refused};
use crate::session::{self, Session, SessionGuard};
use crate::shard::{self, RelayEnd};
use crate::stats::ShardStats;
use crate::tcp::Acceptor;

/// Events that may wait for a slow observer before the oldest are lost to it.
pub(crate) const MAX_EVENTS: usize = 8_192;

/// A room that is closed and opened again on other shards all the time could be chased for ever; after so
/// many moves the join gives up.
const MAX_MOVES: usize = 8;

/// Why a client did not get into a room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinFailure {
    #[error("requested room does not exist; create it first or allow auto_create")]
    RoomDoesNotExist,
    #[error(transparent)]
    Refused(#[from] JoinError),
    #[error("the server has too many requests waiting; try again in a moment")]
    Overloaded,
    #[error("the server is shutting down; connect to another node")]
    ShuttingDown,
}

/// Why a room from elsewhere was not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    #[error("a room of this name is served here already; close it or move another")]
    Exists,
    #[error(
        "the room has only just moved away from here and some clients still come by this node; try again in a few seconds or take another node"
    )]
    Lingers,
    #[error("the room's snapshot cannot be read: {0}; do the two nodes run versions that fit?")]
    Snapshot(String),
    #[error("the server is shutting down; take another node")]
    ShuttingDown,
}

/// All shards of a process. Cheap to clone; [`Self::shutdown`] or the end of the process ends the shards.
#[derive(Clone)]
pub struct Shards {
    inner: Arc<Inner>,
}

struct Inner {
    mailboxes: Vec<Arc<Mailbox>>,
    directory: Arc<Directory>,
    candidates: Vec<Path>,
    events: broadcast::Sender<(RoomName, RoomEvent)>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    acceptor: Mutex<Option<Acceptor>>,
}

impl Shards {
    /// Opens the sockets and starts the threads.
    pub fn start(config: NetConfig) -> Result<Shards, NetError> {
        let started = shard::start_all(config)?;
        Ok(Shards {
            inner: Arc::new(Inner {
                mailboxes: started.mailboxes,
                directory: started.directory,
                candidates: started.candidates,
                events: started.events,
                threads: Mutex::new(started.threads),
                acceptor: Mutex::new(started.acceptor),
            }),
        })
    }

    /// All addresses that clients are told, of all shards.
    pub fn candidates(&self) -> &[Path] {
        &self.inner.candidates
    }

    /// Joins or resumes. Without `create` the room must exist; `options` count only for a new room.
    ///
    /// Cancel-safe: a join whose future is dropped is undone.
    pub async fn join(
        &self,
        room: &RoomName,
        options: RoomOptions,
        create: bool,
        params: JoinParams,
    ) -> Result<Session, JoinFailure> {
        let session = params.session;
        let (outputs, receiver) = mpsc::channel(session::MAX_OUTPUTS);
        let mut shard = match self.inner.directory.find(room) {
            Some(shard) => shard,
            None if create => self.inner.directory.least_loaded(),
            None => return Err(JoinFailure::RoomDoesNotExist),
        };
        let mut command = Box::new(JoinCommand { room: room.clone(), options, create, params, outputs });
        for _ in 0..MAX_MOVES {
            let mailbox = self.inner.mailboxes[shard].clone();
            let guard = SessionGuard { session, mailbox: mailbox.clone() };
            let (reply, answer) = oneshot::channel();
            mailbox.try_send(Command::Join(command, reply)).map_err(|refused| match refused {
                Refused::Full => JoinFailure::Overloaded,
                Refused::Closed => JoinFailure::ShuttingDown,
            })?;
            match answer.await {
                Ok(JoinReply::Joined) => return Ok(Session::new(guard, receiver)),
                Ok(JoinReply::Failed(failure)) => return Err(failure),
                Ok(JoinReply::Moved(home, returned)) => (shard, command) = (home, returned),
                Err(_) => return Err(JoinFailure::ShuttingDown),
            }
        }
        Err(JoinFailure::Overloaded)
    }

    /// Runs `f` on a room, on its shard. `None` when there is no such room. `f` must not block.
    pub async fn with_room<R: Send + 'static>(
        &self,
        room: &RoomName,
        f: impl FnOnce(&mut Room, Instant) -> R + Send + 'static,
    ) -> Option<R> {
        let shard = self.inner.directory.find(room)?;
        let (reply, answer) = oneshot::channel();
        let run = Box::new(move |room: &mut Room, now: Instant| {
            // Who asked may have given up.
            let _ = reply.send(f(room, now));
        });
        self.inner.mailboxes[shard].send(Command::With { room: room.clone(), run }).await;
        answer.await.ok()
    }

    /// Creates a room unless it exists; either way returns it. Fails only when the server shuts down.
    pub async fn create_room(
        &self,
        room: &RoomName,
        options: RoomOptions,
    ) -> Result<proto::Room, JoinFailure> {
        let mut shard =
            self.inner.directory.find(room).unwrap_or_else(|| self.inner.directory.least_loaded());
        for _ in 0..MAX_MOVES {
            let (reply, answer) = oneshot::channel();
            let options = Box::new(options.clone());
            self.inner.mailboxes[shard].send(Command::Create { room: room.clone(), options, reply }).await;
            match answer.await {
                Ok(Ok(info)) => return Ok(info),
                Ok(Err(home)) => shard = home,
                Err(_) => return Err(JoinFailure::ShuttingDown),
            }
        }
        Err(JoinFailure::Overloaded)
    }

    /// Takes in a room that moves here: see [`Room::export`]. Its clients may resume from now on. Returns
    /// where its former node is to bridge them to.
    pub async fn import(&self, room: &RoomName, snapshot: RoomSnapshot) -> Result<SocketAddr, InstallError> {
        let name = room.clone();
        self.install(room, false, move |birth| {
            let identity = unknown_identity(&snapshot, birth.identity);
            Room::import(birth.config, identity, name, snapshot, birth.now, birth.wall, birth.seed)
        })
        .await
    }

    /// Starts a room again whose node has died: see [`Room::restore`].
    pub async fn restore(&self, room: &RoomName, description: RoomDescription) -> Result<(), InstallError> {
        let name = room.clone();
        self.install(room, true, move |birth| {
            let Birth { config, identity, now, wall, seed } = birth;
            Ok(Room::restore(config, identity, name, description, now, wall, seed))
        })
        .await
        .map(drop)
    }

    /// Bridges the clients of a room that has been exported to its new node, until they find their own way.
    /// Returns what the new node must know: see [`Self::admit_relays`].
    pub async fn open_relays(&self, room: &RoomName, target: SocketAddr) -> Vec<RelayEnd> {
        let Some(shard) = self.inner.directory.find(room) else { return Vec::new() };
        let (reply, answer) = oneshot::channel();
        self.inner.mailboxes[shard].send(Command::OpenRelays { room: room.clone(), target, reply }).await;
        answer.await.unwrap_or_default()
    }

    /// The bridges by which clients of a room that was imported come at first.
    pub async fn admit_relays(&self, room: &RoomName, ends: Vec<RelayEnd>) {
        let Some(shard) = self.inner.directory.find(room) else { return };
        self.inner.mailboxes[shard].send(Command::AdmitRelays { room: room.clone(), ends }).await;
    }

    async fn install(
        &self,
        room: &RoomName,
        anew: bool,
        make: impl FnOnce(Birth) -> Result<Room, SdpError> + Send + 'static,
    ) -> Result<SocketAddr, InstallError> {
        let shard = self.inner.directory.find(room).unwrap_or_else(|| self.inner.directory.least_loaded());
        let (reply, answer) = oneshot::channel();
        let command = Command::Install { room: room.clone(), anew, make: Box::new(make), reply };
        self.inner.mailboxes[shard].send(command).await;
        answer.await.unwrap_or(Err(InstallError::ShuttingDown))
    }

    /// Ends all rooms without a word to anybody: this node may not serve them any longer.
    pub async fn abandon_all(&self) {
        self.ask_all(Command::Abandon).await;
    }

    /// All rooms of this process.
    pub async fn rooms(&self) -> Vec<proto::Room> {
        self.ask_all(Command::Rooms).await.into_iter().flatten().collect()
    }

    /// Counters of all shards, added up.
    pub async fn stats(&self) -> ShardStats {
        let mut sum = ShardStats::default();
        for stats in self.ask_all(Command::Stats).await {
            sum += stats;
        }
        sum
    }

    /// Whether every shard's thread still answers. Waits for as long as one is busy.
    pub async fn all_answer(&self) -> bool {
        self.ask_all(Command::Stats).await.len() == self.inner.mailboxes.len()
    }

    /// Everything that happens in all rooms from now on. A subscriber that falls behind by more than
    /// a few thousand events is told how many it missed.
    pub fn subscribe_events(&self) -> broadcast::Receiver<(RoomName, RoomEvent)> {
        self.inner.events.subscribe()
    }

    /// Closes all rooms with SERVER_SHUTDOWN, gives their last messages up to 250 ms to leave, and ends the
    /// threads. Later calls of anything find no room.
    pub async fn shutdown(&self) {
        drop(self.inner.acceptor.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take());
        self.ask_all(Command::Shutdown).await;
        let threads =
            std::mem::take(&mut *self.inner.threads.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        let join_all = move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a shard ended by a panic");
                }
            }
        };
        // The shards have said that they are done, so this takes microseconds, but it may not block here.
        if tokio::task::spawn_blocking(join_all).await.is_err() {
            tracing::error!("waiting for the shards failed");
        }
    }

    /// Puts a question to all shards, then collects the answers of those that live.
    async fn ask_all<R>(&self, question: impl Fn(oneshot::Sender<R>) -> Command) -> Vec<R> {
        let mut answers = Vec::with_capacity(self.inner.mailboxes.len());
        for mailbox in &self.inner.mailboxes {
            let (reply, answer) = oneshot::channel();
            mailbox.send(question(reply)).await;
            answers.push(answer);
        }
        let mut collected = Vec::with_capacity(answers.len());
        for answer in answers {
            collected.extend(answer.await.ok());
        }
        collected
    }
}

/// A certificate that no client of the room takes for that of its present node: ours, or another when the room was here
/// a moment ago.
fn unknown_identity(snapshot: &RoomSnapshot, usual: Arc<DtlsIdentity>) -> Arc<DtlsIdentity> {
    if !snapshot.knows(&usual.fingerprint()) {
        return usual;
    }
    DtlsIdentity::generate().unwrap_or_else(|error| {
        tracing::warn!(%error, "clients that have not left this node yet may have to connect anew");
        usual
    })
}
