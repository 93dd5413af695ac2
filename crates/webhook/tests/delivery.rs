//! Webhooks over real HTTP, from a real store: what a receiver sees while it, or a node, fails.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use auth::{KeyStore, Secret};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use livekit_protocol::{ParticipantInfo, Room, WebhookEvent};
use store::{Clock, EmbeddedOptions, EmbeddedStore, Store, range_all};
use tokio::sync::mpsc;
use webhook::{Retry, WebhookConfig, Webhooks};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that answers with the status it is told to, and hands on what it was sent.
struct Receiver {
    url: String,
    status: Arc<AtomicU16>,
    requests: mpsc::Receiver<(HeaderMap, Bytes)>,
}

#[derive(Clone)]
struct Shared {
    status: Arc<AtomicU16>,
    requests: mpsc::Sender<(HeaderMap, Bytes)>,
}

impl Receiver {
    async fn start() -> Receiver {
        let (sender, requests) = mpsc::channel(10_000);
        let status = Arc::new(AtomicU16::new(200));
        let shared = Shared { status: Arc::clone(&status), requests: sender };
        let app = axum::Router::new().route("/hook", axum::routing::post(receive)).with_state(shared);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Receiver { url, status, requests }
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    async fn next(&mut self) -> (HeaderMap, Bytes) {
        tokio::time::timeout(PATIENCE, self.requests.recv())
            .await
            .expect("a webhook in time")
            .expect("a server")
    }

    /// The next events' identities, in the order they come.
    async fn told(&mut self, count: usize) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..count {
            told.push(event(&self.next().await.1).participant.expect("a participant").identity);
        }
        told
    }
}

async fn receive(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let status = StatusCode::from_u16(shared.status.load(Ordering::SeqCst)).expect("a status");
    shared.requests.send((headers, body)).await.expect("the test listens");
    status
}

fn event(body: &[u8]) -> WebhookEvent {
    serde_json::from_slice(body).expect("an event")
}

/// `participant_joined`, of a participant with that identity.
fn joined(room: &str, identity: &str) -> WebhookEvent {
    WebhookEvent {
        event: "participant_joined".into(),
        room: Some(Room { sid: format!("RM_{room}"), name: room.into(), ..Room::default() }),
        participant: Some(ParticipantInfo {
            sid: format!("PA_{room}_{identity}"),
            identity: identity.into(),
            ..ParticipantInfo::default()
        }),
        ..WebhookEvent::default()
    }
}

/// An embedded store in a directory of its own, whose leases end when the test says so.
struct Stand {
    dir: PathBuf,
    store: Arc<EmbeddedStore>,
    now: Arc<Mutex<Instant>>,
}

