//! The socket as Oracle's service uses it, spoken to byte by byte.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::scaling::wire::Decision;
use crate::to_rfc3339;

/// A directory of this test.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let path = std::env::temp_dir().join(format!("sala-fn-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Home(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("lsnr.sock")
    }

    fn listener(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    fn serve(&self) -> tokio::task::JoinHandle<Infallible> {
        let server = FnServer::bind("http-stream", &self.listener()).unwrap();
        tokio::spawn(server.serve(answer))
    }

    /// Sends bytes and reads until the server hangs up, or one answer is complete.
    async fn talk(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).await.unwrap();
        stream.write_all(request).await.unwrap();
        read_one(&mut stream).await
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Says back how long the body was and who called.
async fn answer(call: Call) -> Answer {
    let subject = call.headers.get("oci-subject-id").and_then(|id| id.to_str().ok()).unwrap_or("nobody");
    if call.body == "never" {
        std::future::pending::<()>().await;
    }
    Answer::kept(format!("{} bytes from {subject}", call.body.len()))
}

async fn read_one(stream: &mut UnixStream) -> String {
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase().lines().find_map(|line| {
                line.strip_prefix("content-length:").and_then(|value| value.trim().parse::<usize>().ok())
            });
            if length.is_some_and(|length| body.len() >= length) {
                return text;
            }
        }
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return text,
            Ok(count) => all.extend_from_slice(&part[..count]),
        }
    }
}

fn call(headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /call HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nFn-Call-Id: 01F5\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn body(response: &str) -> Answer {
    let (_, body) = response.split_once("\r\n\r\n").expect("a response");
    serde_json::from_str(body).expect("JSON")
}

#[tokio::test]
async fn the_socket_appears_ready_open_to_all_and_as_a_relative_link() {
    let home = Home::new("appears");
    std::fs::write(home.socket(), "left by a container before").unwrap();
    let server = FnServer::bind("http-stream", &home.listener()).unwrap();
    let target = std::fs::read_link(home.socket()).unwrap();
    assert!(target.is_relative() && target.components().count() == 1, "{target:?}");
    let mode = std::fs::metadata(home.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    // Whoever sees the name can connect.
    UnixStream::connect(home.socket()).await.unwrap();
    drop(server);
    assert_eq!(std::fs::read_dir(&home.0).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test]
async fn calls_on_one_connection_are_answered_in_order() {
    let home = Home::new("calls");
    let _serving = home.serve();
    let mut stream = UnixStream::connect(home.socket()).await.unwrap();
    for length in [0, 3, 200_000] {
        let request =
            call("Oci-Subject-Type: instance\r\nOci-Subject-Id: ocid1.instance.a\r\n", &"x".repeat(length));
        stream.write_all(&request).await.unwrap();
        let response = read_one(&mut stream).await;
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        assert!(response.contains("content-type: application/json"));
        assert_eq!(body(&response).reason, format!("{length} bytes from ocid1.instance.a"));
    }
}

#[tokio::test]
async fn chunked_bodies_as_the_service_sends_them_are_read() {
    let home = Home::new("chunked");
    let _serving = home.serve();
    let request = "POST /call HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nUser-Agent: Go-http-client/1.1\r\n\r\n\
                   3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    assert_eq!(body(&home.talk(request.as_bytes()).await).reason, "7 bytes from nobody");
}

#[tokio::test]
async fn an_oversized_body_is_refused_with_its_limit() {
    let home = Home::new("oversized");
    let _serving = home.serve();
    let response = home.talk(&call("", &"x".repeat(MAX_REQUEST_BYTES + 1))).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    let answer = body(&response);
    assert_eq!(answer.decision, Decision::Refused);
    assert!(answer.reason.contains("262144 bytes"), "{}", answer.reason);
    // Exactly the limit is fine.
    let response = home.talk(&call("", &"x".repeat(MAX_REQUEST_BYTES))).await;
    assert_eq!(body(&response).decision, Decision::Kept);
}

#[tokio::test]
async fn what_is_no_call_is_turned_away_and_the_next_one_is_served() {
    let home = Home::new("nonsense");
    let _serving = home.serve();
    assert!(home.talk(b"GET /call HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 404"));
    assert!(
        home.talk(b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 404")
    );
    assert!(home.talk(b"\x16\x03\x01\x02\x00hello").await.starts_with("HTTP/1.1 400"));
    let mut broken = UnixStream::connect(home.socket()).await.unwrap();
    broken.write_all(b"POST /call HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf").await.unwrap();
    drop(broken);
    assert_eq!(body(&home.talk(&call("", "ok")).await).reason, "2 bytes from nobody");
}

#[tokio::test]
async fn a_call_is_answered_before_the_service_gives_up() {
    let home = Home::new("deadline");
    let _serving = home.serve();
    // Nothing is left of it but the time to answer.
    let deadline = to_rfc3339(SystemTime::now() + SPARE);
    let response = home.talk(&call(&format!("Fn-Deadline: {deadline}\r\n"), "never")).await;
    assert!(body(&response).reason.contains("no decision"), "{response}");
}

#[test]
fn the_deadline_leaves_time_to_answer() {
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let with = |deadline: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("fn-deadline", HeaderValue::from_str(deadline).unwrap());
        time_left(&headers, now)
    };
    assert_eq!(time_left(&HeaderMap::new(), now), DEFAULT_DEADLINE - SPARE);
    assert_eq!(with(&to_rfc3339(now + Duration::from_secs(120))), Duration::from_secs(119));
    assert_eq!(with(&to_rfc3339(now - Duration::from_secs(1))), Duration::ZERO);
    assert_eq!(with(&to_rfc3339(now + Duration::from_secs(9_999))), MAX_DEADLINE - SPARE);
    assert_eq!(with("soon"), DEFAULT_DEADLINE - SPARE);
}

#[test]
fn a_wrong_environment_is_explained() {
    for (format, listener, part) in [
        ("json", "unix:/tmp/x/y", "FN_FORMAT"),
        ("", "unix:/tmp/x/y", "FN_FORMAT"),
        ("http-stream", "", "FN_LISTENER"),
        ("http-stream", "tcp://127.0.0.1:1", "FN_LISTENER"),
        ("http-stream", "unix:relative.sock", "FN_LISTENER"),
        ("http-stream", "unix:/", "FN_LISTENER"),
        ("http-stream", "unix:/nowhere/at/all.sock", "cannot make the socket"),
    ] {
        let error = tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(async { FnServer::bind(format, listener).unwrap_err().to_string() });
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn more_connections_than_there_may_be_wait_their_turn() {
    static SERVED: AtomicUsize = AtomicUsize::new(0);
    let home = Home::new("many");
    let server = FnServer::bind("http-stream", &home.listener()).unwrap();
    let _serving = tokio::spawn(server.serve(|_| async {
        SERVED.fetch_add(1, Ordering::SeqCst);
        Answer::kept("done")
    }));
    let home = Arc::new(home);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..3 * MAX_CONNECTIONS {
        let home = home.clone();
        clients.spawn(async move { home.talk(&call("Connection: close\r\n", "x")).await });
    }
    while let Some(response) = clients.join_next().await {
        assert_eq!(body(&response.unwrap()).reason, "done");
    }
    assert_eq!(SERVED.load(Ordering::SeqCst), 3 * MAX_CONNECTIONS);
}
