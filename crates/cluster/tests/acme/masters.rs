//! Masters on addresses of their own, with one store: real gateways, without rooms behind them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use auth::KeyStore;
use cluster::acme::{AcmeConfig, CertificateShare, Clock, Reach, ShareConfig};
use cluster::gateway::{Certificate, Director, Gateway, GatewayConfig, Limits, MediaNode, Route, RouteError};
use cluster::link::InternalClient;
use cluster::security::{Ca, NodeTls};
use cluster::{Death, NodeId};
use futures_util::future::BoxFuture;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use store::{EmbeddedOptions, EmbeddedStore, Store};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pebble::Pebble;

/// What a busy machine may take for a certificate.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

static WORLDS: AtomicU32 = AtomicU32::new(0);

/// The masters' store, addresses and clock.
pub(crate) struct World {
    pub(crate) store: Arc<EmbeddedStore>,
    /// Leases end by this clock.
    store_clock: Arc<Mutex<Instant>>,
    /// Certificates age by this one: how far it is ahead.
    ahead: watch::Sender<Duration>,
    pub(crate) addresses: [IpAddr; 2],
    /// Plain HTTP, the same at both addresses.
    pub(crate) http_port: u16,
    path: PathBuf,
    held: Mutex<Vec<std::net::TcpListener>>,
}

impl World {
    pub(crate) fn new() -> World {
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sala-acme-{}-{number}.redb", std::process::id()));
        let store_clock = Arc::new(Mutex::new(Instant::now()));
        let read = store_clock.clone();
        let clock = store::Clock::Manual(Arc::new(move || *read.lock().unwrap()));
        let options = EmbeddedOptions { clock, ..EmbeddedOptions::default() };
        let store = Arc::new(EmbeddedStore::open(&path, options).unwrap());
        // Loopback has room: addresses of this process and world alone.
        let [high, low] = ((std::process::id() & 0xffff) as u16).to_be_bytes();
        let last = (number * 2 + 10) as u8;
        let addresses = [last, last + 1].map(|last| IpAddr::V4(Ipv4Addr::new(127, high | 1, low, last)));
        // Held until the masters take them, so that nobody else does.
        let first = std::net::TcpListener::bind((addresses[0], 0)).unwrap();
        let http_port = first.local_addr().unwrap().port();
        let second = std::net::TcpListener::bind((addresses[1], http_port)).unwrap();
        let held = Mutex::new(vec![first, second]);
        World {
            store,
            store_clock,
            ahead: watch::Sender::new(Duration::ZERO),
            addresses,
            http_port,
            path,
            held,
        }
    }

    /// Both clocks: what is due becomes due.
    pub(crate) fn pass(&self, time: Duration) {
        self.ahead.send_modify(|ahead| *ahead += time);
    }

    /// The leases of the dead end.
    pub(crate) async fn end_leases(&self) {
        *self.store_clock.lock().unwrap() += Duration::from_secs(60);
        self.store.expire_leases().await.unwrap();
    }

    /// The certificate in the store that masters show until one is issued.
    pub(crate) async fn self_signed(&self) -> (String, Vec<u8>) {
        let entry = self.store.get("/sala/v1/acme/self-signed").await.unwrap().expect("there is one");
        let record: serde_json::Value = serde_json::from_slice(&entry.value).unwrap();
        let pem = record["chain"].as_str().unwrap().to_owned();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
        (pem, der)
    }

