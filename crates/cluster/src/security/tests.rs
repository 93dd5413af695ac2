use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::NodeId;

const ALPN: &[u8] = b"test/1";

fn node(name: &str) -> NodeId {
    NodeId(name.to_owned())
}

fn tls(ca: &Ca, cluster: &str, name: &str, now: SystemTime) -> Arc<NodeTls> {
    let addresses = vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
    NodeTls::new(ca.clone(), cluster, &node(name), addresses, now).unwrap()
}

/// What each side of a connection found: its peer, or why not.
struct Met {
    server: Result<NodeId, PeerRefused>,
    client: Result<(), PeerRefused>,
}

/// `client` connects to `server` over loopback TCP, expecting node `b`, and each says a word to the other.
async fn meet(server: &NodeTls, client: &NodeTls) -> Met {
    let name = client.server_name(&node("b")).unwrap();
    meet_as(server, client.client_config(ALPN).unwrap(), name).await
}

async fn meet_as(server: &NodeTls, client: Arc<rustls::ClientConfig>, name: ServerName<'static>) -> Met {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(server.server_config(&[ALPN]).unwrap());
    let refused =
        |error: std::io::Error| PeerRefused::of(&error).unwrap_or(PeerRefused::Tls(error.to_string()));
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await?;
        stream.write_all(b"!").await?;
        Ok(NodeTls::peer_of(stream.get_ref().1.peer_certificates()).unwrap())
    };
    let connect = async {
        let stream = TcpStream::connect(address).await?;
        let mut stream = TlsConnector::from(client).connect(name, stream).await?;
        stream.read_u8().await.map(|_| ())
    };
    let (server, client): (std::io::Result<_>, std::io::Result<_>) = tokio::join!(accept, connect);
    Met { server: server.map_err(refused), client: client.map_err(refused) }
}

fn temporary_dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("sala-ca-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[tokio::test]
async fn nodes_of_a_cluster_know_each_other_by_name() {
    let ca = Ca::generate("demo").unwrap();
    let now = SystemTime::now();
    let met = meet(&tls(&ca, "demo", "b", now), &tls(&ca, "demo", "a.example", now)).await;
    assert_eq!(met.server, Ok(node("a.example")));
    assert_eq!(met.client, Ok(()));
}

#[tokio::test]
async fn another_authority_of_the_same_name_is_told_from_ours() {
    let now = SystemTime::now();
    let (ours, theirs) = (Ca::generate("demo").unwrap(), Ca::generate("demo").unwrap());
    let met = meet(&tls(&ours, "demo", "b", now), &tls(&theirs, "demo", "a", now)).await;
    assert_eq!(met.client, Err(PeerRefused::OtherCa));
    assert!(matches!(met.server, Err(PeerRefused::ByPeer(_))), "{:?}", met.server);
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_by_both_even_with_the_same_authority() {
    let (ca, now) = (Ca::generate("demo").unwrap(), SystemTime::now());
    let met = meet(&tls(&ca, "demo", "b", now), &tls(&ca, "prod", "a", now)).await;
    let refused = PeerRefused::OtherCluster { theirs: "demo".into(), ours: "prod".into() };
    assert_eq!(met.client, Err(refused));

    // A client that does not look is refused by the server.
    let careless = tls(&ca, "prod", "a", now);
    let mut config = (*careless.client_config(ALPN).unwrap()).clone();
    let trusting = tls(&ca, "demo", "x", now);
    config.dangerous().set_certificate_verifier(trusting.verifier());
    let name = trusting.server_name(&node("b")).unwrap();
    let met = meet_as(&tls(&ca, "demo", "b", now), Arc::new(config), name).await;
    assert_eq!(met.server, Err(PeerRefused::OtherCluster { theirs: "prod".into(), ours: "demo".into() }));
    assert!(matches!(met.client, Err(PeerRefused::ByPeer(_))), "{:?}", met.client);
}

#[tokio::test]
async fn an_address_that_changed_its_owner_is_noticed() {
    let (ca, now) = (Ca::generate("demo").unwrap(), SystemTime::now());
    let met = meet(&tls(&ca, "demo", "c", now), &tls(&ca, "demo", "a", now)).await;
    let Err(PeerRefused::OtherNode { expected, found }) = met.client else { panic!("{:?}", met.client) };
    assert_eq!((expected.as_str(), found), ("b.demo.sala.internal", node("c")));
}

#[tokio::test]
async fn a_wrong_clock_is_refused_with_the_difference() {
    let (ca, now) = (Ca::generate("demo").unwrap(), SystemTime::now());
    let hour = Duration::from_secs(3600);
    let met = meet(&tls(&ca, "demo", "b", now + 3 * hour), &tls(&ca, "demo", "a", now)).await;
    let Err(PeerRefused::NotYetValid { ahead }) = met.client else { panic!("{:?}", met.client) };
    assert!((3 * hour - BACKDATE).abs_diff(ahead) < Duration::from_secs(60), "{ahead:?}");

    let met = meet(&tls(&ca, "demo", "b", now - 30 * hour), &tls(&ca, "demo", "a", now)).await;
    let Err(PeerRefused::Expired { since }) = met.client else { panic!("{:?}", met.client) };
    assert!((6 * hour).abs_diff(since) < Duration::from_secs(60), "{since:?}");
}

#[tokio::test]
async fn a_peer_without_certificate_is_refused() {
    let (ca, now) = (Ca::generate("demo").unwrap(), SystemTime::now());
    let (a, b) = (tls(&ca, "demo", "a", now), tls(&ca, "demo", "b", now));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(a.verifier())
        .with_no_client_auth();
    let met = meet_as(&b, Arc::new(config), a.server_name(&node("b")).unwrap()).await;
    assert!(matches!(met.server, Err(PeerRefused::Tls(_) | PeerRefused::NoCertificate)), "{:?}", met.server);
    assert!(met.client.is_err());
}

#[tokio::test]
async fn rotation_replaces_the_leaf_and_keeps_open_connections() {
    let (ca, now) = (Ca::generate("demo").unwrap(), SystemTime::now());
    let (a, b) = (tls(&ca, "demo", "a", now), tls(&ca, "demo", "b", now));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = TlsAcceptor::from(b.server_config(&[ALPN]).unwrap());
    let config = a.client_config(ALPN).unwrap();
    let connect = async {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        TlsConnector::from(config).connect(a.server_name(&node("b")).unwrap(), stream).await.unwrap()
    };
    let accept = async { acceptor.accept(listener.accept().await.unwrap().0).await.unwrap() };
    let (mut client, mut server) = tokio::join!(connect, accept);

    let before = b.leaf().certificate_pem.clone();
    assert!(!b.rotate_if_due(now + LEAF_LIFETIME / 3).unwrap());
    assert!(b.rotate_if_due(now + LEAF_LIFETIME / 2).unwrap());
    assert_ne!(b.leaf().certificate_pem, before);
    client.write_u8(7).await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), 7);

    assert!(b.rotate_if_due(now).unwrap(), "a clock that was set back makes a leaf that begins earlier");
    assert_eq!(meet(&b, &a).await.client, Ok(()));
}

