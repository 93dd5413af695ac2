//! Datagrams on their way out: peers write them side by side into one buffer, runs of equal size to one
//! destination become one GSO message, and the messages of the whole buffer leave in few system calls.

use std::io::{self, ErrorKind};
use std::ops::Range;

use rtc::{Egress, MAX_DATAGRAM, Path, Proto};

use super::UdpPort;
use super::sendmmsg::{self, MAX_GSO_BYTES, MAX_GSO_SEGMENTS, MAX_MESSAGES, Message};

/// The buffer, in bytes: small enough to stay in a core's second-level cache between sealing and the
/// kernel's copy, large enough for twenty frames of ten packets.
const BUFFER: usize = 256 * 1024;

/// Messages that wait, whatever their size: 16 calls' worth of audio packets.
const MAX_WAITING: usize = 16 * MAX_MESSAGES;

/// Counters of a [`UdpEgress`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UdpStats {
    /// Datagrams and bytes that the kernel took.
    pub packets: u64,
    pub bytes: u64,
    pub calls: u64,
    /// Datagrams dropped because the send buffer was full, or because the kernel refused them.
    pub dropped_full: u64,
    pub dropped_error: u64,
}

/// A batch of datagrams to send from the sockets of one shard.
pub struct UdpEgress {
    ports: Vec<UdpPort>,
    /// Per port: whether runs may go out as one message.
    gso: Vec<bool>,
    buffer: Box<[u8]>,
    used: usize,
    /// Per port, what waits.
    waiting: Vec<Vec<Message>>,
    waiting_count: usize,
    slot: Slot,
    stats: UdpStats,
}

/// The slot handed out last: from which port, to where.
#[derive(Clone, Copy)]
struct Slot {
    path: Path,
    port: Option<usize>,
}

impl UdpEgress {
    /// Takes the sockets over; there must be no more than a handful of them.
    pub fn new(ports: Vec<UdpPort>) -> UdpEgress {
        let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        UdpEgress {
            gso: ports.iter().map(UdpPort::supports_gso).collect(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            used: 0,
            waiting: ports.iter().map(|_| Vec::with_capacity(MAX_WAITING)).collect(),
            waiting_count: 0,
            slot: Slot { path: Path { proto: Proto::Udp, local: nowhere, remote: nowhere }, port: None },
            stats: UdpStats::default(),
            ports,
        }
    }

    /// The sockets, in the order given.
    pub fn ports(&self) -> &[UdpPort] {
        &self.ports
    }

    /// What was sent and dropped so far.
    pub fn stats(&self) -> UdpStats {
        self.stats
    }

    /// Whether anything waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Whether a slot of `max_len` bytes makes the egress send first.
    #[inline]
    pub fn is_full(&self, max_len: usize) -> bool {
        self.buffer.len() - self.used < max_len || self.waiting_count >= MAX_WAITING
    }

    /// Sends everything that waits. What the kernel does not take is dropped and counted: it is media, and
    /// waiting would make it late for everybody else too.
    pub fn flush(&mut self) {
        for port in 0..self.ports.len() {
            let mut messages = std::mem::take(&mut self.waiting[port]);
            self.send_all(port, &messages);
            messages.clear();
            self.waiting[port] = messages;
        }
        self.waiting_count = 0;
        self.used = 0;
    }

    fn send_all(&mut self, port: usize, messages: &[Message]) {
        let mut rest = messages;
        while let Some(first) = rest.first() {
            match self.call(port, rest) {
                Ok(sent) => {
                    let (gone, left) = rest.split_at(sent.min(rest.len()));
                    self.stats.packets += gone.iter().map(|message| message.count() as u64).sum::<u64>();
                    self.stats.bytes += gone.iter().map(|message| message.bytes.len() as u64).sum::<u64>();
                    rest = left;
                }
                Err(error) => match Remedy::of(&error, first.count() > 1) {
                    Remedy::Again => {}
                    Remedy::DropAll => {
                        self.stats.dropped_full +=
                            rest.iter().map(|message| message.count() as u64).sum::<u64>();
                        return;
                    }
                    Remedy::DropOne => {
                        tracing::debug!(%error, destination = %first.destination, "datagram not sent");
                        self.stats.dropped_error += first.count() as u64;
                        rest = &rest[1..];
                    }
                    Remedy::Split { for_good } => {
                        if for_good && self.gso[port] {
                            tracing::warn!(%error, "the interface cannot segment UDP; sending datagrams one by one");
                            self.gso[port] = false;
                        }
                        let singles: Vec<_> = split(first).collect();
                        self.send_all(port, &singles);
                        rest = &rest[1..];
                    }
                },
            }
        }
    }

    fn call(&mut self, port: usize, messages: &[Message]) -> io::Result<usize> {
        self.stats.calls += 1;
        sendmmsg::send(std::os::fd::AsFd::as_fd(&self.ports[port]), &self.buffer, messages)
    }

    fn port_of(&self, path: &Path) -> Option<usize> {
        self.ports.iter().position(|port| port.advertised().contains(&path.local))
    }
}

impl Egress for UdpEgress {
    #[inline]
    fn slot(&mut self, path: &Path, max_len: usize) -> &mut [u8] {
        debug_assert!(max_len <= MAX_DATAGRAM, "a datagram of {max_len} bytes fits no frame");
        if self.is_full(max_len) {
            self.flush();
        }
        if *path != self.slot.path || self.slot.port.is_none() {
            self.slot = Slot { path: *path, port: self.port_of(path) };
        }
        &mut self.buffer[self.used..][..max_len]
    }

