//! One client's WebSocket after the upgrade: frames in, responses out, keep-alive, and an orderly or an
//! abrupt end (livekit.md §1.6, §2.10). The task owns the engine session: whenever it ends, for whatever
//! reason, the session is dropped and the room learns of it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auth::{Claims, REFRESH_TTL};
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, close_code};
use livekit_protocol as proto;
use net::{SendFailure, Session};
use proto::{signal_request, signal_response};
use sfu::SessionOutput;
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use crate::Server;
use crate::codec::Format;

/// A WebSocket ping keeps proxies from closing an idle connection and finds dead sockets.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Tokens are renewed this often, so that a client can reconnect at any time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(300);

/// A client that takes nothing for this long is gone: its queue in the engine must not grow for ever.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// At the end, what is still queued (a Leave) gets this long to reach the client.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(250);

/// Serves a connection until one side ends it. `first` has been waiting for the upgrade.
pub(crate) async fn run(
    server: Arc<Server>,
    socket: WebSocket,
    session: Session,
    first: SessionOutput,
    token: TokenState,
) {
    let mut connection = Connection { server, socket, session, token, format: Format::default() };
    let end = match connection.handle_output(first).await {
        ControlFlow::Continue(()) => connection.exchange().await,
        ControlFlow::Break(end) => end,
    };
    tracing::debug!(?end, "signalling connection ends");
    connection.finish(end).await;
}

/// What the refresh tokens of a session are made of.
#[derive(Debug)]
pub(crate) struct TokenState {
    pub(crate) claims: Claims,
    pub(crate) expires_at: SystemTime,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The room said all it had to say.
    Orderly,
    /// The client shall resume at once: no close frame.
    Abrupt,
    /// The client sent something unreadable.
    Unreadable,
    /// The client sent a message over the limit.
    TooBig,
    /// The client closed, or its socket is dead.
    ClientGone,
}

struct Connection {
    server: Arc<Server>,
    socket: WebSocket,
    session: Session,
    token: TokenState,
    format: Format,
}

impl Connection {
    async fn exchange(&mut self) -> End {
        let start = tokio::time::Instant::now();
        let mut ping = interval_at(start + PING_INTERVAL, PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refresh = interval_at(start + REFRESH_INTERVAL, REFRESH_INTERVAL);
        loop {
            let step = tokio::select! {
                output = self.session.recv() => match output {
                    Some(output) => self.handle_output(output).await,
                    None => ControlFlow::Break(End::Orderly),
                },
                frame = self.socket.recv() => match frame {
                    Some(Ok(frame)) => self.handle_frame(frame).await,
                    Some(Err(error)) => ControlFlow::Break(end_of_error(error)),
                    None => ControlFlow::Break(End::ClientGone),
                },
                _ = ping.tick() => self.send(Frame::Ping(Default::default())).await,
                _ = refresh.tick() => self.send_refresh_token().await,
            };
            if let ControlFlow::Break(end) = step {
                return end;
            }
        }
    }

    async fn handle_output(&mut self, output: SessionOutput) -> ControlFlow<End> {
        match output {
            SessionOutput::Response(response) => self.respond(&response).await,
            SessionOutput::RefreshToken(changes) => {
                let claims = &mut self.token.claims;
                claims.name = changes.name;
                claims.metadata = changes.metadata;
                claims.attributes = changes.attributes.into_iter().collect();
                claims.video.get_or_insert_default().set_permission(&changes.permission);
                self.send_refresh_token().await
            }
            SessionOutput::Close => ControlFlow::Break(End::Orderly),
            SessionOutput::Abort => ControlFlow::Break(End::Abrupt),
        }
    }

    async fn handle_frame(&mut self, frame: Frame) -> ControlFlow<End> {
        let decoded = match frame {
            Frame::Binary(payload) => self.format.decode_binary(&payload),
            Frame::Text(payload) => self.format.decode_text(&payload),
            Frame::Ping(_) | Frame::Pong(_) => return ControlFlow::Continue(()),
            Frame::Close(_) => return ControlFlow::Break(End::ClientGone),
        };
        let request = match decoded {
            Ok(request) => request,
            Err(error) => {
                tracing::info!(%error, identity = %self.token.claims.identity, "unreadable signal message");
                return ControlFlow::Break(End::Unreadable);
            }
        };
        self.answer_ping(&request).await?;
        match self.session.send(request) {
            Ok(()) => ControlFlow::Continue(()),
            Err(SendFailure::Closed) => ControlFlow::Break(End::Orderly),
            Err(SendFailure::Overloaded) => {
                tracing::warn!(identity = %self.token.claims.identity, "client sends faster than its room can take");
                ControlFlow::Break(End::Abrupt)
            }
        }
    }

    /// Pings are answered here, without a way through the room: their round trip measures the network.
    async fn answer_ping(&mut self, request: &proto::SignalRequest) -> ControlFlow<End> {
        let now_ms = unix_ms(SystemTime::now());
        let message = match &request.message {
            Some(signal_request::Message::Ping(_)) => signal_response::Message::Pong(now_ms),
            Some(signal_request::Message::PingReq(ping)) => signal_response::Message::PongResp(proto::Pong {
                last_ping_timestamp: ping.timestamp,
                timestamp: now_ms,
            }),
            _ => return ControlFlow::Continue(()),
        };
        self.respond(&proto::SignalResponse { message: Some(message) }).await
    }

    async fn send_refresh_token(&mut self) -> ControlFlow<End> {
        let now = SystemTime::now();
        let rest = self.token.expires_at.duration_since(now).unwrap_or_default();
        // Rights over telephony and agents are not for the client's reconnects.
        let claims = Claims { sip: None, agent: None, sha256: String::new(), ..self.token.claims.clone() };
        let token = self.server.config.keys.mint(&claims, now, rest.max(REFRESH_TTL));
        let message = Some(signal_response::Message::RefreshToken(token));
        self.respond(&proto::SignalResponse { message }).await
    }

    async fn respond(&mut self, response: &proto::SignalResponse) -> ControlFlow<End> {
        self.send(self.format.encode(response)).await
    }

    async fn send(&mut self, frame: Frame) -> ControlFlow<End> {
        match timeout(SEND_TIMEOUT, self.socket.send(frame)).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) | Err(_) => ControlFlow::Break(End::ClientGone),
        }
    }

    async fn finish(mut self, end: End) {
        let code = match end {
            End::ClientGone => return,
            // Everything sent so far is in the kernel's hands: dropping the socket ends the TCP connection
            // after it, without a close frame.
            End::Abrupt => return,
            End::Orderly | End::Unreadable => close_code::NORMAL,
            End::TooBig => close_code::SIZE,
        };
        let _ = timeout(FLUSH_TIMEOUT, async {
            let close = CloseFrame { code, reason: Default::default() };
            if self.socket.send(Frame::Close(Some(close))).await.is_ok() {
                // The client's own close frame, so that TCP does not reset what it has not read yet.
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        })
        .await;
    }
}

/// A message over the limit is told apart from a dead socket: the client learns of it.
fn end_of_error(error: axum::Error) -> End {
    use tokio_tungstenite::tungstenite::Error;
    match error.into_inner().downcast_ref::<Error>() {
        Some(Error::Capacity(_)) => End::TooBig,
        Some(Error::Utf8(_) | Error::Protocol(_)) => End::Unreadable,
        _ => End::ClientGone,
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}
