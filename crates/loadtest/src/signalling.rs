//! A caller's signalling socket, in a task of its own: media goes on while it is opened anew.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{Error, Message};

/// A server that takes longer to answer counts as failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Messages of the server that wait for the caller, who is never away for long.
const MAX_WAITING: usize = 256;

/// Messages of the caller that wait for the socket: while it opens an offer, a state and some pings.
const MAX_UNSENT: usize = 64;

/// What happens on the socket.
#[derive(Debug)]
pub(crate) enum Heard {
    Message(Box<proto::SignalResponse>),
    /// It is closed, or was never open; with the reason if there is one.
    Closed(Option<&'static str>),
}

/// An open socket, or one that is being opened. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Signalling {
    pub(crate) heard: mpsc::Receiver<Heard>,
    asks: mpsc::Sender<proto::SignalRequest>,
}

impl Signalling {
    /// Connects to `base` (a ws:// URL) with a token and what the caller wants.
    pub(crate) fn open(base: &str, token: &str, join: &proto::JoinRequest) -> Signalling {
        let wrapped =
            proto::WrappedJoinRequest { compression: 0, join_request: join.encode_to_vec() }.encode_to_vec();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("access_token", token).append_pair("join_request", &URL_SAFE.encode(wrapped));
        let url = format!("{}/rtc/v1?{}", base.trim_end_matches('/'), query.finish());
        let (told, heard) = mpsc::channel(MAX_WAITING);
        let (asks, wanted) = mpsc::channel(MAX_UNSENT);
        tokio::spawn(async move {
            let reason = tokio::select! {
                reason = carry(&url, &told, wanted) => reason,
                () = told.closed() => None,
            };
            let _ = told.send(Heard::Closed(reason)).await;
        });
        Signalling { heard, asks }
    }

    pub(crate) fn ask(&self, request: proto::SignalRequest) {
        // A server that reads nothing for so long is dead, and found out to be by its silence.
        let _ = self.asks.try_send(request);
    }
}

/// Carries messages both ways until one side ends.
async fn carry(
    url: &str,
    told: &mpsc::Sender<Heard>,
    mut wanted: mpsc::Receiver<proto::SignalRequest>,
) -> Option<&'static str> {
    let mut socket = match timeout(CONNECT_TIMEOUT, connect_async(url)).await {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(Error::Http(response))) if response.status().as_u16() == 503 => {
            return Some("answered with 503");
        }
        Ok(Err(Error::Http(response))) if response.status().is_client_error() => {
            return Some("the server refused the connection: look at room, key and secret");
        }
        Ok(Err(_)) => return Some("no connection to the server"),
        Err(_) => return Some("the server did not answer within 5 s"),
    };
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) => match proto::SignalResponse::decode(bytes) {
                    Ok(response) => told.send(Heard::Message(Box::new(response))).await.ok()?,
                    Err(_) => return Some("the server sent what is not a signal message"),
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            },
            request = wanted.recv() => {
                let bytes = request?.encode_to_vec();
                if socket.send(Message::Binary(bytes.into())).await.is_err() {
                    return None;
                }
            }
        }
    }
}
