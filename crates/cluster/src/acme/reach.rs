//! Whether the way by which an ACME server comes is open yet. A balancer takes some seconds to believe in a master that
//! has just started, and names of new services some minutes; an order before that fails, and failed orders are counted.

use std::net::Ipv6Addr;
use std::time::Duration;

use axum::http::{Request, Uri};
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, timeout, timeout_at};

/// One request. Who is reached answers at once.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Between requests.
const PAUSE: Duration = Duration::from_secs(1);

/// How the way is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Where the ACME server comes in.
    pub port: u16,
    /// After that it is asked for a certificate all the same: from within, the way may never be open. Zero: it is not tried.
    pub within: Duration,
}

impl Default for Reach {
    fn default() -> Reach {
        Reach { port: 80, within: Duration::from_secs(60) }
    }
}

impl Reach {
    /// Until all names lead to a master, or the time is over.
    pub(super) async fn wait(&self, names: &[String]) {
        if self.within.is_zero() {
            return;
        }
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        let deadline = Instant::now() + self.within;
        for name in names {
            let url = self.url(name);
            let mut problem = None;
            while let Err(error) = answers(&client, &url).await {
                if problem.is_none() {
                    tracing::info!(
                        url,
                        error,
                        "waiting for the way to the masters before a certificate is asked for"
                    );
                }
                problem = Some(error);
                if timeout_at(deadline, tokio::time::sleep(PAUSE)).await.is_err() {
                    break;
                }
            }
            if let Some(error) = problem.filter(|_| Instant::now() >= deadline) {
                tracing::warn!(
                    url,
                    error,
                    "no master answers there; asking for a certificate all the same. If that fails: does the name lead to \
                     the load balancer, and does it pass port {} on?",
                    self.port
                );
            }
        }
    }

    fn url(&self, name: &str) -> String {
        let host = match name.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => name.to_owned(),
        };
        match self.port {
            80 => format!("http://{host}/healthz"),
            port => format!("http://{host}:{port}/healthz"),
        }
    }
}

/// A balancer without a backend refuses, hangs up, or says 502 or 503.
async fn answers(client: &Client<HttpConnector, Empty<Bytes>>, url: &str) -> Result<(), String> {
    let url: Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = url;
    match timeout(ANSWER_WITHIN, client.request(request)).await {
        Ok(Ok(answer)) if answer.status().is_server_error() => Err(format!("HTTP {}", answer.status())),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            Err(cause.unwrap_or_else(|| error.to_string()))
        }
        Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_that_of_the_acme_server() {
        let usual = Reach::default();
        assert_eq!(usual.url("meet.example.org"), "http://meet.example.org/healthz");
        assert_eq!(usual.url("2001:db9::1"), "http://[2001:db9::1]/healthz");
        let other = Reach { port: 5002, ..usual };
        assert_eq!(other.url("203.0.114.7"), "http://203.0.114.7:5002/healthz");
    }
}