impl Stand {
    fn new() -> Stand {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("sala-webhook-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&dir).expect("a directory");
        let now = Arc::new(Mutex::new(Instant::now()));
        let clock = {
            let now = Arc::clone(&now);
            Clock::Manual(Arc::new(move || *now.lock().expect("no panic")))
        };
        let options = EmbeddedOptions { clock, ..EmbeddedOptions::default() };
        let store = EmbeddedStore::open(dir.join("store.redb"), options).expect("a store");
        Stand { dir, store: Arc::new(store), now }
    }

    fn start(&self, node: &str, urls: &[&str], retry: Retry) -> Webhooks {
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        let mut config =
            WebhookConfig::new(urls, "devkey", Secret::from("a secret of thirty-two bytes, or more"));
        config.retry = retry;
        Webhooks::start(config, Arc::clone(&self.store) as Arc<dyn Store>, node).expect("a configuration")
    }

    /// Waits until what was told is in the store: `count` events.
    async fn stored(&self, webhooks: &Webhooks, count: usize) {
        let end = Instant::now() + PATIENCE;
        while webhooks.stats().pending < count {
            assert!(Instant::now() < end, "{:?}", webhooks.stats());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What is in the outbox, claims left aside.
    async fn left(&self) -> usize {
        let entries = range_all(&*self.store, "/sala/v1/webhooks/").await.expect("the outbox").0;
        entries.iter().filter(|entry| !entry.key.ends_with("/claim")).count()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn quick() -> Retry {
    Retry {
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(50),
        ..Retry::default()
    }
}

#[tokio::test]
async fn a_receiver_can_check_who_sent_it_as_livekits_receivers_do() {
    let (stand, mut receiver) = (Stand::new(), Receiver::start().await);
    let webhooks = stand.start("a", &[&receiver.url], quick());
    webhooks.notify("x", joined("x", "ann"));
    let (headers, body) = receiver.next().await;
    assert_eq!(headers["content-type"], "application/webhook+json");
    let token = headers["authorization"].to_str().expect("text");
    println!("{token} {}", String::from_utf8_lossy(&body));
    let keys = KeyStore::new([("devkey".into(), Secret::from("a secret of thirty-two bytes, or more"))]);
    let verified = keys.expect("keys").verify(token, SystemTime::now()).expect("a bare token, well signed");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
    use base64::Engine;
    assert_eq!(verified.claims.sha256, base64::engine::general_purpose::STANDARD.encode(hash));
    assert!(verified.expires_at <= SystemTime::now() + Duration::from_secs(300));
    let event = event(&body);
    assert_eq!((event.event.as_str(), event.created_at > 0), ("participant_joined", true));
    webhooks.shutdown(PATIENCE).await;
    assert_eq!(stand.left().await, 0);
}

#[tokio::test]
async fn events_of_a_room_come_in_order_though_the_receiver_fails_in_between() {
    let (stand, mut receiver) = (Stand::new(), Receiver::start().await);
    receiver.answer(500);
    let webhooks = stand.start("a", &[&receiver.url], quick());
    let names: Vec<_> = (0..100).map(|i| format!("p{i}")).collect();
    for name in &names {
        webhooks.notify("x", joined("x", name));
    }
    assert_eq!(receiver.told(3).await, ["p0", "p0", "p0"], "the first is tried again, nothing overtakes it");
    receiver.answer(200);
    let mut told = receiver.told(100).await;
    told.dedup();
    while told.len() < 100 {
        told.extend(receiver.told(1).await);
        told.dedup();
    }
    assert_eq!(told, names);
    webhooks.shutdown(PATIENCE).await;
    assert_eq!(stand.left().await, 0);
}

#[tokio::test]
async fn a_dead_receiver_delays_nobody_else() {
    let (stand, mut receiver) = (Stand::new(), Receiver::start().await);
    let webhooks = stand.start("a", &["http://127.0.0.1:1/dead", &receiver.url], quick());
    for room in ["x", "y"] {
        for name in ["ann", "bob"] {
            webhooks.notify(room, joined(room, name));
        }
    }
    let mut told = receiver.told(4).await;
    told.sort();
    assert_eq!(told, ["ann", "ann", "bob", "bob"]);
    assert_eq!(webhooks.stats().given_up, 0);
    assert_eq!(stand.left().await, 4, "the dead receiver may come back");
}

#[tokio::test]
async fn an_event_that_nobody_accepts_is_given_up_and_the_next_is_tried() {
    let (stand, mut receiver) = (Stand::new(), Receiver::start().await);
    receiver.answer(400);
    let webhooks = stand.start("a", &[&receiver.url], Retry { give_up_after: Duration::ZERO, ..quick() });
    webhooks.notify("x", joined("x", "ann"));
    webhooks.notify("x", joined("x", "bob"));
    assert_eq!(receiver.told(2).await, ["ann", "bob"]);
    webhooks.shutdown(PATIENCE).await;
    assert_eq!(stand.left().await, 0);
}

#[tokio::test]
async fn what_a_dead_node_left_another_delivers_with_the_same_ids() {
    let (stand, mut receiver) = (Stand::new(), Receiver::start().await);
    receiver.answer(503);
    let dead = stand.start("a", &[&receiver.url], quick());
    for name in ["ann", "bob"] {
        dead.notify("x", joined("x", name));
    }
    let before = event(&receiver.next().await.1).id;
    stand.stored(&dead, 2).await;
    drop(dead);
    // Its lease ends; the events must not.
    *stand.now.lock().expect("no panic") += Duration::from_secs(6);
    stand.store.expire_leases().await.expect("a disk");

    let other = stand.start("b", &[&receiver.url], quick());
    // The room lives on at the other node, which tells again what it found, and more.
    for name in ["bob", "cec"] {
        other.notify("x", joined("x", name));
    }
    stand.stored(&other, 3).await;
    while receiver.requests.try_recv().is_ok() {}
    receiver.answer(200);
    let mut events = Vec::new();
    while events.len() < 3 {
        let event = event(&receiver.next().await.1);
        if events.last().is_none_or(|last: &WebhookEvent| last.id != event.id) {
            events.push(event);
        }
    }
    let names: Vec<_> =
        events.iter().map(|it| it.participant.clone().expect("a participant").identity).collect();
    assert_eq!(names, ["ann", "bob", "cec"]);
    assert_eq!(events[0].id, before);
    other.shutdown(PATIENCE).await;
    assert_eq!(stand.left().await, 0);
    assert!(receiver.requests.try_recv().is_err(), "bob is told once, though two nodes told it");
}

#[tokio::test]
async fn a_node_that_is_restarted_goes_on_without_waiting_for_its_old_lease() {
    let (stand, mut receiver) = (Stand::new(), Receiver::start().await);
    receiver.answer(503);
    let crashed = stand.start("a", &[&receiver.url], quick());
    crashed.notify("x", joined("x", "ann"));
    receiver.next().await;
    drop(crashed);
    receiver.answer(200);
    while receiver.requests.try_recv().is_ok() {}
    let again = stand.start("a", &[&receiver.url], quick());
    assert_eq!(receiver.told(1).await, ["ann"]);
    again.shutdown(PATIENCE).await;
    assert_eq!(stand.left().await, 0);
}

#[tokio::test]
async fn two_nodes_share_the_work_and_send_each_event_once() {
    let (stand, mut receiver) = (Stand::new(), Receiver::start().await);
    let nodes = [stand.start("a", &[&receiver.url], quick()), stand.start("b", &[&receiver.url], quick())];
    for i in 0..50 {
        nodes[i % 2].notify(&format!("room {}", i % 5), joined("x", &i.to_string()));
    }
    let mut told = receiver.told(50).await;
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 50);
    for node in nodes {
        node.shutdown(PATIENCE).await;
    }
    assert!(receiver.requests.try_recv().is_err(), "nothing was sent twice");
    assert_eq!(stand.left().await, 0);
}

#[tokio::test]
async fn a_flood_never_holds_up_a_room_and_says_what_was_lost() {
    let (stand, receiver) = (Stand::new(), Receiver::start().await);
    let webhooks = stand.start("a", &[&receiver.url], quick());
    // Nothing else runs on this thread meanwhile: the queue alone must take it.
    for i in 0..5000 {
        webhooks.notify("x", joined("x", &i.to_string()));
    }
    let lost = webhooks.stats().lost;
    assert!(lost > 0 && lost < 5000, "{lost}");
    webhooks.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_a_remedy() {
    let stand = Stand::new();
    for (url, key) in [("no url", "devkey"), ("ftp://host/", "devkey"), ("http://host/", "")] {
        let config = WebhookConfig::new(vec![url.to_owned()], key, Secret::from("secret"));
        let error =
            Webhooks::start(config, Arc::clone(&stand.store) as Arc<dyn Store>, "a").expect_err("an error");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}
