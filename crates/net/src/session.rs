//! One signalling connection as the signalling endpoint holds it: a way to tell the room something, a way
//! to hear from it, and the promise that the room learns when the connection is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use livekit_protocol as proto;
use sfu::{SessionId, SessionOutput};
use tokio::sync::mpsc;

use crate::mailbox::{Command, Mailbox, Refused};

/// Outputs that may wait for a slow WebSocket: a join into a room of a thousand with all its updates. Who
/// falls behind further is cut off and resumes.
pub(crate) const MAX_OUTPUTS: usize = 1_024;

/// Requests of one session that may wait in its shard's mailbox, so that a single client cannot fill it.
const MAX_IN_FLIGHT: u32 = 256;

/// Why a request was not passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendFailure {
    #[error("the session or its shard has too many requests waiting; close the connection or slow down")]
    Overloaded,
    #[error("the shard has ended; close the connection")]
    Closed,
}

/// A signalling connection that has joined. Dropping it, or the receiver split from it, tells the room.
pub struct Session {
    sender: SessionSender,
    receiver: SessionReceiver,
}

impl Session {
    pub(crate) fn new(guard: SessionGuard, outputs: mpsc::Receiver<SessionOutput>) -> Session {
        let sender = SessionSender {
            id: guard.session,
            mailbox: guard.mailbox.clone(),
            in_flight: Arc::new(AtomicU32::new(0)),
        };
        Session { sender, receiver: SessionReceiver { outputs, ended: false, _guard: guard } }
    }

    /// See [`SessionSender::send`].
    pub fn send(&self, request: proto::SignalRequest) -> Result<(), SendFailure> {
        self.sender.send(request)
    }

    /// See [`SessionReceiver::recv`].
    pub async fn recv(&mut self) -> Option<SessionOutput> {
        self.receiver.recv().await
    }

    /// The two directions, for two tasks.
    pub fn split(self) -> (SessionSender, SessionReceiver) {
        (self.sender, self.receiver)
    }
}

/// Tells the room what the client says.
#[derive(Clone)]
pub struct SessionSender {
    id: SessionId,
    mailbox: Arc<Mailbox>,
    in_flight: Arc<AtomicU32>,
}

impl SessionSender {
    /// Passes a request on without waiting. Requests keep their order.
    pub fn send(&self, request: proto::SignalRequest) -> Result<(), SendFailure> {
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= MAX_IN_FLIGHT {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            return Err(SendFailure::Overloaded);
        }
        let in_flight = self.in_flight.clone();
        let command = Command::Signal { session: self.id, request: Box::new(request), in_flight };
        self.mailbox.try_send(command).map_err(|refused| {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            match refused {
                Refused::Full => SendFailure::Overloaded,
                Refused::Closed => SendFailure::Closed,
            }
        })
    }
}

/// Hears what the room says to the client.
pub struct SessionReceiver {
    outputs: mpsc::Receiver<SessionOutput>,
    ended: bool,
    _guard: SessionGuard,
}

impl SessionReceiver {
    /// The next output, in order. The last is [`SessionOutput::Close`] or [`SessionOutput::Abort`] (also when
    /// this side read too slowly, or the shard is gone), then comes `None`. Cancel-safe.
    pub async fn recv(&mut self) -> Option<SessionOutput> {
        if self.ended {
            return None;
        }
        let output = self.outputs.recv().await.unwrap_or(SessionOutput::Abort);
        self.ended = matches!(output, SessionOutput::Close | SessionOutput::Abort);
        Some(output)
    }
}

/// Tells the shard that a session is gone when it is dropped.
pub(crate) struct SessionGuard {
    pub(crate) session: SessionId,
    pub(crate) mailbox: Arc<Mailbox>,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.mailbox.session_closed(self.session);
    }
}