#[test]
fn the_files_of_an_authority_are_private_complete_and_never_overwritten() {
    let dir = temporary_dir("files");
    write_ca(&dir, "demo").unwrap();
    let mode = |name: &str| std::fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ca.key"), mode("ca.pem")), (0o600, 0o644));
    assert!(matches!(write_ca(&dir, "demo"), Err(SecurityError::Exists(_))));

    let file = |name: &str| PemSource::File(dir.join(name));
    let ca = Ca::load(&file("ca.pem"), &file("ca.key")).unwrap();
    ca.issue_files(&dir, "etcd", &[Ipv4Addr::new(127, 7, 0, 11).into()]).unwrap();
    assert_eq!((mode("etcd.key"), mode("etcd.pem")), (0o600, 0o644));
    assert!(!format!("{ca:?}").contains("PRIVATE"));

    assert_eq!(exposed_key(&dir.join("ca.key")), None);
    std::fs::set_permissions(dir.join("ca.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(exposed_key(&dir.join("ca.key")).unwrap().contains("chmod 600"));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn unusable_files_are_named_with_the_remedy() {
    let (dir, other) = (temporary_dir("one"), temporary_dir("other"));
    let ca = write_ca(&dir, "demo").unwrap();
    write_ca(&other, "demo").unwrap();
    let load = |certificate: PathBuf, key: PathBuf| {
        Ca::load(&PemSource::File(certificate), &PemSource::File(key)).unwrap_err().to_string()
    };
    let missing = load(dir.join("nothing.pem"), dir.join("ca.key"));
    assert!(missing.contains("nothing.pem") && missing.contains("sala cluster ca"), "{missing}");
    let swapped = load(dir.join("ca.pem"), dir.join("ca.pem"));
    assert!(swapped.contains("no private key"), "{swapped}");
    let mixed = load(dir.join("ca.pem"), other.join("ca.key"));
    assert!(mixed.contains("is not the key of"), "{mixed}");
    ca.issue_files(&dir, "etcd", &[]).unwrap();
    let leaf = load(dir.join("etcd.pem"), dir.join("etcd.key"));
    assert!(leaf.contains("not the certificate of an authority"), "{leaf}");

    let variable =
        |pem: String| PemSource::Environment { variable: "SALA_CLUSTER_CA_KEY".into(), pem: pem.into() };
    let key = variable(std::fs::read_to_string(dir.join("ca.key")).unwrap());
    Ca::load(&variable(ca.certificate_pem().to_owned()), &key).unwrap();
    let empty = Ca::load(&variable(ca.certificate_pem().to_owned()), &variable(String::new())).unwrap_err();
    assert!(empty.to_string().starts_with("$SALA_CLUSTER_CA_KEY"), "{empty}");
    std::fs::remove_dir_all(dir).unwrap();
    std::fs::remove_dir_all(other).unwrap();
}

#[test]
fn ids_that_do_not_fit_a_name_are_refused() {
    let name = |cluster: &str, id: &str| PeerName::new(cluster, &node(id));
    for (cluster, id) in [("demo-1", "host.example.com"), ("a_b", "Media_1"), ("1", "2")] {
        let name = name(cluster, id).unwrap();
        assert!(ServerName::try_from(name.dns()).is_ok(), "{name:?}");
    }
    for (cluster, id) in
        [("", "a"), ("a.b", "a"), ("a/b", "a"), ("-a", "a"), ("a", ""), ("a", "x..y"), ("a", "ä")]
    {
        assert!(matches!(name(cluster, id), Err(SecurityError::BadId { .. })), "{cluster} {id}");
    }
    assert!(name("a", &"x".repeat(64)).is_err());
}
