//! The signalling connection as clients see it.

mod common;

use std::time::Duration;

use common::{TestServer, config};
use futures_util::{SinkExt, StreamExt};
use livekit_protocol as proto;
use prost::Message as _;
use proto::{signal_request, signal_response};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Much longer than anything takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(server: &TestServer, identity: &str) -> Self {
        let token = server.join_token(identity);
        Self::open(server, &format!("/rtc?access_token={token}&protocol=16&sdk=js")).await.unwrap()
    }

    async fn open(server: &TestServer, path: &str) -> Result<Self, Error> {
        let (socket, _) = connect_async(format!("ws://{}{path}", server.address)).await?;
        Ok(Self(socket))
    }

    async fn frame(&mut self) -> Option<Result<Message, Error>> {
        tokio::time::timeout(PATIENCE, self.0.next()).await.expect("the server says something")
    }

    async fn response(&mut self) -> signal_response::Message {
        match self.frame().await.unwrap().unwrap() {
            Message::Binary(payload) => proto::SignalResponse::decode(payload).unwrap().message.unwrap(),
            other => panic!("a protobuf frame was expected, not {other:?}"),
        }
    }

    /// The next response that `wanted` recognises.
    async fn wait_for<T>(&mut self, wanted: impl Fn(signal_response::Message) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.response().await) {
                return found;
            }
        }
    }

    async fn send(&mut self, message: signal_request::Message) {
        let request = proto::SignalRequest { message: Some(message) };
        self.0.send(Message::Binary(request.encode_to_vec().into())).await.unwrap();
    }

    /// The code of the close frame, or `None` when the connection broke without one.
    async fn close_code(&mut self) -> Option<CloseCode> {
        loop {
            match self.frame().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}

#[tokio::test]
async fn the_first_message_is_the_join_and_the_second_a_token_that_opens_the_room_again() {
    let server = TestServer::start().await;
    let mut client = Client::connect(&server, "ana").await;
    let signal_response::Message::Join(join) = client.response().await else { panic!("no join") };
    assert_eq!(join.participant.unwrap().identity, "ana");
    let token = client.wait_for(|message| match message {
        signal_response::Message::RefreshToken(token) => Some(token),
        _ => None,
    });
    let token = token.await;
    assert_eq!(server.get_as("/rtc/validate", &token).await.text(), "success");
}

#[tokio::test]
async fn a_join_request_is_read_from_the_query() {
    let server = TestServer::start().await;
    let token = server.join_token("ana");
    let mut client =
        Client::open(&server, &format!("/rtc/v1?access_token={token}&join_request=EgA%3D")).await.unwrap();
    assert!(matches!(client.response().await, signal_response::Message::Join(_)));
}

#[tokio::test]
async fn refusals_are_http_statuses_not_closed_websockets() {
    let server = TestServer::start().await;
    for (path, status) in [("/rtc", 401), ("/rtc/v1?access_token=x", 401)] {
        let Err(Error::Http(response)) = Client::open(&server, path).await else {
            panic!("{path} was upgraded")
        };
        assert_eq!(response.status().as_u16(), status);
    }
}

#[tokio::test]
async fn both_kinds_of_ping_are_answered() {
    let server = TestServer::start().await;
    let mut client = Client::connect(&server, "ana").await;
    client.send(signal_request::Message::Ping(1)).await;
    client.send(signal_request::Message::PingReq(proto::Ping { timestamp: 42, rtt: 0 })).await;
    let pong = client.wait_for(|message| match message {
        signal_response::Message::Pong(unix_ms) => Some(unix_ms),
        _ => None,
    });
    assert!(pong.await > 1_700_000_000_000, "milliseconds since 1970");
    let echoed = client.wait_for(|message| match message {
        signal_response::Message::PongResp(pong) => Some(pong.last_ping_timestamp),
        _ => None,
    });
    assert_eq!(echoed.await, 42);
}

#[tokio::test]
async fn json_is_answered_in_json() {
    let server = TestServer::start().await;
    let mut client = Client::connect(&server, "ana").await;
    client.0.send(Message::text(r#"{"pingReq":{"timestamp":"7"},"fromTheFuture":1}"#)).await.unwrap();
    loop {
        match client.frame().await.unwrap().unwrap() {
            Message::Text(text) if text.contains("pongResp") => {
                assert!(text.contains(r#""lastPingTimestamp":"7""#), "{text}");
                break;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn garbage_ends_the_session_in_order() {
    let server = TestServer::start().await;
    for garbage in [Message::binary(vec![0xff; 8]), Message::text("{")] {
        let mut client = Client::connect(&server, "ana").await;
        client.0.send(garbage).await.unwrap();
        assert_eq!(client.close_code().await, Some(CloseCode::Normal));
    }
}

#[tokio::test]
async fn a_message_over_the_limit_closes_with_1009() {
    let mut config = config();
    config.limits.signal_message_bytes = 1000;
    let server = TestServer::start_with(config).await;
    let mut client = Client::connect(&server, "ana").await;
    client.0.send(Message::binary(vec![0; 1001])).await.unwrap();
    assert_eq!(client.close_code().await, Some(CloseCode::Size));
}

#[tokio::test]
async fn a_leave_is_answered_with_an_orderly_close() {
    let server = TestServer::start().await;
    let mut client = Client::connect(&server, "ana").await;
    client.send(signal_request::Message::Leave(proto::LeaveRequest::default())).await;
    assert_eq!(client.close_code().await, Some(CloseCode::Normal));
}

#[tokio::test]
async fn the_room_learns_when_a_socket_dies() {
    let server = TestServer::start().await;
    let mut client = Client::connect(&server, "ana").await;
    client.response().await;
    let present =
        async || server.shards.with_room(&"r".into(), |room, _| room.participants().len()).await.unwrap_or(0);
    assert_eq!(present().await, 1);
    drop(client);
    let gone = async {
        while present().await > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("who never had media is gone with the socket");
}

#[tokio::test]
async fn shutdown_ends_every_connection() {
    let server = TestServer::start().await;
    let mut client = Client::connect(&server, "ana").await;
    client.response().await;
    let ended = tokio::time::timeout(PATIENCE, server.stop());
    let (ended, _) = tokio::join!(ended, client.close_code());
    ended.expect("the server stops");
}
