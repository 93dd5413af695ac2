//! The listener that all shards share: it keeps a connection until the first frame has shown whom it is
//! for, and hands it over. Whoever connects and says nothing costs a descriptor for five seconds.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use is::stun::StunMessage;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, Socket, Type};

use super::framing;
use crate::config::NetError;
use crate::mailbox::{Command, Mailbox, TcpHandover};
use crate::shard::shard_of_ufrag;

/// Connections that have not said whom they are for. When there are more, the oldest goes: an honest client
/// speaks within a round trip, so the oldest is the likeliest to be idle.
const MAX_PENDING: usize = 512;

/// A connection must have sent its first frame within this time.
const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(5);

/// After this long `accept` is tried again when the process was out of descriptors.
const RETRY_ACCEPT: Duration = Duration::from_millis(100);

/// Connections that the kernel may hold for us.
const BACKLOG: i32 = 1_024;

/// Connections taken in one go, so that those that speak get their turn.
const MAX_ACCEPTS: usize = 64;

const WAKER: Token = Token(usize::MAX);

/// Token of the first pending connection; listeners are below.
const FIRST_PENDING: usize = 1_024;

/// What a silent stranger may cost.
#[derive(Clone, Copy, Debug)]
struct Limits {
    pending: usize,
    first_frame_within: Duration,
}

const LIMITS: Limits = Limits { pending: MAX_PENDING, first_frame_within: FIRST_FRAME_WITHIN };

/// A listening socket and the address that clients are told.
pub(crate) struct Listener {
    socket: TcpListener,
    advertised: SocketAddr,
}

impl Listener {
    pub(crate) fn bind(bind: SocketAddr, advertise: IpAddr) -> Result<Listener, NetError> {
        let open = || {
            let socket = Socket::new(Domain::for_address(bind), Type::STREAM, Some(Protocol::TCP))?;
            if bind.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            // A restarted server must not wait for the last one's connections to time out.
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&bind.into())?;
            socket.listen(BACKLOG)?;
            let socket = TcpListener::from_std(socket.into());
            let port = socket.local_addr()?.port();
            Ok(Listener { socket, advertised: SocketAddr::new(advertise, port) })
        };
        open().map_err(|source| NetError::Tcp { address: bind, source })
    }

    /// What clients are told.
    pub(crate) fn advertised(&self) -> SocketAddr {
        self.advertised
    }
}

/// The thread that accepts. Dropping it ends it.
pub(crate) struct Acceptor {
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    pub(crate) fn start(listeners: Vec<Listener>, mailboxes: Vec<Arc<Mailbox>>) -> io::Result<Acceptor> {
        Acceptor::with_limits(listeners, mailboxes, LIMITS)
    }

    fn with_limits(
        listeners: Vec<Listener>,
        mailboxes: Vec<Arc<Mailbox>>,
        limits: Limits,
    ) -> io::Result<Acceptor> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let mut door = Door::new(poll, listeners, mailboxes, limits)?;
        let thread = thread::Builder::new().name("ice-tcp".to_owned()).spawn(move || {
            while !stopping.load(Ordering::Acquire) {
                if let Err(error) = door.pass() {
                    tracing::error!(%error, "ICE-TCP listener failed; clients can use UDP only");
                    return;
                }
            }
        })?;
        Ok(Acceptor { waker, stop, thread: Some(thread) })
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "the ICE-TCP listener could not be woken to end");
            return;
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the ICE-TCP listener ended by a panic");
        }
    }
}

struct Pending {
    stream: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
    received: Vec<u8>,
}

/// What a pending connection has told.
enum Heard {
    /// Not enough yet.
    Nothing,
    /// It wants this shard.
    Shard(usize),
    /// It is no ICE client.
    Nonsense,
}

struct Door {
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    /// Listeners at which more connections may wait.
    backlog: Vec<usize>,
    retry_at: Option<Instant>,
    /// By token, which is never used again.
    pending: HashMap<usize, Pending>,
    /// In the order of their coming.
    deadlines: VecDeque<(Instant, usize)>,
    next_token: usize,
    mailboxes: Vec<Arc<Mailbox>>,
    limits: Limits,
}

impl Door {
    fn new(
        poll: Poll,
        mut listeners: Vec<Listener>,
        mailboxes: Vec<Arc<Mailbox>>,
        limits: Limits,
    ) -> io::Result<Door> {
        for (index, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(&mut listener.socket, Token(index), Interest::READABLE)?;
        }
        Ok(Door {
            poll,
            events: Events::with_capacity(256),
            listeners,
            backlog: Vec::new(),
            retry_at: None,
            pending: HashMap::new(),
            deadlines: VecDeque::new(),
            next_token: FIRST_PENDING,
            mailboxes,
            limits,
        })
    }

