//! A shard: one thread that owns a UDP port, the rooms pinned to it and everything they need.
//!
//! One pass of its loop: wait → datagrams → commands → timers → what the rooms said → send. A pass takes a
//! bounded part of each, so that neither a flood of packets nor one of signals starves the other.

mod commands;
mod core;
mod egress;
mod relay;
mod rooms;
mod routes;
mod start;

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use tokio::sync::oneshot;

use self::core::Core;
use crate::mailbox::Inbox;
use crate::tcp::{ReadStatus, framing};
use crate::udp::UdpReceiver;

pub use relay::RelayEnd;
pub(crate) use start::start_all;

/// Shards of a process: two hexadecimal digits of each ufrag name one.
pub(crate) const MAX_SHARDS: usize = 256;

/// Batches taken from one socket in a pass: some hundred to some thousand datagrams.
const MAX_BATCHES: usize = 4;

/// Commands carried out in a pass; a join costs some hundred microseconds.
const MAX_COMMANDS: usize = 64;

/// Bytes read from one TCP connection in a pass.
const TCP_READ: usize = 64 * 1024;

/// What the last messages may take to leave when the process ends.
const LINGER: Duration = Duration::from_millis(250);

/// How long a pass of the last flush waits for slow TCP readers.
const LINGER_STEP: Duration = Duration::from_millis(10);

const WAKER: Token = Token(usize::MAX);

/// Token of a shard's first TCP connection; UDP sockets are below.
const FIRST_CONNECTION: usize = 1_024;

/// Token of a shard's first bridge to another node; connections are below.
const FIRST_RELAY: usize = 1 << 32;

/// What each ICE ufrag of a shard begins with.
pub(crate) fn ufrag_prefix(shard: usize) -> String {
    debug_assert!(shard < MAX_SHARDS);
    format!("{shard:02x}")
}

/// The shard that a ufrag was made by.
pub(crate) fn shard_of_ufrag(ufrag: &str) -> Option<usize> {
    let digits = ufrag.get(..2)?;
    let canonical = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    canonical.then(|| usize::from_str_radix(digits, 16).ok()).flatten()
}

/// The thread's state: the loop and its sources of events around the [`Core`].
struct Shard {
    poll: Poll,
    events: Events,
    inbox: Inbox,
    receiver: UdpReceiver,
    scratch: Box<[u8]>,
    core: Core,
    /// Sockets and connections at which more may wait: events come only when something new arrives.
    ready_ports: Vec<usize>,
    ready_connections: Vec<usize>,
    more_commands: bool,
    ending: Option<oneshot::Sender<()>>,
}

impl Shard {
    fn new(poll: Poll, inbox: Inbox, core: Core) -> Shard {
        Shard {
            poll,
            events: Events::with_capacity(256),
            inbox,
            receiver: UdpReceiver::default(),
            scratch: vec![0; TCP_READ + framing::MAX_FRAME].into_boxed_slice(),
            // What arrived before the sockets were registered raised no event.
            ready_ports: (0..core.egress.udp.ports().len()).collect(),
            ready_connections: Vec::new(),
            more_commands: false,
            ending: None,
            core,
        }
    }

    /// Runs until told to end. A fault within a room ends that room, not the others.
    fn run(mut self) {
        while self.ending.is_none() {
            if catch_unwind(AssertUnwindSafe(|| self.pass())).is_err() {
                self.core.contain_panic();
            }
        }
        if catch_unwind(AssertUnwindSafe(|| self.linger())).is_err() {
            tracing::error!("a shard's last flush failed; some clients will notice the end by themselves");
        }
        // Nobody may be waiting any more.
        let _ = self.ending.take().map(|done| done.send(()));
    }

    fn pass(&mut self) {
        self.wait();
        let now = Instant::now();
        if !self.core.fence.is_open(now) {
            self.core.abandon_all(now);
        }
        self.receive_udp(now);
        self.receive_tcp(now);
        self.carry_out_commands(now);
        self.core.run_timers(now);
        self.core.settle(now);
        self.core.egress.flush();
    }

    /// Sleeps until there is something to do, and notes where.
    fn wait(&mut self) {
        let busy = self.more_commands || !self.ready_ports.is_empty() || !self.ready_connections.is_empty();
        let timeout = match self.core.poll_timeout() {
            _ if busy => Some(Duration::ZERO),
            due => due.map(|due| due.saturating_duration_since(Instant::now())),
        };
        self.collect(timeout);
    }

