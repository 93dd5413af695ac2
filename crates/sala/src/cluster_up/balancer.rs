//! A small layer-4 load balancer before the masters, as a cloud puts there: TCP on a front port goes to any master
//! that is well, and says with PROXY protocol v2 who the client is.
//!
//! A master is down when a connect fails, or when it does not answer a health check; then its connections are cut
//! at once, so that clients look for another. It is up again with the first check that it answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::plan::{GATEWAY_HTTP_PORT, GATEWAY_HTTPS_PORT, Host};
use super::proxy_protocol;

/// Connections at a time: more than a laptop's tests open.
const MAX_CONNECTIONS: usize = 20_000;
/// Between two checks of a master.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// A master that answers later than that missed the check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// Missed checks that count as down. A refused connect counts at once; silence may be a busy machine.
const MISSES: u32 = 2;
/// A master that accepts later than that is passed over.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// Which of a master's ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Front {
    Http,
    Https,
}

/// A master behind the balancer.
#[derive(Debug)]
pub(crate) struct Backend {
    /// Name of its host.
    pub(crate) name: String,
    http: SocketAddr,
    https: SocketAddr,
    up: watch::Sender<bool>,
    /// Says that it can serve. One that cannot gets no new connections, and keeps those that it has.
    ready: AtomicBool,
    connections: AtomicUsize,
}

impl Backend {
    /// Whether it gets connections.
    pub(crate) fn is_in(&self) -> bool {
        self.is_up() && self.ready.load(Ordering::Relaxed)
    }

    fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Connections that go through it now.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn set_up(&self, up: bool) {
        self.up.send_if_modified(|now| std::mem::replace(now, up) != up);
    }

    fn address(&self, front: Front) -> SocketAddr {
        match front {
            Front::Http => self.http,
            Front::Https => self.https,
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Balancer {
    backends: Vec<Backend>,
    next: AtomicUsize,
    retried: AtomicU64,
}

impl Balancer {
    /// Before these masters, all taken for down until a check says otherwise.
    pub(crate) fn new<'a>(masters: impl Iterator<Item = &'a Host>) -> Arc<Balancer> {
        let backends = masters.map(|host| Backend {
            name: host.name.clone(),
            http: host.socket(GATEWAY_HTTP_PORT),
            https: host.socket(GATEWAY_HTTPS_PORT),
            up: watch::Sender::new(false),
            ready: AtomicBool::new(true),
            connections: AtomicUsize::new(0),
        });
        let (next, retried) = (AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Balancer { backends: backends.collect(), next, retried })
    }

    pub(crate) fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// Connects that failed and went to another master.
    pub(crate) fn retried(&self) -> u64 {
        self.retried.load(Ordering::Relaxed)
    }

    /// Checks the masters for ever.
    pub(crate) async fn check(self: Arc<Self>) {
        let one = |n: usize| {
            let balancer = self.clone();
            async move {
                let backend = &balancer.backends[n];
                let mut ticks = interval(CHECK_INTERVAL);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut misses = 0;
                loop {
                    ticks.tick().await;
                    match check(backend.http).await {
                        Check::Answered { ready } => {
                            misses = 0;
                            backend.ready.store(ready, Ordering::Relaxed);
                            backend.set_up(true);
                        }
                        Check::Refused => backend.set_up(false),
                        Check::Silent => {
                            misses += 1;
                            if misses >= MISSES {
                                backend.set_up(false);
                            }
                        }
                    }
                }
            }
        };
        let mut checks = tokio::task::JoinSet::new();
        for n in 0..self.backends.len() {
            checks.spawn(one(n));
        }
        checks.join_all().await;
    }

    /// Takes connections for ever.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, front: Front) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let Ok((client, _)) = listener.accept().await else {
                // Out of file descriptors: some will be free in a moment.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let balancer = self.clone();
            tokio::spawn(async move {
                balancer.carry(client, front).await;
                drop(permit);
            });
        }
    }