    #[inline]
    fn commit(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        let Some(port) = self.slot.port else {
            self.stats.dropped_error += 1;
            return;
        };
        let bytes = self.used..self.used + len;
        self.used = bytes.end;
        let waiting = &mut self.waiting[port];
        match waiting.last_mut() {
            Some(last)
                if self.gso[port] && last.destination == self.slot.path.remote && joins(last, &bytes) =>
            {
                last.bytes.end = bytes.end;
            }
            _ => {
                let destination = self.slot.path.remote;
                waiting.push(Message { segment: bytes.len(), bytes, destination });
                self.waiting_count += 1;
            }
        }
    }
}

/// Whether a datagram may become the last of a run: the run is made of whole segments so far and has room,
/// the datagram is no longer than a segment, and it lies right behind.
#[inline]
fn joins(run: &Message, next: &Range<usize>) -> bool {
    run.bytes.end == next.start
        && run.bytes.len().is_multiple_of(run.segment)
        && next.len() <= run.segment
        && run.bytes.len() + next.len() <= MAX_GSO_BYTES
        && run.bytes.len() / run.segment < MAX_GSO_SEGMENTS
}

/// The datagrams of a run as messages of their own.
fn split(run: &Message) -> impl Iterator<Item = Message> {
    let (bytes, segment, destination) = (run.bytes.clone(), run.segment, run.destination);
    bytes.clone().step_by(segment).map(move |start| {
        let end = bytes.end.min(start + segment);
        Message { bytes: start..end, segment: end - start, destination }
    })
}

/// What to do about a failed call.
#[derive(Debug, PartialEq, Eq)]
enum Remedy {
    Again,
    DropAll,
    DropOne,
    /// Send the run's datagrams singly; `for_good` when runs will never work here.
    Split {
        for_good: bool,
    },
}

impl Remedy {
    fn of(error: &io::Error, is_run: bool) -> Remedy {
        match (error.kind(), error.raw_os_error()) {
            (ErrorKind::Interrupted, _) => Remedy::Again,
            (ErrorKind::WouldBlock, _) | (_, Some(libc::ENOBUFS)) => Remedy::DropAll,
            // The device has no checksum offload, which GSO needs.
            (_, Some(libc::EIO)) if is_run => Remedy::Split { for_good: true },
            // The way to this one destination has a smaller MTU than a segment.
            (_, Some(libc::EINVAL | libc::EMSGSIZE)) if is_run => Remedy::Split { for_good: false },
            _ => Remedy::DropOne,
        }
    }
}

#[cfg(test)]
mod tests;
