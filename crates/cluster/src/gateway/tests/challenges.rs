use std::path::PathBuf;
use std::sync::Arc;

use store::{EmbeddedOptions, EmbeddedStore, Store, Txn};

use super::support::{World, json_in};
use crate::NodeId;
use crate::acme::{AcmeConfig, CertificateShare, Clock, LETS_ENCRYPT, Reach, ShareConfig};
use crate::gateway::Certificate;

const TOKEN: &str = "an-unguessable_token-of-43-characters-0000";

/// A gateway that redirects to https, whose certificate is in this store. It asks nobody for one: for the store says
/// that the last attempt was just now.
async fn world(name: &str) -> (World, Arc<EmbeddedStore>, PathBuf) {
    let path = std::env::temp_dir().join(format!("sala-challenges-{name}-{}.redb", std::process::id()));
    let store = Arc::new(EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap());
    let attempts = serde_json::json!({
        "names": ["meet.example.org"], "directory": LETS_ENCRYPT, "failures": 1, "last_at_ms": i64::MAX,
        "next_at_ms": i64::MAX, "error": "", "node": "m1",
    });
    let key = "/sala/v1/acme/attempts/meet.example.org";
    store.commit(Txn::new().put(key, attempts.to_string())).await.unwrap();
    let acme = AcmeConfig {
        names: vec!["meet.example.org".into()],
        directory_url: LETS_ENCRYPT.into(),
        contact: None,
        ca_file: None,
        profile: None,
    };
    let config = ShareConfig {
        node_id: NodeId("m1".into()),
        names: vec![],
        acme: Some(acme),
        reach: Reach::default(),
        clock: Clock::system(),
    };
    let share = CertificateShare::open(store.clone(), config).await.unwrap();
    let world = World::start_with(|config| {
        config.redirect_to_https = true;
        config.certificate = Some(Certificate::Shared(share));
    });
    (world.await, store, path)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: meet.example.org\r\nconnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_challenge_is_answered_on_the_plain_port_whichever_master_put_it_there() {
    let (world, store, path) = world("answered").await;
    let put = Txn::new().put(format!("/sala/v1/acme/challenges/{TOKEN}"), format!("{TOKEN}.thumb"));
    store.commit(put).await.unwrap();
    let challenge = format!("/.well-known/acme-challenge/{TOKEN}");
    let (status, _, body) = world.http(&get(&challenge)).await;
    assert_eq!((status, body), (200, format!("{TOKEN}.thumb")));
    let head = get(&challenge).replacen("GET", "HEAD", 1);
    assert_eq!(world.http(&head).await.0, 200);

    let unknown = challenge.replace('0', "1");
    assert_eq!(world.http(&get(&unknown)).await.0, 404);
    let nonsense = get("/.well-known/acme-challenge/../../account");
    assert_eq!(world.http(&nonsense).await.0, 404);
    let post = get(&challenge).replacen("GET", "POST", 1);
    assert_eq!(world.http(&post).await.0, 308, "everything else is redirected");
    assert_eq!(world.http(&get("/m/room")).await.0, 308);
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_gateway_without_acme_leaves_such_paths_to_the_nodes() {
    let world = World::start().await;
    let (status, _, body) = world.http(&get(&format!("/.well-known/acme-challenge/{TOKEN}"))).await;
    assert_eq!((status, json_in(&body)["node"].as_str()), (200, Some("a")));
}
