//! The meeting page's API.

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Reply, TestServer, config};
use serde_json::{Value, json};

fn basic(login: &str) -> String {
    format!("Basic {}", STANDARD.encode(login))
}

async fn create(server: &TestServer, login: &str, request: &str) -> Reply {
    let authorization = basic(login);
    server.send("POST", "/api/v1/meetings", &[("Authorization", &authorization)], request.as_bytes()).await
}

async fn join(server: &TestServer, request: &Value) -> Reply {
    server.send("POST", "/api/v1/meetings/join", &[], request.to_string().as_bytes()).await
}

fn error_code(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["error"]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn whoever_has_the_link_of_a_meeting_gets_a_token_for_it() {
    let server = TestServer::start().await;
    let created = create(&server, "admin:pass:word", r#"{"room":"team sync"}"#).await;
    assert_eq!(created.status, 201);
    let created = created.json();
    assert_eq!(created["room"], "team sync");
    let (path, invite) = created["path"].as_str().unwrap().split_once('#').unwrap();
    assert_eq!(path, "/m/team%20sync");

    let request = json!({"room": "team sync", "invite": invite, "name": " Ana "});
    let joined = join(&server, &request).await;
    assert_eq!(joined.status, 200);
    let joined = joined.json();
    let token = joined["token"].as_str().unwrap();
    assert_eq!(server.get_as("/rtc/validate", token).await.text(), "success");
    let claims = server.keys.verify(token, std::time::SystemTime::now()).unwrap().claims;
    assert_eq!(
        (claims.name.as_str(), claims.identity.as_str()),
        ("Ana", joined["identity"].as_str().unwrap())
    );
    let again = join(&server, &request).await.json();
    assert_ne!(again["identity"], joined["identity"], "two people may have one name");
}

#[tokio::test]
async fn a_meeting_without_a_name_gets_one() {
    let server = TestServer::start().await;
    for request in ["", "{}", r#"{"room":" "}"#] {
        let created = create(&server, "admin:pass:word", request).await.json();
        assert!(created["room"].as_str().unwrap().split('-').count() == 3, "{created}");
    }
}

#[tokio::test]
async fn wrong_logins_and_links_are_refused() {
    let server = TestServer::start().await;
    let wrong = |status, code: &str| (status, code.to_owned());
    assert_eq!(error_code(&create(&server, "admin:guess", "{}").await), wrong(401, "wrong_login"));
    assert_eq!(error_code(&create(&server, "root:pass:word", "{}").await), wrong(401, "wrong_login"));
    let no_login = server.send("POST", "/api/v1/meetings", &[], b"{}").await;
    assert_eq!(error_code(&no_login), wrong(401, "wrong_login"));
    let guess = json!({"room": "r", "invite": "AAAAAAAAAAAAAAAAAAAAAA", "name": "Eve"});
    assert_eq!(error_code(&join(&server, &guess).await), wrong(403, "wrong_invite"));
    let other = create(&server, "admin:pass:word", r#"{"room":"a"}"#).await.json();
    let (_, invite) = other["path"].as_str().unwrap().split_once('#').unwrap();
    let stolen = json!({"room": "b", "invite": invite, "name": "Eve"});
    assert_eq!(error_code(&join(&server, &stolen).await), wrong(403, "wrong_invite"));
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_with_a_remedy() {
    let server = TestServer::start().await;
    let bad = (400, "bad_request".to_owned());
    assert_eq!(error_code(&create(&server, "admin:pass:word", "{").await), bad);
    let long = json!({"room": "r".repeat(65)}).to_string();
    assert_eq!(error_code(&create(&server, "admin:pass:word", &long).await), bad);
    let created = create(&server, "admin:pass:word", r#"{"room":"r"}"#).await.json();
    let (_, invite) = created["path"].as_str().unwrap().split_once('#').unwrap();
    for name in ["", " ", &"n".repeat(65), "a\nb"] {
        let reply = join(&server, &json!({"room": "r", "invite": invite, "name": name})).await;
        assert_eq!(error_code(&reply), bad, "{name:?}");
    }
    assert_eq!(error_code(&server.get("/api/v1/meetings").await), (405, "method_not_allowed".into()));
    assert_eq!(error_code(&server.get("/api/v1/meetings/nope").await), (404, "not_found".into()));
}

#[tokio::test]
async fn a_guesser_of_the_password_has_to_wait() {
    let server = TestServer::start().await;
    for _ in 0..10 {
        assert_eq!(create(&server, "admin:guess", "{}").await.status, 401);
    }
    assert_eq!(
        error_code(&create(&server, "admin:pass:word", "{}").await),
        (429, "too_many_attempts".into())
    );
}

#[tokio::test]
async fn without_a_password_there_are_no_meetings() {
    let mut config = config();
    config.admin = None;
    let server = TestServer::start_with(config).await;
    assert_eq!(error_code(&create(&server, "admin:", "{}").await), (404, "meetings_disabled".into()));
}