    /// Waits until nobody talks to the ACME server any more; returns the keys that are left.
    pub(crate) async fn settled(&self) -> Vec<String> {
        let mut watch = self.store.watch("/sala/v1/acme/issuer", 0).await.unwrap();
        let settled = async {
            while self.store.get("/sala/v1/acme/issuer").await.unwrap().is_some() {
                watch.next().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.expect("the turn ends");
        let range = self.store.range("/sala/v1/acme/", 100, None).await.unwrap();
        range.entries.into_iter().map(|entry| entry.key).collect()
    }

    /// Starts the master at address `at`, 0 or 1.
    pub(crate) async fn master(&self, at: usize, store: Arc<dyn Store>, acme: AcmeConfig) -> Master {
        // Only Pebble knows these names, so there is no way to try.
        self.master_within(Duration::ZERO, at, store, acme).await
    }

    /// The same; it asks for a certificate once it is reached, or after that time.
    pub(crate) async fn master_within(
        &self,
        within: Duration,
        at: usize,
        store: Arc<dyn Store>,
        acme: AcmeConfig,
    ) -> Master {
        let reach = Reach { port: self.http_port, within };
        self.held.lock().unwrap().clear();
        let node_id = NodeId(format!("m{}", at + 1));
        let clock = Clock::ahead_by(self.ahead.subscribe());
        let config = ShareConfig { node_id: node_id.clone(), names: vec![], acme: Some(acme), reach, clock };
        let share = CertificateShare::open(store, config).await.unwrap();
        let address = self.addresses[at];
        let config = GatewayConfig {
            node_id: node_id.clone(),
            https: vec![SocketAddr::new(address, 0)],
            http: vec![SocketAddr::new(address, self.http_port)],
            plain: vec![],
            redirect_to_https: true,
            certificate: Some(Certificate::Shared(share.clone())),
            proxy_protocol: None,
            bridges: vec![],
            auto_create_rooms: true,
            limits: Limits::default(),
        };
        let keys = KeyStore::new([("devkey".to_owned(), "secret".into())]).unwrap();
        let ca = Ca::generate("acme").unwrap();
        let tls = NodeTls::new(ca, "acme", &node_id, vec![], SystemTime::now()).unwrap();
        let client = InternalClient::new(tls, None).unwrap();
        let gateway = Gateway::bind(config, keys, Arc::new(NoRooms::default()), client, None).await.unwrap();
        let https = gateway.https_addresses()[0];
        let running = tokio::spawn(async move {
            let _ = gateway.run(std::future::pending()).await;
        });
        Master { share, https, seen: 0, running }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A certificate for `names` from `pebble`.
pub(crate) fn acme(pebble: &Pebble, names: &[&str]) -> AcmeConfig {
    AcmeConfig {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        directory_url: pebble.directory(),
        contact: Some("operator@example.org".into()),
        ca_file: Some(pebble.ca_file()),
        profile: None,
    }
}

/// A running master. Dropping it kills it.
pub(crate) struct Master {
    pub(crate) share: Arc<CertificateShare>,
    https: SocketAddr,
    seen: u64,
    running: JoinHandle<()>,
}

impl Drop for Master {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Master {
    /// The certificate that it shows, DER.
    pub(crate) fn shown(&self) -> Vec<u8> {
        self.share.current().cert[0].to_vec()
    }

    /// Waits until it shows another one than `former`; returns it.
    pub(crate) async fn shows_another_than(&mut self, former: &[u8]) -> Vec<u8> {
        let another = async {
            while self.shown() == former {
                self.share.changed(&mut self.seen).await;
            }
            self.shown()
        };
        tokio::time::timeout(PATIENCE, another).await.expect("another certificate in time")
    }

    /// What a client that trusts `root` sees under `name`: the leaf, DER.
    pub(crate) async fn connect(&self, root: &str, name: &str) -> io::Result<Vec<u8>> {
        let stream = tls(self.https, root, name).await?;
        Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
    }
}

/// TLS to `address`, with a certificate for `name` that leads to `root`.
pub(crate) async fn tls(address: SocketAddr, root: &str, name: &str) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

/// A cluster without media nodes.
struct NoRooms(broadcast::Sender<Death>);

impl Default for NoRooms {
    fn default() -> Self {
        NoRooms(broadcast::channel(1).0)
    }
}

impl Director for NoRooms {
    fn route<'a>(&'a self, _room: &'a str, _create: bool) -> BoxFuture<'a, Result<Route, RouteError>> {
        Box::pin(std::future::ready(Err(RouteError::NoMediaNode)))
    }

    fn media_nodes(&self) -> Vec<MediaNode> {
        vec![]
    }

    fn is_dead(&self, _node: &NodeId) -> bool {
        false
    }

    fn deaths(&self) -> broadcast::Receiver<Death> {
        self.0.subscribe()
    }
}
