//! The suite on etcd: one member in the clear, three with TLS on both sides and a user.

use std::sync::Arc;
use std::time::Duration;

use store::{Error, EtcdStore, Store, Txn};

use crate::suite::{self, Stand};
use crate::support::members::{Members, credentials};

struct Real {
    members: Members,
    store: Arc<EtcdStore>,
}

impl Real {
    fn new(members: Members) -> Real {
        let store = members.store();
        Real { members, store }
    }
}

impl Stand for Real {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as _
    }

    async fn pass(&self, duration: Duration) {
        // There is no other clock in etcd.
        tokio::time::sleep(duration).await;
    }

    async fn compact(&self, revision: u64) {
        self.members.etcdctl(&["compact", &revision.to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conformance_of_one_member() {
    suite::all(&Real::new(Members::start(1))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conformance_of_three_members_with_tls_and_a_user() {
    suite::all(&Real::new(Members::start_secured(3))).await;
}

#[tokio::test]
async fn strangers_are_refused() {
    let members = Members::start_secured(1);
    assert_eq!(members.store().get("/a").await, Ok(None));

    let mut wrong_password = members.config();
    wrong_password.credentials.as_mut().expect("a user").password = "guess".into();
    let mut nobody = members.config();
    nobody.credentials = None;
    for config in [wrong_password, nobody] {
        let store = EtcdStore::new(config).expect("a configuration");
        let refused = store.commit(Txn::new().put("/a", "1")).await;
        assert!(matches!(refused, Err(Error::Denied { .. })), "{refused:?}");
    }

    let mut no_certificate = members.config();
    no_certificate.client_certificate_pem = None;
    no_certificate.deadline = Duration::from_millis(500);
    let refused = EtcdStore::new(no_certificate).expect("a configuration").get("/a").await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
}

#[tokio::test]
async fn who_comes_before_the_users_are_made_waits_for_them() {
    let mut members = Members::start_with(1, true, None);
    let mut config = members.config();
    config.credentials = Some(credentials());
    config.deadline = Duration::from_millis(500);
    let store = EtcdStore::new(config).expect("a configuration");
    let early = store.commit(Txn::new().put("/a", "1")).await;
    let Err(Error::Unavailable { reason }) = &early else { panic!("{early:?}") };
    assert!(reason.contains("it has no users yet"), "{reason}");
    members.make_users();
    // The member may be busy with hashing for a moment.
    while let Err(error) = store.commit(Txn::new().put("/a", "1")).await {
        assert!(error.is_transient(), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_is_exchanged_while_calls_and_watches_go_on() {
    let members = Members::start_secured(1);
    let mut config = members.config();
    let (certificate, key) = config.client_certificate_pem.take().expect("a certificate");
    let store = EtcdStore::new(config).expect("a configuration");
    assert!(store.get("/a").await.is_err(), "no certificate, no connection");
    store.set_client_certificate(certificate.clone(), key.clone()).expect("a certificate");
    let mut watch = store.watch("/a", 0).await.expect("a watch");
    store.set_client_certificate(certificate, key).expect("a certificate");
    assert!(matches!(store.set_client_certificate(vec![1], vec![2]), Err(Error::Config { .. })));
    store.commit(Txn::new().put("/a", "1")).await.expect("a commit");
    assert_eq!(crate::support::next(&mut watch).await.events.len(), 1);
}

#[tokio::test]
async fn a_wrong_configuration_says_what_is_wrong() {
    let config = |endpoint: &str| store::EtcdConfig::new(vec![endpoint.to_owned()]);
    let mut bad_pem = config("https://127.0.0.1:1");
    bad_pem.client_certificate_pem = Some((b"no certificate".to_vec(), b"no key".to_vec()));
    for config in [config("not a url"), store::EtcdConfig::new(Vec::new()), bad_pem] {
        let error = EtcdStore::new(config).expect_err("no store");
        assert!(matches!(error, Error::Config { .. }), "{error}");
    }
    let mut nobody_there = config("http://127.0.0.1:1");
    nobody_there.deadline = Duration::from_millis(300);
    let error = EtcdStore::new(nobody_there).expect("a configuration").get("/a").await.expect_err("no etcd");
    assert!(error.to_string().contains("refused"), "{error}");
}