    /// One connection, from one end to the other.
    async fn carry(&self, mut client: TcpStream, front: Front) {
        let (Ok(from), Ok(to)) = (client.peer_addr(), client.local_addr()) else { return };
        let _ = client.set_nodelay(true);
        let Some((backend, mut server)) = self.connect(front).await else { return };
        if server.write_all(&proxy_protocol::header(from, to)).await.is_err() {
            return;
        }
        backend.connections.fetch_add(1, Ordering::Relaxed);
        let mut up = backend.up.subscribe();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
            _ = up.wait_for(|up| !up) => {}
        }
        backend.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// The next master that takes it. When all are said to be down every one is tried: the checks may lag.
    async fn connect(&self, front: Front) -> Option<(&Backend, TcpStream)> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.backends.len();
        let in_turn = || (0..count).map(|n| &self.backends[(first.wrapping_add(n)) % count]);
        let well = in_turn().filter(|backend| backend.is_in());
        for backend in well.chain(in_turn().filter(|backend| !backend.is_in())) {
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(backend.address(front))).await {
                Ok(Ok(server)) => {
                    let _ = server.set_nodelay(true);
                    return Some((backend, server));
                }
                Ok(Err(_)) | Err(_) => {
                    backend.set_up(false);
                    self.retried.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        None
    }
}

enum Check {
    Answered { ready: bool },
    Refused,
    Silent,
}

/// Asks whether it can serve. A connect alone would not do: the kernel accepts for a process that hangs.
async fn check(address: SocketAddr) -> Check {
    let ask = async {
        let mut stream = match TcpStream::connect(address).await {
            Ok(stream) => stream,
            Err(_) => return Check::Refused,
        };
        let mut request = proxy_protocol::local();
        request.extend_from_slice(b"GET /healthz HTTP/1.0\r\nHost: health-check\r\n\r\n");
        if stream.write_all(&request).await.is_err() {
            return Check::Refused;
        }
        // `HTTP/1.0 200`
        let mut status = [0; 12];
        match stream.read_exact(&mut status).await {
            Ok(_) => Check::Answered { ready: status.ends_with(b" 200") },
            Err(_) => Check::Refused,
        }
    };
    timeout(CHECK_TIMEOUT, ask).await.unwrap_or(Check::Silent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that tells each connection which it is, after 28 bytes of header.
    async fn server(name: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut header = [0; 28];
                stream.read_exact(&mut header).await.unwrap();
                assert_eq!(header[12], 0x21);
                stream.write_all(name).await.unwrap();
                open.push(stream);
            }
        });
        (address, task)
    }

    fn backend(name: &str, address: SocketAddr) -> Backend {
        let (up, ready) = (watch::Sender::new(true), AtomicBool::new(true));
        Backend {
            name: name.into(),
            http: address,
            https: address,
            up,
            ready,
            connections: AtomicUsize::new(0),
        }
    }

    #[tokio::test]
    async fn a_dead_master_loses_its_connections_and_gets_no_new_ones() {
        let (one, _task_one) = server(b"1").await;
        let (two, _task_two) = server(b"2").await;
        let (next, retried) = (AtomicUsize::new(0), AtomicU64::new(0));
        let balancer =
            Arc::new(Balancer { backends: vec![backend("m1", one), backend("m2", two)], next, retried });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = listener.local_addr().unwrap();
        tokio::spawn(balancer.clone().serve(listener, Front::Http));

        let mut first = TcpStream::connect(front).await.unwrap();
        assert_eq!(first.read_u8().await.unwrap(), b'1');
        balancer.backends[0].set_up(false);
        assert!(first.read_u8().await.is_err(), "the connection is cut");
        for _ in 0..2 {
            let mut next = TcpStream::connect(front).await.unwrap();
            assert_eq!(next.read_u8().await.unwrap(), b'2');
        }
    }

    #[tokio::test]
    async fn a_refused_connect_goes_to_the_next_master() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (two, _task) = server(b"2").await;
        let (next, retried) = (AtomicUsize::new(0), AtomicU64::new(0));
        let balancer =
            Arc::new(Balancer { backends: vec![backend("m1", gone), backend("m2", two)], next, retried });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = listener.local_addr().unwrap();
        tokio::spawn(balancer.clone().serve(listener, Front::Http));

        let mut client = TcpStream::connect(front).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'2');
        assert!(!balancer.backends[0].is_up());
        assert_eq!(balancer.retried(), 1);
    }
}