    fn pass(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let due = [self.retry_at, self.deadlines.front().map(|(at, _)| *at)];
        let timeout = match due.into_iter().flatten().min() {
            _ if !self.backlog.is_empty() && self.retry_at.is_none() => Some(Duration::ZERO),
            due => due.map(|at| at.saturating_duration_since(now)),
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let now = Instant::now();
        let tokens: Vec<_> = self.events.iter().map(|event| event.token()).collect();
        for token in tokens {
            match token {
                WAKER => return Ok(()),
                Token(index) if index < self.listeners.len() => {
                    if !self.backlog.contains(&index) {
                        self.backlog.push(index);
                    }
                }
                Token(token) => self.hear(token),
            }
        }
        self.accept_some(now);
        self.expire(now);
        Ok(())
    }

    fn accept_some(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.retry_at = None;
        let mut budget = MAX_ACCEPTS;
        while let Some(&index) = self.backlog.last() {
            if budget == 0 {
                return;
            }
            budget -= 1;
            match self.listeners[index].socket.accept() {
                Ok((stream, remote)) => self.admit(now, stream, self.listeners[index].advertised, remote),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.backlog.pop();
                }
                // The client changed its mind.
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    tracing::warn!(%error, "ICE-TCP connection not accepted; check the limit on open files");
                    self.retry_at = Some(now + RETRY_ACCEPT);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, now: Instant, mut stream: TcpStream, local: SocketAddr, remote: SocketAddr) {
        while self.pending.len() >= self.limits.pending {
            let Some((_, oldest)) = self.deadlines.pop_front() else { break };
            self.drop_pending(oldest);
        }
        let token = self.next_token;
        self.next_token += 1;
        if let Err(error) = self.poll.registry().register(&mut stream, Token(token), Interest::READABLE) {
            tracing::warn!(%error, "ICE-TCP connection not registered");
            return;
        }
        self.pending.insert(token, Pending { stream, local, remote, received: Vec::new() });
        self.deadlines.push_back((now + self.limits.first_frame_within, token));
    }

    /// Reads from a pending connection, and hands it over or drops it when it has told enough.
    fn hear(&mut self, token: usize) {
        let Some(pending) = self.pending.get_mut(&token) else { return };
        let heard = match read_some(pending) {
            Ok(()) => judge(&pending.received),
            Err(_) => Heard::Nonsense,
        };
        match heard {
            Heard::Nothing => {}
            Heard::Nonsense => drop(self.drop_pending(token)),
            Heard::Shard(shard) => {
                let Some(pending) = self.drop_pending(token) else { return };
                let Some(mailbox) = self.mailboxes.get(shard) else { return };
                let Pending { stream, local, remote, received } = pending;
                let handover = TcpHandover { stream: stream.into(), local, remote, received };
                if mailbox.try_send(Command::Tcp(Box::new(handover))).is_err() {
                    tracing::debug!(shard, "shard is too busy for an ICE-TCP connection");
                }
            }
        }
    }

    fn drop_pending(&mut self, token: usize) -> Option<Pending> {
        let mut pending = self.pending.remove(&token)?;
        if let Err(error) = self.poll.registry().deregister(&mut pending.stream) {
            tracing::debug!(%error, "connection not deregistered");
        }
        Some(pending)
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&(at, token)) = self.deadlines.front() {
            if at > now {
                return;
            }
            self.deadlines.pop_front();
            self.drop_pending(token);
        }
    }
}

/// Reads at most what the first frame may take; more than that is left to the shard.
fn read_some(pending: &mut Pending) -> io::Result<()> {
    let mut chunk = [0; framing::MAX_FRAME];
    loop {
        let space = framing::MAX_FRAME - pending.received.len();
        if space == 0 {
            return Ok(());
        }
        match pending.stream.read(&mut chunk[..space]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => pending.received.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn judge(received: &[u8]) -> Heard {
    match framing::first(received) {
        Ok(None) => Heard::Nothing,
        Ok(Some(range)) => match StunMessage::parse(&received[range]) {
            Ok(message) if message.is_binding_request() => {
                let ufrag = message.split_username().map(|(local, _)| local);
                ufrag.and_then(shard_of_ufrag).map_or(Heard::Nonsense, Heard::Shard)
            }
            _ => Heard::Nonsense,
        },
        Err(_) => Heard::Nonsense,
    }
}

#[cfg(test)]
mod tests;
