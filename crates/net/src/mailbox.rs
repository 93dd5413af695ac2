//! How other threads talk to a shard: a bounded queue of commands and a waker for its event loop.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Instant, SystemTime};

use livekit_protocol as proto;
use mio::Waker;
use rtc::negotiate::SdpError;
use rtc::transport::DtlsIdentity;
use sfu::{EngineConfig, JoinParams, Room, RoomName, RoomOptions, SessionId, SessionOutput};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::front::{InstallError, JoinFailure};
use crate::shard::RelayEnd;
use crate::stats::ShardStats;

/// Commands that may wait for a shard: what five thousand clients send within a second or so. Beyond it
/// signals are refused, and requests wait for their turn.
const MAX_COMMANDS: usize = 4_096;

/// Something for a shard to do.
pub(crate) enum Command {
    Join(Box<JoinCommand>, oneshot::Sender<JoinReply>),
    Signal {
        session: SessionId,
        request: Box<proto::SignalRequest>,
        /// The session's count of messages under way.
        in_flight: Arc<AtomicU32>,
    },
    SessionClosed(SessionId),
    Create {
        room: RoomName,
        options: Box<RoomOptions>,
        /// `Err` names the shard that has the room instead.
        reply: oneshot::Sender<Result<proto::Room, usize>>,
    },
    With {
        room: RoomName,
        run: RoomTask,
    },
    /// A room that was served elsewhere until now.
    Install {
        room: RoomName,
        /// From its description, rather than as it was.
        anew: bool,
        make: RoomMaker,
        reply: oneshot::Sender<Result<SocketAddr, InstallError>>,
    },
    /// Bridge a room's clients to its new node.
    OpenRelays {
        room: RoomName,
        target: SocketAddr,
        reply: oneshot::Sender<Vec<RelayEnd>>,
    },
    /// Clients of a room come by these bridges until they find their own way.
    AdmitRelays {
        room: RoomName,
        ends: Vec<RelayEnd>,
    },
    /// End all rooms without a word: this node may not serve them.
    Abandon(oneshot::Sender<()>),
    Rooms(oneshot::Sender<Vec<proto::Room>>),
    Stats(oneshot::Sender<ShardStats>),
    /// An ICE-TCP connection whose first frame is for this shard.
    Tcp(Box<TcpHandover>),
    /// Close all rooms, flush, end. The sender is dropped when that is done.
    Shutdown(oneshot::Sender<()>),
}

/// What somebody wants to be done with a room, on its shard.
pub(crate) type RoomTask = Box<dyn FnOnce(&mut Room, Instant) + Send>;

/// Makes a room from what its former node left.
pub(crate) type RoomMaker = Box<dyn FnOnce(Birth) -> Result<Room, SdpError> + Send>;

/// What a shard gives a new room.
pub(crate) struct Birth {
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) identity: Arc<DtlsIdentity>,
    pub(crate) now: Instant,
    pub(crate) wall: SystemTime,
    pub(crate) seed: u64,
}

/// A client that wants into a room.
pub(crate) struct JoinCommand {
    pub(crate) room: RoomName,
    pub(crate) options: RoomOptions,
    pub(crate) create: bool,
    pub(crate) params: JoinParams,
    pub(crate) outputs: mpsc::Sender<SessionOutput>,
}

pub(crate) enum JoinReply {
    Joined,
    Failed(JoinFailure),
    /// Another shard has the room: ask there.
    Moved(usize, Box<JoinCommand>),
}

/// A connection that has shown whom it is for.
pub(crate) struct TcpHandover {
    pub(crate) stream: TcpStream,
    /// The candidate that it came to.
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// What was read of it so far, frames with their lengths.
    pub(crate) received: Vec<u8>,
}

/// The sending side of a shard's mailbox.
pub(crate) struct Mailbox {
    queue: mpsc::Sender<Command>,
    signal: Arc<Wake>,
}

/// Wakes the event loop once, however many commands come meanwhile.
struct Wake {
    waker: Waker,
    woken: AtomicBool,
    /// Some session ended while the queue was full.
    sweep: AtomicBool,
}

/// The shard's side.
pub(crate) struct Inbox {
    queue: mpsc::Receiver<Command>,
    signal: Arc<Wake>,
}

/// The shard's queue is full, or the shard is gone.
pub(crate) enum Refused {
    Full,
    Closed,
}

/// Makes the two ends.
pub(crate) fn mailbox(waker: Waker) -> (Mailbox, Inbox) {
    let (sender, receiver) = mpsc::channel(MAX_COMMANDS);
    let signal = Arc::new(Wake { waker, woken: AtomicBool::new(false), sweep: AtomicBool::new(false) });
    (Mailbox { queue: sender, signal: signal.clone() }, Inbox { queue: receiver, signal })
}

impl Mailbox {
    /// Never waits.
    pub(crate) fn try_send(&self, command: Command) -> Result<(), Refused> {
        self.queue.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Full,
            TrySendError::Closed(_) => Refused::Closed,
        })?;
        self.signal.wake();
        Ok(())
    }

    /// Waits for room in the queue. `false` when the shard is gone.
    pub(crate) async fn send(&self, command: Command) -> bool {
        let sent = self.queue.send(command).await.is_ok();
        self.signal.wake();
        sent
    }

    /// The session's receiver is gone. Never lost, even when the queue is full.
    pub(crate) fn session_closed(&self, session: SessionId) {
        if let Err(Refused::Full) = self.try_send(Command::SessionClosed(session)) {
            self.signal.sweep.store(true, Ordering::Release);
            self.signal.wake();
        }
    }
}

impl Wake {
    fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a shard could not be woken; it sees the command at its next timer");
        }
    }
}

impl Inbox {
    /// To be called before a round of [`Self::take`]: what comes from now on wakes the loop again.
    pub(crate) fn acknowledge(&self) {
        self.signal.woken.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn take(&mut self) -> Option<Command> {
        self.queue.try_recv().ok()
    }

    /// Whether to look for sessions whose receivers are gone.
    pub(crate) fn take_sweep(&self) -> bool {
        self.signal.sweep.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests;
