//! Services are reached over TLS with what the system trusts, and only with that.

mod support;

use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use oci::Failure;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use support::{QUICK, cloud};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Tells the second process of a test what to call.
const URL: &str = "SALA_TEST_TLS_URL";

/// A service on loopback; its URL and the authority that its certificate is from, as PEM.
async fn service() -> (String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().signed_by(&key, &ca).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(
        tokio_rustls::rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(socket) = acceptor.accept(socket).await else {
                    return;
                };
                let answer = || Response::new(Full::new(Bytes::from_static(br#""ns""#)));
                let serve = service_fn(|_request| async move { Ok::<_, std::convert::Infallible>(answer()) });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), serve)
                    .await;
            });
        }
    });
    (url, ca.pem())
}

#[tokio::test]
async fn a_service_that_nobody_vouches_for_is_not_spoken_to() {
    let (url, _) = service().await;
    let error = cloud(&url, QUICK).objects().namespace().await.unwrap_err();
    assert!(matches!(error.failure(), Failure::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// In a second process, for the system's trust is read from its environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_service_that_the_system_trusts_is_spoken_to() {
    let (url, ca) = service().await;
    let file = std::env::temp_dir().join(format!("sala-oci-ca-{}.pem", std::process::id()));
    std::fs::write(&file, ca).unwrap();
    let mut caller = Command::new(std::env::current_exe().unwrap());
    caller.args(["--exact", "caller", "--include-ignored", "--nocapture"]);
    caller.env("SSL_CERT_FILE", &file).env(URL, url);
    let output = tokio::task::spawn_blocking(move || caller.output().unwrap()).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run by a_service_that_the_system_trusts_is_spoken_to"]
async fn caller() {
    let url = std::env::var(URL).unwrap();
    assert_eq!(cloud(&url, QUICK).objects().namespace().await.unwrap(), "ns");
}