    fn collect(&mut self, timeout: Option<Duration>) {
        if let Err(error) = self.poll.poll(&mut self.events, timeout)
            && error.kind() != ErrorKind::Interrupted
        {
            tracing::error!(%error, "a shard cannot wait for events; it looks at everything every 10 ms");
            std::thread::sleep(LINGER_STEP);
            self.ready_ports = (0..self.core.egress.udp.ports().len()).collect();
        }
        for event in &self.events {
            let token = event.token();
            if token == WAKER {
                continue;
            }
            if token.0 < FIRST_CONNECTION {
                if event.is_readable() && !self.ready_ports.contains(&token.0) {
                    self.ready_ports.push(token.0);
                }
                continue;
            }
            if token.0 >= FIRST_RELAY {
                self.core.relay_readable(token, &mut self.scratch);
                continue;
            }
            let Some(index) = self.core.egress.tcp.index_of(token) else { continue };
            if event.is_writable() {
                self.core.egress.tcp.write(index);
            }
            if event.is_readable() && !self.ready_connections.contains(&index) {
                self.ready_connections.push(index);
            }
        }
    }

    fn receive_udp(&mut self, now: Instant) {
        for _ in 0..self.ready_ports.len() {
            let port = self.ready_ports.remove(0);
            if self.receive_port(now, port) {
                self.ready_ports.push(port);
            }
        }
    }

    /// Takes a few batches; each is forwarded and sent before the next. Says whether more may wait.
    fn receive_port(&mut self, now: Instant, port: usize) -> bool {
        for _ in 0..MAX_BATCHES {
            let Some(socket) = self.core.egress.udp.ports().get(port) else { return false };
            let Some(&local) = socket.advertised().first() else { return false };
            let count = match self.receiver.receive(socket) {
                Ok(count) => count,
                Err(error) => {
                    tracing::debug!(%error, "receiving failed");
                    return false;
                }
            };
            self.core.stats.receive_calls += 1;
            for run in self.receiver.messages(count) {
                let path = rtc::Path { proto: rtc::Proto::Udp, local, remote: run.remote };
                self.core.on_run(now, &path, run.bytes, run.stride);
            }
            self.core.settle(now);
            self.core.egress.flush();
            if count < UdpReceiver::BATCH {
                return false;
            }
        }
        true
    }

    fn receive_tcp(&mut self, now: Instant) {
        for _ in 0..self.ready_connections.len() {
            let index = self.ready_connections.remove(0);
            if self.receive_connection(now, index) {
                self.ready_connections.push(index);
            }
        }
    }

    fn receive_connection(&mut self, now: Instant, index: usize) -> bool {
        let Some(path) = self.core.egress.tcp.path(index) else { return false };
        let (len, status) = self.core.egress.tcp.read(index, &mut self.scratch);
        let mut rest = &mut self.scratch[..len];
        let intact = loop {
            match framing::first(rest) {
                Ok(Some(range)) => {
                    let (frame, behind) = std::mem::take(&mut rest).split_at_mut(range.end);
                    rest = behind;
                    let datagram = &mut frame[range];
                    let stride = datagram.len();
                    self.core.on_run(now, &path, datagram, stride);
                }
                Ok(None) => break true,
                Err(error) => {
                    tracing::debug!(%error, remote = %path.remote, "ICE-TCP connection refused");
                    break false;
                }
            }
        };
        // The room may have closed this very connection; then there is nothing to keep and nothing to close.
        if self.core.egress.tcp.path(index) != Some(path) {
            return false;
        }
        if !intact || status == ReadStatus::Closed {
            self.core.egress.tcp.close(index);
            return false;
        }
        self.core.egress.tcp.keep(index, rest);
        status == ReadStatus::More
    }

    fn carry_out_commands(&mut self, now: Instant) {
        self.inbox.acknowledge();
        if self.inbox.take_sweep() {
            self.core.sweep_sessions(now);
        }
        self.more_commands = false;
        for _ in 0..MAX_COMMANDS {
            let Some(command) = self.inbox.take() else { return };
            match self.core.carry_out(now, command) {
                commands::Then::Continue => {}
                commands::Then::ReadConnection(index) => self.ready_connections.push(index),
                commands::Then::End(done) => {
                    self.ending = Some(done);
                    return;
                }
            }
        }
        self.more_commands = true;
    }

    /// Says goodbye everywhere and gives slow TCP readers a moment.
    fn linger(&mut self) {
        let end = Instant::now() + LINGER;
        self.core.close_all(Instant::now());
        self.core.egress.flush();
        while self.core.egress.tcp.backlog() > 0 && Instant::now() < end {
            self.collect(Some(LINGER_STEP));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ufrag_tells_its_shard() {
        for shard in [0, 9, 10, 255] {
            assert_eq!(shard_of_ufrag(&(ufrag_prefix(shard) + "Xy+/")), Some(shard));
        }
    }

    #[test]
    fn a_foreign_ufrag_tells_nothing() {
        for ufrag in ["", "a", "+1ab", "Zz12", "AB12", "é123"] {
            assert_eq!(shard_of_ufrag(ufrag), None, "{ufrag}");
        }
    }
}
