//! One event to one URL: signed, sent, and sent again until it is accepted or too old.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auth::{Claims, KeyStore};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;

use crate::config::{ConfigError, Retry};
use crate::record::Record;

/// Requests to one URL at a time: rooms beyond that wait.
const MAX_REQUESTS: usize = 64;

/// Connections kept open to one receiver.
const MAX_IDLE_CONNECTIONS: usize = 8;

/// How much of an answer is read, to be able to use the connection again.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Life of a signature, as in LiveKit.
const TOKEN_TTL: Duration = Duration::from_secs(300);

/// How an event's way ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Delivered,
    GivenUp,
}

/// Sends to all URLs.
pub(crate) struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    receivers: Vec<Receiver>,
    keys: KeyStore,
    retry: Retry,
}

struct Receiver {
    uri: Uri,
    /// Without what may be secret in it.
    name: String,
    requests: Semaphore,
    /// Whether the last request failed: logged once, not for each event.
    failing: AtomicBool,
}

impl Sender {
    pub(crate) fn new(uris: Vec<Uri>, keys: KeyStore, retry: Retry) -> Result<Sender, ConfigError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(retry.answer_within));
        let https = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|error| ConfigError::Roots(error.to_string()))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(MAX_IDLE_CONNECTIONS).build(https);
        let receivers = uris
            .into_iter()
            .map(|uri| Receiver {
                name: format!(
                    "{}://{}",
                    uri.scheme_str().unwrap_or_default(),
                    uri.host().unwrap_or_default()
                ),
                uri,
                requests: Semaphore::new(MAX_REQUESTS),
                failing: AtomicBool::new(false),
            })
            .collect();
        Ok(Sender { client, receivers, keys, retry })
    }

    /// Until it is accepted with 2xx, or too old.
    pub(crate) async fn deliver(&self, url: usize, record: &Record) -> Outcome {
        let receiver = &self.receivers[url];
        let give_up_at = Duration::from_millis(record.at_ms) + self.retry.give_up_after;
        let mut pause = self.retry.first_pause;
        loop {
            let result = tokio::time::timeout(self.retry.answer_within, self.post(receiver, record)).await;
            let failure = match result {
                Ok(Ok(())) => {
                    if receiver.failing.swap(false, Ordering::Relaxed) {
                        tracing::info!(url = %receiver.name, "webhooks are accepted again");
                    }
                    return Outcome::Delivered;
                }
                Ok(Err(failure)) => failure,
                Err(_elapsed) => format!("no answer within {:?}", self.retry.answer_within),
            };
            if !receiver.failing.swap(true, Ordering::Relaxed) {
                tracing::warn!(url = %receiver.name, %failure, "a webhook was not accepted; it is sent again");
            }
            let wait = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            if now + wait > give_up_at {
                tracing::warn!(
                    url = %receiver.name, %failure,
                    "a webhook was not accepted within {:?} and is dropped", self.retry.give_up_after
                );
                return Outcome::GivenUp;
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(self.retry.longest_pause);
        }
    }

    async fn post(&self, receiver: &Receiver, record: &Record) -> Result<(), String> {
        // The semaphore is never closed.
        let _permit = receiver.requests.acquire().await.map_err(|error| error.to_string())?;
        let request = Request::post(receiver.uri.clone())
            .header(CONTENT_TYPE, "application/webhook+json")
            .header(USER_AGENT, "LiveKit")
            // Without "Bearer", as LiveKit's receivers expect it.
            .header(AUTHORIZATION, sign(&self.keys, record.body.as_bytes(), SystemTime::now()))
            .body(Full::new(Bytes::from(record.body.clone())))
            .map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| with_cause(&error))?;
        let status = answer.status();
        // What it says does not matter, and a body that is too long only costs the connection.
        let _ = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        match status.is_success() {
            true => Ok(()),
            false => Err(format!("status {status}")),
        }
    }
}

/// The token that goes with a body: it holds the body's hash.
fn sign(keys: &KeyStore, body: &[u8], now: SystemTime) -> String {
    let sha256 = STANDARD.encode(digest(&SHA256, body));
    keys.mint(&Claims { sha256, ..Claims::default() }, now, TOKEN_TTL)
}

fn with_cause(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
