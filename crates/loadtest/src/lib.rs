//! A load generator for LiveKit servers: rooms full of synthetic callers, each with its own WebSocket and UDP socket,
//! who publish, subscribe, send numbered messages, and behave as SDKs do when their server goes away. What they
//! experienced is added up in a [`Report`].

mod caller;
mod figures;
mod signalling;
mod source;
mod visit;

use std::io;
use std::net::{IpAddr, ToSocketAddrs, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use auth::{Claims, KeyStore, VideoGrant};
use rtc::transport::DtlsIdentity;
use tokio::sync::watch;
use tokio::task::JoinSet;

use caller::Part;
use figures::Tally;
use visit::Visit;

pub use figures::{Gap, Report, Summary};

/// Callers at most: each has two sockets, and a process some ten thousand.
pub const MAX_CALLERS: usize = 5_000;

/// The server under load.
pub struct Target {
    url: String,
    /// Our address towards it.
    local: IpAddr,
    keys: KeyStore,
}

/// What is to happen.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The rooms' names begin with it.
    pub prefix: String,
    pub rooms: usize,
    /// In each room. Publishers also receive each other.
    pub publishers: usize,
    pub subscribers: usize,
    pub audio: bool,
    pub video: bool,
    /// Reliable messages that the first publisher of each room sends, per second; 0 sends none.
    pub messages_per_s: f64,
    /// All callers join within this time, …
    pub ramp: Duration,
    /// … stay this long, …
    pub duration: Duration,
    /// … and so many more come, and leave again after a few seconds, per second.
    pub churn_per_s: f64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(
        "the URL must begin with ws:// or http://; put a TLS proxy before the load, or use an inner address"
    )]
    Scheme,
    #[error("the server's address cannot be found: {0}; is the URL right?")]
    Address(io::Error),
    #[error("{0} callers are too many for one process, which takes 5000; run several")]
    TooMany(usize),
    #[error("nobody is to join: there must be at least one room with one publisher or subscriber")]
    Nobody,
    #[error("no socket for a caller: {0}; raise the limit of open files (ulimit -n)")]
    Socket(io::Error),
    #[error("no certificate for the callers: {0}")]
    Certificate(String),
}

/// How long a guest of the churn stays.
const GUEST_STAYS: Duration = Duration::from_secs(5);

impl Target {
    /// `url` as for SDKs. It is resolved once, to find the way to it.
    ///
    /// # Errors
    ///
    /// When it has another scheme, or its host is unknown.
    pub fn new(url: &str, keys: KeyStore) -> Result<Target, LoadError> {
        let authority = ["ws://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        let authority = authority.ok_or(LoadError::Scheme)?.split('/').next().unwrap_or_default();
        let with_port = if authority.rsplit(']').next().is_some_and(|end| end.contains(':')) {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        let server = with_port.to_socket_addrs().map_err(LoadError::Address)?.next();
        let server = server.ok_or_else(|| LoadError::Address(io::ErrorKind::NotFound.into()))?;
        let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let probe = UdpSocket::bind(any).and_then(|probe| {
            probe.connect(server)?;
            probe.local_addr()
        });
        let local = probe.map_err(LoadError::Address)?.ip();
        Ok(Target { url: format!("ws://{}", &url[url.find("//").map_or(0, |at| at + 2)..]), local, keys })
    }

    fn token(&self, room: &str, identity: &str) -> String {
        let video = VideoGrant { room_join: true, room: room.into(), ..VideoGrant::default() };
        let claims = Claims { identity: identity.into(), video: Some(video), ..Claims::default() };
        self.keys.mint(&claims, SystemTime::now(), Duration::from_secs(3_600))
    }
}

impl Plan {
    /// Everybody who stays to the end.
    fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        for room in 0..self.rooms {
            for member in 0..self.publishers + self.subscribers {
                let publishes = member < self.publishers;
                let sends = member == 0 && self.messages_per_s > 0.0;
                parts.push(Part {
                    room: format!("{}-{room}", self.prefix),
                    identity: format!("caller-{member}"),
                    number: parts.len() as u32,
                    audio: publishes && self.audio,
                    video: publishes && self.video,
                    message_interval: sends.then(|| Duration::from_secs_f64(1.0 / self.messages_per_s)),
                });
            }
        }
        parts
    }
}

/// Does what the plan says, to its end or until `stop` turns true, and tells what happened.
///
/// # Errors
///
/// When the plan cannot be begun; what goes wrong with single callers is in the report.
pub async fn run(target: Target, plan: Plan, stop: watch::Receiver<bool>) -> Result<Report, LoadError> {
    let parts = plan.parts();
    if parts.is_empty() {
        return Err(LoadError::Nobody);
    }
    if parts.len() > MAX_CALLERS {
        return Err(LoadError::TooMany(parts.len()));
    }
    let identity = DtlsIdentity::generate().map_err(|error| LoadError::Certificate(error.to_string()))?;
    let target = Arc::new(target);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let crowd = Crowd { target, identity, tally };
    let (end, ended) = watch::channel(false);
    let mut callers = JoinSet::new();
    let apart = plan.ramp.div_f64(parts.len() as f64);
    let participants = parts.len();
    for part in parts {
        let visit = crowd.visit(part).await.map_err(LoadError::Socket)?;
        callers.spawn(visit.run(ended.clone()));
        if stopped_within(&stop, apart).await {
            break;
        }
    }
    tokio::select! {
        _ = stopped_within(&stop, plan.duration) => {}
        () = crowd.churn(&plan) => {}
    }
    end.send_replace(true);
    while callers.join_next().await.is_some() {}
    let mut tally = crowd.tally.lock().unwrap_or_else(PoisonError::into_inner);
    tally.report.participants = participants;
    Ok(tally.finish())
}

/// Whether `stop` turns true within `time`.
async fn stopped_within(stop: &watch::Receiver<bool>, time: Duration) -> bool {
    // Whoever could stop us may be gone: then nobody does.
    let mut stop = stop.clone();
    let stopped = async {
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::time::timeout(time, stopped).await.is_ok()
}

/// What all callers share.
struct Crowd {
    target: Arc<Target>,
    identity: Arc<DtlsIdentity>,
    tally: Arc<Mutex<Tally>>,
}

impl Crowd {
    async fn visit(&self, part: Part) -> io::Result<Visit> {
        Visit::new(self.target.clone(), self.identity.clone(), self.tally.clone(), part).await
    }

    /// Guests come and go in rooms of their own, for ever.
    async fn churn(&self, plan: &Plan) {
        if plan.churn_per_s <= 0.0 {
            return std::future::pending().await;
        }
        let mut guests = JoinSet::new();
        for number in 0_u32.. {
            tokio::time::sleep(Duration::from_secs_f64(1.0 / plan.churn_per_s)).await;
            let part = Part {
                room: format!("{}-guests-{number}", plan.prefix),
                identity: "guest".into(),
                number: u32::MAX - number,
                audio: plan.audio,
                video: plan.video,
                message_interval: None,
            };
            let Ok(visit) = self.visit(part).await else { continue };
            guests.spawn(async move {
                let (end, ended) = watch::channel(false);
                let leave = async {
                    tokio::time::sleep(GUEST_STAYS).await;
                    end.send_replace(true);
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = visit.run(ended) => {}
                    () = leave => {}
                }
            });
            while guests.try_join_next().is_some() {}
        }
    }
}
