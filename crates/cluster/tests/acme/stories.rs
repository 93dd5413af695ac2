use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde_json::Value;
use store::{Event, Store};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::masters::{PATIENCE, World, acme};
use super::pebble::Pebble;
use super::stopping_store::{StopAt, StoppingStore};

const DAY: Duration = Duration::from_secs(86_400);

/// What Pebble's default profile issues for; its short-lived one a fifteenth.
const VALIDITY: u64 = 90 * 86_400;

/// Both masters stand behind names and an address of their own; either checks the other's challenges.
#[tokio::test(flavor = "multi_thread")]
async fn two_masters_get_one_certificate_for_names_and_addresses_and_renew_it() {
    let world = World::new();
    let pebble = Pebble::start(world.http_port, VALIDITY);
    let [first, second] = world.addresses;
    pebble.resolve("one.example", first);
    pebble.resolve("two.example", second);
    let (first_name, second_name) = (first.to_string(), second.to_string());
    let names = ["one.example", "two.example", &first_name, &second_name];
    let mut a = world.master(0, world.store.clone(), acme(&pebble, &names)).await;
    let mut b = world.master(1, world.store.clone(), acme(&pebble, &names)).await;

    let (_, self_signed) = world.self_signed().await;
    let issued = a.shows_another_than(&self_signed).await;
    assert_eq!(b.shows_another_than(&self_signed).await, issued, "both show the same");
    let root = pebble.root_pem().await;
    for name in names {
        assert_eq!(a.connect(&root, name).await.unwrap(), issued, "{name}");
        assert_eq!(b.connect(&root, name).await.unwrap(), issued, "{name}");
    }
    assert!(a.connect(&root, "three.example").await.is_err());
    assert_eq!(pebble.issued(), 1, "one master has asked");

    // Names that are addresses take the short-lived profile by themselves, where the server has one.
    let life = if pebble.suggests_renewal().await { 6 * DAY } else { 90 * DAY };
    world.pass(life.mul_f64(0.6));
    assert_eq!((a.shown(), pebble.issued()), (issued.clone(), 1), "not yet");
    world.pass(life.mul_f64(0.1));
    let renewed = b.shows_another_than(&issued).await;
    assert_eq!(a.shows_another_than(&issued).await, renewed);
    assert_eq!(b.connect(&root, "one.example").await.unwrap(), renewed);
    assert_eq!(pebble.issued(), 2);
    let left = world.settled().await;
    assert!(!left.iter().any(|key| key.contains("challenges") || key.contains("orders")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_server_wants_replaced_is_replaced_early() {
    let world = World::new();
    let pebble = Pebble::start(world.http_port, VALIDITY);
    if !pebble.suggests_renewal().await {
        eprintln!("this Pebble suggests no renewal windows (Debian 12's); nothing to test");
        return;
    }
    pebble.resolve("one.example", world.addresses[0]);
    let mut a = world.master(0, world.store.clone(), acme(&pebble, &["one.example"])).await;
    let (_, self_signed) = world.self_signed().await;
    let issued = a.shows_another_than(&self_signed).await;
    let pem = world.store.get("/sala/v1/acme/certificates/one.example").await.unwrap().unwrap();
    let record: Value = serde_json::from_slice(&pem.value).unwrap();
    pebble.suggest(record["chain"].as_str().unwrap(), "2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z").await;
    // It is asked again within a day.
    world.pass(DAY);
    a.shows_another_than(&issued).await;
    assert_eq!(pebble.issued(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_dies_in_the_middle_is_succeeded_and_no_certificate_is_lost() {
    let steps = [
        StopAt::After("/sala/v1/acme/issuer"),
        StopAt::After("/sala/v1/acme/account"),
        StopAt::After("/sala/v1/acme/orders/"),
        StopAt::After("/sala/v1/acme/challenges/"),
        // The server has issued, and the only one who knows is dead.
        StopAt::Before("/sala/v1/acme/certificates/"),
        StopAt::After("/sala/v1/acme/certificates/"),
    ];
    for step in steps {
        let world = World::new();
        let pebble = Pebble::start(world.http_port, VALIDITY);
        pebble.resolve("one.example", world.addresses[0]);
        let stopping = StoppingStore::new(world.store.clone(), step);
        let a = world.master(0, stopping.clone(), acme(&pebble, &["one.example"])).await;
        tokio::time::timeout(PATIENCE, stopping.stopped()).await.expect("it gets so far");
        let (_, self_signed) = world.self_signed().await;
        drop(a);
        pebble.resolve("one.example", world.addresses[1]);
        let mut b = world.master(1, world.store.clone(), acme(&pebble, &["one.example"])).await;
        world.end_leases().await;
        let issued = b.shows_another_than(&self_signed).await;
        let root = pebble.root_pem().await;
        assert_eq!(b.connect(&root, "one.example").await.unwrap(), issued, "{step:?}");
        assert_eq!(pebble.issued(), 1, "{step:?}: what was begun is continued");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_elsewhere_costs_a_clear_line_and_is_tried_again() {
    let world = World::new();
    let pebble = Pebble::start(world.http_port, VALIDITY);
    // Nobody listens there.
    pebble.resolve("one.example", IpAddr::V4(Ipv4Addr::new(127, 0, 0, 99)));
    let mut watch = world.store.watch("/sala/v1/acme/attempts/", 0).await.unwrap();
    let mut a = world.master(0, world.store.clone(), acme(&pebble, &["one.example"])).await;
    let batch = tokio::time::timeout(PATIENCE, watch.next()).await.expect("it fails in time").unwrap();
    let Event::Put(entry) = &batch.events[0] else { panic!("{batch:?}") };
    let attempts: Value = serde_json::from_slice(&entry.value).unwrap();
    let error = attempts["error"].as_str().unwrap();
    assert!(error.starts_with("one.example: ") && error.contains("(connection)"), "{error}");
    assert!(error.contains("port 80") && error.contains("resolve to the load balancer"), "{error}");
    assert!(error.contains("next attempt in 1 min") && error.contains("self-signed"), "{error}");
    let (root, self_signed) = world.self_signed().await;
    assert_eq!(a.connect(&root, "one.example").await.unwrap(), self_signed, "the service is up");

    pebble.resolve("one.example", world.addresses[0]);
    world.pass(Duration::from_secs(120));
    a.shows_another_than(&self_signed).await;
    assert!(world.store.get("/sala/v1/acme/attempts/one.example").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_own_certificate_is_not_trusted_is_named_with_the_remedy() {
    let world = World::new();
    let pebble = Pebble::start(world.http_port, VALIDITY);
    let other = Pebble::start(world.http_port, VALIDITY);
    let config =
        cluster::acme::AcmeConfig { ca_file: Some(other.ca_file()), ..acme(&pebble, &["one.example"]) };
    let mut watch = world.store.watch("/sala/v1/acme/attempts/", 0).await.unwrap();
    let _a = world.master(0, world.store.clone(), config).await;
    let batch = tokio::time::timeout(PATIENCE, watch.next()).await.expect("it fails in time").unwrap();
    let Event::Put(entry) = &batch.events[0] else { panic!("{batch:?}") };
    let attempts: Value = serde_json::from_slice(&entry.value).unwrap();
    let error = attempts["error"].as_str().unwrap();
    assert!(error.contains("gateway.acme.ca_file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_the_server_does_not_have_is_refused_with_those_that_it_has() {
    let world = World::new();
    let pebble = Pebble::start(world.http_port, VALIDITY);
    let config =
        cluster::acme::AcmeConfig { profile: Some("eternal".into()), ..acme(&pebble, &["one.example"]) };
    let mut watch = world.store.watch("/sala/v1/acme/attempts/", 0).await.unwrap();
    let _a = world.master(0, world.store.clone(), config).await;
    let batch = tokio::time::timeout(PATIENCE, watch.next()).await.expect("it fails in time").unwrap();
    let Event::Put(entry) = &batch.events[0] else { panic!("{batch:?}") };
    let attempts: Value = serde_json::from_slice(&entry.value).unwrap();
    let error = attempts["error"].as_str().unwrap();
    assert!(error.contains("no profile `eternal`") && error.contains("gateway.acme.profile"), "{error}");
}

/// A balancer that has no healthy master yet: it takes connections and hangs up.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_behind_a_balancer_that_does_not_know_it_yet_waits_with_its_order() {
    let world = World::new();
    let pebble = Pebble::start(world.http_port, VALIDITY);
    let [balanced, own] = world.addresses.map(|address| address.to_string());
    let mut attempts = world.store.watch("/sala/v1/acme/attempts/", 0).await.unwrap();
    let mut a =
        world.master_within(PATIENCE, 1, world.store.clone(), acme(&pebble, &[&own, &balanced])).await;
    let (_, self_signed) = world.self_signed().await;
    let balancer = TcpListener::bind((world.addresses[0], world.http_port)).await.unwrap();
    for _ in 0..2 {
        let (mut caller, _) = balancer.accept().await.unwrap();
        let mut request = [0; 12];
        caller.read_exact(&mut request).await.unwrap();
        assert_eq!(&request, b"GET /healthz", "nobody else comes by this way yet");
    }
    drop(balancer);
    let _b = world.master(0, world.store.clone(), acme(&pebble, &[&own, &balanced])).await;
    let issued = a.shows_another_than(&self_signed).await;
    let root = pebble.root_pem().await;
    assert_eq!(a.connect(&root, &balanced).await.unwrap(), issued);
    assert_eq!(pebble.issued(), 1);
    world.settled().await;
    let none = timeout(Duration::from_millis(1), attempts.next()).await;
    assert!(none.is_err(), "no order has failed: {none:?}");
}
