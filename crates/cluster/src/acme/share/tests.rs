use std::sync::atomic::{AtomicU64, Ordering};

use store::{EmbeddedOptions, EmbeddedStore};

use super::super::config::LETS_ENCRYPT;
use super::super::records::{CERTIFICATES, Wanted, certificate_key};
use super::*;

static STORES: AtomicU64 = AtomicU64::new(0);

/// A store that the test's masters share; its file goes with it.
struct World {
    store: Arc<EmbeddedStore>,
    path: std::path::PathBuf,
}

impl World {
    fn new() -> World {
        let number = STORES.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sala-share-{}-{number}.redb", std::process::id()));
        let store = Arc::new(EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap());
        World { store, path }
    }

    async fn master(&self, name: &str, names: &[&str]) -> Arc<CertificateShare> {
        self.master_with(name, names, None).await.unwrap()
    }

    async fn master_with(
        &self,
        name: &str,
        names: &[&str],
        acme: Option<AcmeConfig>,
    ) -> Result<Arc<CertificateShare>, BadAcme> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let config = ShareConfig {
            node_id: NodeId(name.into()),
            names,
            acme,
            reach: Reach::default(),
            clock: Clock::system(),
        };
        CertificateShare::open(self.store.clone(), config).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[tokio::test]
async fn who_accepts_one_masters_self_signed_certificate_has_accepted_all() {
    let world = World::new();
    let (a, b) = (world.master("m1", &["meet.example"]).await, world.master("m2", &["meet.example"]).await);
    assert_eq!(a.current().cert, b.current().cert);
    let restarted = world.master("m1", &["meet.example"]).await;
    assert_eq!(restarted.current().cert, b.current().cert);
}

#[tokio::test]
async fn a_certificate_in_the_store_is_shown_by_running_masters_and_nonsense_is_not() {
    let world = World::new();
    let acme = AcmeConfig {
        names: vec!["meet.example.org".into()],
        directory_url: LETS_ENCRYPT.into(),
        contact: None,
        ca_file: None,
        profile: None,
    };
    // Far from due: nobody asks the server.
    let mut record = self_signed::make(Clock::system().now_ms(), &acme.names, None, 0.5).unwrap();
    record.wanted = Wanted { names: acme.names.clone(), directory: LETS_ENCRYPT.into(), profile: None };
    let key = certificate_key("meet.example.org");
    assert!(key.starts_with(CERTIFICATES));
    world.store.commit(Txn::new().put(key.clone(), to_bytes(&record))).await.unwrap();

    let share = world.master_with("m1", &[], Some(acme)).await.unwrap();
    let shown = share.current();
    assert_eq!(shown.cert, certified(&record.chain, &record.key).unwrap().cert);
    let running = tokio::spawn(share.clone().run());
    let mut seen = 0;
    share.changed(&mut seen).await;

    let broken = CertificateRecord { chain: "no PEM".into(), ..record.clone() };
    world.store.commit(Txn::new().put(key.clone(), to_bytes(&broken))).await.unwrap();
    let other = self_signed::make(Clock::system().now_ms(), &record.wanted.names, None, 0.5).unwrap();
    let renewed = CertificateRecord { chain: other.chain, key: other.key, ..record };
    world.store.commit(Txn::new().put(key, to_bytes(&renewed))).await.unwrap();
    share.changed(&mut seen).await;
    assert_eq!(share.current().cert, certified(&renewed.chain, &renewed.key).unwrap().cert);
    running.abort();
}

#[tokio::test]
async fn a_challenge_is_found_even_before_the_watch_has_it_and_guesses_are_not_looked_for() {
    let world = World::new();
    let acme = AcmeConfig {
        names: vec!["meet.example.org".into()],
        directory_url: LETS_ENCRYPT.into(),
        contact: None,
        ca_file: None,
        profile: None,
    };
    let share = world.master_with("m1", &[], Some(acme)).await.unwrap();
    let token = "tokentokentokentokentoken_-0";
    world.store.commit(Txn::new().put(challenge_key(token), "answer")).await.unwrap();
    assert_eq!(
        share.answer(token).await.as_deref(),
        Some("answer"),
        "it does not run: the watch has nothing"
    );
    world.store.commit(Txn::new().put(challenge_key("short"), "answer")).await.unwrap();
    for bad in ["", "short", "../../account/aaaaaaaaaaaaaaaaaa", &"x".repeat(129)] {
        assert_eq!(share.answer(bad).await, None, "{bad}");
    }
}

#[tokio::test]
async fn a_bad_configuration_is_refused_before_anything_is_served() {
    let world = World::new();
    let acme = AcmeConfig {
        names: vec!["*.example.org".into()],
        directory_url: LETS_ENCRYPT.into(),
        contact: None,
        ca_file: None,
        profile: None,
    };
    let error = world.master_with("m1", &[], Some(acme)).await.err().unwrap().to_string();
    assert!(error.contains("wildcard"), "{error}");
}
