//! HTTPS to the ACME server, within limits: the server is trusted to issue, not to be quick or brief.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::config::BadAcme;

/// One request with its answer. Servers that issue while the request waits take some seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A chain of certificates has some 10 kB.
const MAX_ANSWER_BYTES: usize = 1 << 20;

type Https = Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>;

/// See the module. Clones are the same.
#[derive(Clone)]
pub(super) struct Transport {
    client: Https,
    /// What the last refusal asked to wait, in ms.
    retry_after_ms: Arc<Mutex<Option<i64>>>,
}

impl Transport {
    /// Trusts the authorities in `ca_file`, or else the system's.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Transport, BadAcme> {
        let builder = HttpsConnectorBuilder::new();
        let builder = match ca_file {
            Some(path) => builder.with_tls_config(client_config(path)?),
            None => {
                let provider = aws_lc_rs::default_provider();
                let system = builder.with_provider_and_native_roots(provider);
                system.map_err(|error| BadAcme::SystemRoots(error.to_string()))?
            }
        };
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(ANSWER_WITHIN));
        let https = builder.https_only().enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(https);
        Ok(Transport { client, retry_after_ms: Arc::default() })
    }

    /// What the server asked to wait when it last refused. Asking forgets it.
    pub(super) fn take_retry_after_ms(&self) -> Option<i64> {
        self.retry_after_ms.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn client_config(path: &Path) -> Result<ClientConfig, BadAcme> {
    let bad = |problem: String| BadAcme::Roots { path: path.to_owned(), problem };
    let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| bad("it is no PEM".into()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("it holds no certificate in PEM form".into()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let this = self.clone();
        let exchange = async move {
            let response = this.client.request(request).await.map_err(|error| Error::Other(error.into()))?;
            let (parts, body) = response.into_parts();
            if parts.status.is_client_error() || parts.status.is_server_error() {
                // In seconds; who writes a date is met by our own, growing waits.
                let after = parts.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                let after = after.and_then(|text| text.trim().parse::<u32>().ok());
                *this.retry_after_ms.lock().unwrap_or_else(PoisonError::into_inner) =
                    after.map(|seconds| i64::from(seconds) * 1000);
            }
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(Error::Other)?;
            Ok(BytesResponse { parts, body: Box::new(body.to_bytes()) })
        };
        Box::pin(async move {
            match tokio::time::timeout(ANSWER_WITHIN, exchange).await {
                Ok(answer) => answer,
                Err(_) => Err(Error::Other(format!("no answer within {} s", ANSWER_WITHIN.as_secs()).into())),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_authority_is_named() {
        let missing = Transport::new(Some(Path::new("/nowhere/ca.pem"))).err().unwrap().to_string();
        assert!(missing.contains("gateway.acme.ca_file /nowhere/ca.pem"), "{missing}");
        let path = std::env::temp_dir().join(format!("sala-acme-roots-{}", std::process::id()));
        std::fs::write(&path, "no pem at all").unwrap();
        let empty = Transport::new(Some(&path)).err().unwrap().to_string();
        assert!(empty.contains("no certificate in PEM form"), "{empty}");
        std::fs::remove_file(path).unwrap();
    }
}
