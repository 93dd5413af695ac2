//! A client's WebSocket joined to its node's. Bytes pass as they are in both directions, at the pace of the slower
//! side. The gateway follows where the node's frames end. When the node dies, a client whom the room's new node knows
//! loses its socket, so that it resumes there at once; others get a `Leave` with the action RECONNECT, so that they join
//! anew.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use livekit_protocol as proto;
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout, timeout_at};

use super::director::{MediaNode, death_of};
use super::frames::{self, Frames};
use super::member::Member;
use super::server::Shared;
use crate::Death;
use crate::link::{Probe, probe};

/// Read buffer of one direction. Signal messages are small, and there are thousands of idle connections.
const BUFFER_BYTES: usize = 4 * 1024;

/// A side that takes nothing for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// When a node's connection ends without a word, its death is known within this time, if it died.
const DEATH_WAIT: Duration = Duration::from_millis(600);

/// Whether its process still listens is known at once, unless the network is at fault.
const PROBE_TIMEOUT: Duration = Duration::from_millis(250);

/// When one side has closed, what the other still has to say gets this long.
const GRACE: Duration = Duration::from_secs(1);

/// WebSocket close code after an orderly `Leave`, as the node's own.
const NORMAL_CLOSURE: u16 = 1000;

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// One side closed it as WebSockets are closed, or the client is gone.
    Closed,
    /// The node died, and the client was told to join anew.
    NodeDied,
    /// The node died, and the client resumes with another.
    Resumes,
    /// The node hung up without a close frame, or died within a frame too long to be held: so did the gateway.
    /// Clients then resume.
    Dropped,
}

/// Carries both directions until one ends. `deaths` is subscribed to before the node was asked.
pub(super) async fn splice(
    shared: Arc<Shared>,
    client: impl AsyncRead + AsyncWrite,
    upstream: impl AsyncRead + AsyncWrite,
    node: MediaNode,
    deaths: broadcast::Receiver<Death>,
    member: Option<Member>,
) -> End {
    let (mut client_reader, client_writer) = split(client);
    let (node_reader, node_writer) = split(upstream);
    let down = Down { shared, node, deaths, member, frames: Frames::default(), client: client_writer };
    let end = {
        let mut down = std::pin::pin!(down.run(node_reader));
        tokio::select! {
            end = &mut down => end,
            ended = carry_up(&mut client_reader, node_writer) => match ended {
                Up::NodeGone => down.await,
                Up::ClientGone => timeout(GRACE, down).await.unwrap_or(End::Closed),
            },
        }
    };
    if end == End::NodeDied {
        // A socket that is closed with unread bytes resets the connection, and the client would lose the Leave.
        let mut discarded = [0; 1024];
        let drained = async { while let Ok(1..) = client_reader.read(&mut discarded).await {} };
        let _ = timeout(GRACE, drained).await;
    }
    end
}

enum Up {
    ClientGone,
    NodeGone,
}

/// Client to node.
async fn carry_up(client: &mut (impl AsyncRead + Unpin), mut node: impl AsyncWrite + Unpin) -> Up {
    let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
    loop {
        buffer.clear();
        match client.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => {
                let _ = timeout(GRACE, node.shutdown()).await;
                return Up::ClientGone;
            }
            Ok(_) => {}
        }
        if write(&mut node, &buffer).await.is_err() {
            return Up::NodeGone;
        }
    }
}

/// Node to client.
struct Down<W> {
    shared: Arc<Shared>,
    node: MediaNode,
    deaths: broadcast::Receiver<Death>,
    member: Option<Member>,
    frames: Frames,
    client: W,
}

impl<W: AsyncWrite + Unpin> Down<W> {
    async fn run(mut self, mut node: impl AsyncRead + Unpin) -> End {
        if self.shared.director.is_dead(&self.node.node_id) {
            return self.tell_death().await;
        }
        let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
        loop {
            buffer.clear();
            let read = tokio::select! {
                read = node.read_buf(&mut buffer) => read,
                () = death_of(&self.node, &mut self.deaths, &*self.shared.director) => return self.tell_death().await,
            };
            if !matches!(read, Ok(1..)) {
                return self.upstream_ended().await;
            }
            let ready = self.frames.forward(&buffer);
            if !ready.is_empty() && write(&mut self.client, &ready).await.is_err() {
                return End::Closed;
            }
        }
    }

    /// Tells an orderly end from a node that hung up and from one that died.
    async fn upstream_ended(mut self) -> End {
        if self.frames.is_closed() {
            let _ = timeout(GRACE, self.client.shutdown()).await;
            return End::Closed;
        }
        let deadline = Instant::now() + DEATH_WAIT;
        let dead = death_of(&self.node, &mut self.deaths, &*self.shared.director);
        let alive = async {
            let local = self.shared.local_ip;
            if probe(self.node.address, local, PROBE_TIMEOUT).await != Probe::Open {
                std::future::pending::<()>().await;
            }
        };
        let died = async {
            tokio::select! {
                biased;
                () = dead => true,
                () = alive => false,
            }
        };
        let died = timeout_at(deadline, died).await.unwrap_or(false);
        if died || self.shared.director.is_dead(&self.node.node_id) {
            return self.tell_death().await;
        }
        End::Dropped
    }

    async fn tell_death(mut self) -> End {
        if let Some(member) = &self.member
            && member.may_resume(&self.shared).await
        {
            return End::Resumes;
        }
        if !self.frames.can_insert() {
            return End::Dropped;
        }
        let mut farewell = leave(self.frames.is_text());
        farewell.extend(frames::close(NORMAL_CLOSURE));
        if write(&mut self.client, &farewell).await.is_err() {
            return End::Closed;
        }
        let _ = timeout(GRACE, self.client.shutdown()).await;
        End::NodeDied
    }
}

/// The message that makes clients join anew, in the format that the node wrote.
fn leave(text: bool) -> Vec<u8> {
    let leave = proto::LeaveRequest {
        can_reconnect: true,
        reason: proto::DisconnectReason::ServerShutdown.into(),
        action: proto::leave_request::Action::Reconnect.into(),
        regions: None,
    };
    let response = proto::SignalResponse { message: Some(proto::signal_response::Message::Leave(leave)) };
    let json = text.then(|| serde_json::to_vec(&response).ok()).flatten();
    match json {
        Some(json) => frames::message(&json, true),
        None => frames::message(&response.encode_to_vec(), false),
    }
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    let written = timeout(WRITE_TIMEOUT, async {
        writer.write_all(bytes).await?;
        writer.flush().await
    });
    written.await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}
