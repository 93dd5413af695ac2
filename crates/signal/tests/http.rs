//! What clients and browsers see of plain HTTP: statuses, bodies and headers as LiveKit's server sends them.

mod common;

use auth::{Claims, VideoGrant};
use common::{TestServer, config, join_grant};

const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");

#[tokio::test]
async fn a_probe_gets_ok_and_a_browser_the_page() {
    let server = TestServer::start().await;
    for method in ["GET", "POST", "OPTIONS"] {
        let probe = server.send(method, "/", &[], b"").await;
        assert_eq!((probe.status, probe.text()), (200, "OK"));
        assert_eq!(probe.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    assert_eq!(server.send("HEAD", "/", &[], b"").await.status, 200);
    for path in ["/", "/m/calm-otter-12"] {
        let page = server.send("GET", path, &[BROWSER], b"").await;
        assert_eq!((page.status, page.text()), (200, "<html>the page</html>"));
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(page.header("cache-control"), Some("no-cache"));
    }
}

#[tokio::test]
async fn assets_are_cached_for_ever_and_compressed_for_those_who_can() {
    let server = TestServer::start().await;
    let plain = server.get("/assets/app-1a2b.js").await;
    assert_eq!((plain.status, plain.body.len()), (200, 4096));
    assert_eq!(plain.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(plain.header("content-type"), Some("text/javascript; charset=utf-8"));
    let zipped = server.send("GET", "/assets/app-1a2b.js", &[("Accept-Encoding", "br, gzip")], b"").await;
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert!(zipped.body.len() < 100);
    let refused = server.send("GET", "/assets/app-1a2b.js", &[("Accept-Encoding", "gzip;q=0")], b"").await;
    assert_eq!(refused.header("content-encoding"), None);
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let server = TestServer::start().await;
    for path in [
        "/nope",
        "/assets/nope.js",
        "/m/",
        "/assets/../index.html",
        "/settings/regions",
        "/twirp/livekit.Foo/Bar",
    ] {
        let reply = server.get(path).await;
        assert_eq!((reply.status, reply.text()), (404, "404 page not found\n"), "{path}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn cors_reflects_any_origin_even_on_refusals() {
    let server = TestServer::start().await;
    let origin = ("Origin", "http://app.example");
    let refused = server.send("GET", "/", &[origin, ("Authorization", "bearer x")], b"").await;
    assert_eq!(
        (refused.status, refused.text()),
        (401, "invalid authorization header. Must start with Bearer ")
    );
    assert_eq!(refused.header("access-control-allow-origin"), Some("http://app.example"));
    assert_eq!(refused.header("access-control-expose-headers"), Some("*"));
    assert_eq!(refused.header("vary"), Some("Origin"));
    let validate = server.send("GET", "/rtc/validate", &[origin, ("Authorization", "bearer x")], b"").await;
    assert_eq!(validate.header("access-control-allow-origin"), Some("*"));
    assert_eq!(server.send("PUT", "/", &[origin], b"").await.header("access-control-allow-origin"), None);
    assert_eq!(server.get("/").await.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn preflights_are_answered_before_anything_is_checked() {
    let server = TestServer::start().await;
    let preflight = |method: &'static str| {
        let headers = [
            ("Origin", "http://app.example"),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", "authorization,content-type"),
            ("Authorization", "nonsense"),
        ];
        let server = &server;
        async move { server.send("OPTIONS", "/twirp/livekit.RoomService/ListRooms", &headers, b"").await }
    };
    let allowed = preflight("POST").await;
    assert_eq!((allowed.status, allowed.text()), (204, ""));
    assert_eq!(allowed.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(allowed.header("access-control-allow-headers"), Some("authorization,content-type"));
    assert_eq!(allowed.header("access-control-max-age"), Some("86400"));
    assert_eq!(
        allowed.header("vary"),
        Some("Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
    );
    let refused = preflight("PUT").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (204, None));
}

#[tokio::test]
async fn bad_tokens_are_refused_with_livekits_texts() {
    let server = TestServer::start().await;
    let refusal = async |token: &str| {
        let reply = server.get_as("/rtc/validate", token).await;
        assert_eq!(reply.status, 401);
        reply.text().to_owned()
    };
    assert_eq!(refusal("garbage").await, "invalid authorization token");
    let foreign = auth::KeyStore::new([("ghost".to_owned(), "x".into())]).unwrap();
    let expired = std::time::SystemTime::UNIX_EPOCH;
    let hour = std::time::Duration::from_secs(3600);
    assert_eq!(refusal(&foreign.mint(&Claims::default(), expired, hour)).await, "invalid API key");
    assert_eq!(
        refusal(&server.keys.mint(&Claims::default(), expired, hour)).await,
        "invalid authorization token: token has invalid claims: token is expired"
    );
    let thief = auth::KeyStore::new([("devkey".to_owned(), "guess".into())]).unwrap();
    assert_eq!(
        refusal(&thief.mint(&Claims::default(), std::time::SystemTime::now(), hour)).await,
        "invalid authorization token: token signature is invalid: signature is invalid"
    );
}

#[tokio::test]
async fn validation_refuses_in_livekits_order_and_words() {
    let server = TestServer::start().await;
    let grant = |change: fn(&mut VideoGrant)| {
        let mut grant = join_grant();
        change(&mut grant);
        grant
    };
    let check = async |path: &str, token: &str, status: u16, text: &str| {
        let reply = server.get_as(path, token).await;
        assert_eq!((reply.status, reply.text()), (status, text), "{path}");
    };
    let ana = server.join_token("ana");
    let no_video = server.sign(&Claims { identity: "ana".into(), ..Claims::default() });

    let anonymous = server.get("/rtc/validate").await;
    assert_eq!((anonymous.status, anonymous.text()), (401, "no permissions to access the room"));
    check("/rtc/validate", &no_video, 401, "no permissions to access the room").await;
    let no_join = server.token("ana", grant(|g| g.room_join = false));
    check("/rtc/validate", &no_join, 401, "permissions denied").await;
    check("/rtc/validate", &server.join_token(""), 400, "identity cannot be empty").await;
    let long = server.join_token(&"a".repeat(257));
    check("/rtc/validate", &long, 400, "participant identity length exceeds limits: max length 256").await;
    let no_room = server.token("ana", grant(|g| g.room.clear()));
    check("/rtc/validate?room=x", &no_room, 400, "no room name").await;
    let long_room = server.token("ana", grant(|g| g.room = "r".repeat(257)));
    check("/rtc/validate", &long_room, 400, "room name length exceeds limits: max length 256").await;
    check("/rtc/validate?attributes=***", &ana, 400, "cannot decode attributes").await;
    let attributes = "/rtc/validate?attributes=eyJhIjoiYiJ9";
    check(attributes, &ana, 401, "no permissions to access the room").await;
    let renamer = server.token("ana", grant(|g| g.can_update_own_metadata = Some(true)));
    check(attributes, &renamer, 200, "success").await;
    let mute = server.token("ana", grant(|g| g.can_publish = Some(false)));
    check("/rtc/validate?publish=x", &mute, 401, "no permissions to access the room").await;
    check("/rtc/v1/validate", &ana, 400, "join_request is required").await;
    check("/rtc/v1/validate?join_request=***", &ana, 400, "cannot base64 decode wrapped join request").await;
    check("/rtc/v1/validate?join_request=EgT_____", &ana, 400, "cannot unmarshal join request").await;
    check("/rtc/v1/validate?join_request=EgA=", &ana, 200, "success").await;
    check("/rtc/validate", &ana, 200, "success").await;
    check("//rtc/validate", &ana, 200, "success").await;
    let in_query = server.get(&format!("/rtc/validate?access_token={ana}")).await;
    assert_eq!((in_query.status, in_query.text()), (200, "success"));
}

#[tokio::test]
async fn without_auto_create_the_room_must_exist() {
    let mut config = config();
    config.room.auto_create = false;
    let server = TestServer::start_with(config).await;
    let ana = server.join_token("ana");
    let missing = server.get_as("/rtc/validate", &ana).await;
    assert_eq!((missing.status, missing.text()), (404, "requested room does not exist"));
    let creator = server.token("ana", VideoGrant { room_create: true, ..join_grant() });
    assert_eq!(server.get_as("/rtc/validate", &creator).await.status, 200);
    server.shards.create_room(&"r".into(), Default::default()).await.unwrap();
    assert_eq!(server.get_as("/rtc/validate", &ana).await.status, 200);
}

#[tokio::test]
async fn what_is_no_websocket_is_not_found_on_rtc() {
    let server = TestServer::start().await;
    for path in ["/rtc", "/rtc/v1"] {
        let reply = server.get_as(path, &server.join_token("ana")).await;
        assert_eq!((reply.status, reply.text()), (404, ""));
    }
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_not_read() {
    let server = TestServer::start().await;
    let headers =
        [("Content-Length", "10485761"), ("Content-Type", "application/json"), ("Origin", "http://x")];
    let reply = server.send("POST", "/twirp/livekit.RoomService/CreateRoom", &headers, b"").await;
    assert_eq!((reply.status, reply.text()), (413, "request body too large"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("http://x"));
}

#[tokio::test]
async fn a_body_that_does_not_say_its_size_is_cut_off() {
    let mut config = config();
    config.limits.api_request_body_bytes = 1000;
    let server = TestServer::start_with(config).await;
    let chunk = format!("7d0\r\n{}\r\n0\r\n\r\n", " ".repeat(2000));
    let headers =
        [("Transfer-Encoding", "chunked"), ("Content-Type", "application/json"), ("Content-Length", "")];
    let headers = &headers[..2];
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let head = "POST /twirp/livekit.RoomService/ListRooms HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let fields: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    stream.write_all(format!("{head}{fields}\r\n{chunk}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}
