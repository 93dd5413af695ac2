//! One request, one answer: HTTP/1.1 over TCP or TLS, in bounded time and memory.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use crate::error::Failure;

/// A connection that is not there by then never comes; metadata and service endpoints are near.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Connections kept open to one host.
const MAX_IDLE_CONNECTIONS: usize = 4;

/// The services close idle connections after about a minute: ours are closed before, so that no request meets a
/// connection that is just closing.
const IDLE_FOR: Duration = Duration::from_secs(25);

/// Connections to all services. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl HttpClient {
    pub(crate) fn new() -> HttpClient {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_WITHIN));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls())
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(https);
        HttpClient { client }
    }

    /// Any status is an answer.
    pub(crate) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
        within: Duration,
    ) -> Result<Answer, Failure> {
        let host = request.uri().authority().map(|host| host.to_string()).unwrap_or_default();
        match tokio::time::timeout(within, self.unbounded(request, limit, &host)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(Failure::TimedOut { host, after: within }),
        }
    }

    async fn unbounded(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
        host: &str,
    ) -> Result<Answer, Failure> {
        let answer = self.client.request(request).await.map_err(|error| {
            let (host, cause) = (host.to_owned(), innermost(&error));
            match error.is_connect() {
                true => Failure::Unreachable { host, cause },
                false => Failure::Broken { host, cause },
            }
        })?;
        let (head, body) = answer.into_parts();
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() }),
            Err(error) if error.is::<LengthLimitError>() => Err(Failure::TooLarge { limit }),
            Err(error) => Err(Failure::Broken { host: host.to_owned(), cause: innermost(error.as_ref()) }),
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Trusts what the system trusts. A system that trusts nobody (an empty container) can still speak plain HTTP to its
/// metadata, and is told of the rest once.
fn tls() -> ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = || {
        ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.2 and 1.3")
    };
    match builder().with_native_roots() {
        Ok(config) => config.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(
                %error,
                "no trusted certificate authorities: https will fail; install ca-certificates or set SSL_CERT_FILE"
            );
            builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        }
    }
}

/// The cause that says most.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
