//! A service on loopback: records what is asked and answers as a test says.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod instance;
pub(crate) mod signature;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use oci::principal::{ApiKey, Principal};
use oci::{Cloud, Ocid, Policy, Region, Settings};
use serde_json::Value;
use tokio::net::TcpListener;

pub(crate) const KEY: &[u8] = include_bytes!("../golden/test-key.pem");

/// A request as it arrived.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What the service does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    /// Closes the connection once it has read the request.
    Hangup,
    Silence,
}

/// The service; it ends with the test's runtime.
pub(crate) struct Service {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn target(&self) -> String {
        match self.query.as_str() {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Reply {
    pub(crate) fn status(status: u16) -> Reply {
        Reply::Answer { status, headers: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn text(text: impl Into<Bytes>) -> Reply {
        Reply::Answer { status: 200, headers: Vec::new(), body: text.into() }
    }

    pub(crate) fn json(value: &Value) -> Reply {
        Reply::text(value.to_string())
    }

    pub(crate) fn error(status: u16, code: &str) -> Reply {
        let body =
            serde_json::json!({ "code": code, "message": format!("{code} it is.") }).to_string().into();
        Reply::Answer { status, headers: Vec::new(), body }.with("opc-request-id", "REQ1")
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Reply {
        if let Reply::Answer { headers, .. } = &mut self {
            headers.push((name.into(), value.into()));
        }
        self
    }
}

impl Service {
    pub(crate) async fn new(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let all = seen.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (seen, answer) = (all.clone(), answer.clone());
                let serve = service_fn(move |request| respond(request, seen.clone(), answer.clone()));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), serve),
                );
            }
        });
        Service { url, seen }
    }

    /// Answers one after the other; the last for all that follow.
    pub(crate) async fn scripted(replies: impl IntoIterator<Item = Reply>) -> Service {
        let replies: Vec<_> = replies.into_iter().collect();
        let next = Mutex::new(0);
        Service::new(move |_| {
            let mut next = next.lock().unwrap();
            let reply = replies[(*next).min(replies.len() - 1)].clone();
            *next += 1;
            reply
        })
        .await
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn respond(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<impl Fn(&Seen) -> Reply>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let request = Seen {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    let reply = answer(&request);
    seen.lock().unwrap().push(request);
    match reply {
        Reply::Answer { status, headers, body } => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(Full::new(body)).unwrap())
        }
        // hyper closes the connection of a service that fails.
        Reply::Hangup => Err(std::io::Error::other("hang up")),
        Reply::Silence => match std::future::pending::<Infallible>().await {},
    }
}

/// Pauses that a test does not notice.
pub(crate) const QUICK: Policy = Policy {
    deadline: Duration::from_secs(30),
    attempt: Duration::from_secs(10),
    max_attempts: 4,
    first_pause: Duration::from_micros(100),
    longest_pause: Duration::from_millis(1),
};

/// A user of the service with the test's key.
pub(crate) fn cloud(url: &str, policy: Policy) -> Cloud {
    let (tenancy, user) = (Ocid::new("ocid1.tenancy.oc1..t"), Ocid::new("ocid1.user.oc1..u"));
    let fingerprint = vec!["aa"; 16].join(":");
    let key =
        ApiKey::new(tenancy, &user, &fingerprint, Region::named("eu-frankfurt-1").unwrap(), KEY).unwrap();
    Cloud::new(Principal::api_key(key), &settings(url, policy))
}

pub(crate) fn settings(url: &str, policy: Policy) -> Settings {
    Settings { endpoint: Some(url.parse().unwrap()), policy }
}
