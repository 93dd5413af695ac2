//! The ICE-TCP connections of one shard, once it is known whom they are for.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rtc::Path;

use super::framing;

/// Connections of a shard: file descriptors, and half a megabyte each in the worst case.
const MAX_CONNECTIONS: usize = 1_024;

/// Bytes that may wait for a slow reader: one second of 4 Mbit/s. Media beyond it would come too late.
const MAX_BACKLOG: usize = 512 * 1024;

/// The queue's memory is given back when it is this large and empty.
const KEEP_CAPACITY: usize = 64 * 1024;

/// ICE must validate a connection within this time.
const VALIDATE_WITHIN: Duration = Duration::from_secs(10);

/// What a read left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadStatus {
    /// More may wait.
    More,
    Drained,
    Closed,
}

struct Connection {
    stream: TcpStream,
    path: Path,
    serial: u64,
    validated: bool,
    /// The beginning of a frame.
    partial: Vec<u8>,
    backlog: Vec<u8>,
    /// So much of `backlog` is written.
    written: usize,
    dirty: bool,
}

/// All connections of a shard, by token and by path.
pub(crate) struct Connections {
    registry: Registry,
    /// Token of the connection with index 0.
    first_token: usize,
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    by_path: HashMap<Path, usize>,
    /// Have something to write.
    dirty: Vec<usize>,
    /// Until when each new connection must be validated, in order.
    deadlines: VecDeque<(Instant, usize, u64)>,
    next_serial: u64,
    /// Datagrams dropped for a slow reader or a missing connection.
    pub(crate) dropped: u64,
}

impl Connections {
    pub(crate) fn new(registry: Registry, first_token: usize) -> Connections {
        Connections {
            registry,
            first_token,
            slots: Vec::new(),
            free: Vec::new(),
            by_path: HashMap::new(),
            dirty: Vec::new(),
            deadlines: VecDeque::new(),
            next_serial: 0,
            dropped: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Index of the connection that an event's token is for.
    pub(crate) fn index_of(&self, token: Token) -> Option<usize> {
        let index = token.0.checked_sub(self.first_token)?;
        self.slots.get(index)?.is_some().then_some(index)
    }

    pub(crate) fn path(&self, index: usize) -> Option<Path> {
        Some(self.slots.get(index)?.as_ref()?.path)
    }

    /// Takes a connection in; `received` is what was read of it already. Returns its index.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        mut stream: TcpStream,
        path: Path,
        received: Vec<u8>,
    ) -> io::Result<usize> {
        if self.len() >= MAX_CONNECTIONS {
            return Err(ErrorKind::QuotaExceeded.into());
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let token = Token(self.first_token + index);
        if let Err(error) =
            self.registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)
        {
            self.free.push(index);
            return Err(error);
        }
        self.next_serial += 1;
        self.deadlines.push_back((now + VALIDATE_WITHIN, index, self.next_serial));
        self.slots[index] = Some(Connection {
            stream,
            path,
            serial: self.next_serial,
            validated: false,
            partial: received,
            backlog: Vec::new(),
            written: 0,
            dirty: false,
        });
        if let Some(old) = self.by_path.insert(path, index) {
            // The client's port came around before we noticed the end of its last use.
            self.discard(old);
        }
        Ok(index)
    }

    /// Reads what waits, behind what was left of the last read. Returns the bytes now in `scratch`.
    pub(crate) fn read(&mut self, index: usize, scratch: &mut [u8]) -> (usize, ReadStatus) {
        let Some(Some(connection)) = self.slots.get_mut(index) else { return (0, ReadStatus::Closed) };
        let kept = connection.partial.len();
        scratch[..kept].copy_from_slice(&connection.partial);
        connection.partial.clear();
        let space = scratch.len() - kept;
        loop {
            match connection.stream.read(&mut scratch[kept..]) {
                Ok(0) => return (kept, ReadStatus::Closed),
                Ok(read) if read == space => return (kept + read, ReadStatus::More),
                Ok(read) => return (kept + read, ReadStatus::Drained),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return (kept, ReadStatus::Drained),
                Err(_) => return (kept, ReadStatus::Closed),
            }
        }
    }

    /// Keeps the beginning of a frame for the next read.
    pub(crate) fn keep(&mut self, index: usize, partial: &[u8]) {
        debug_assert!(partial.len() < framing::MAX_FRAME);
        if let Some(Some(connection)) = self.slots.get_mut(index) {
            connection.partial.extend_from_slice(partial);
        }
    }

    /// ICE trusts this way.
    pub(crate) fn validated(&mut self, path: &Path) {
        if let Some(Some(connection)) = self.by_path.get(path).map(|index| &mut self.slots[*index]) {
            connection.validated = true;
        }
    }

    /// Queues a datagram; drops it when its reader is too slow.
    pub(crate) fn queue(&mut self, path: &Path, datagram: &[u8]) {
        let Some(&index) = self.by_path.get(path) else {
            self.dropped += 1;
            return;
        };
        let Some(connection) = &mut self.slots[index] else { return };
        if connection.backlog.len() - connection.written + datagram.len() > MAX_BACKLOG {
            self.dropped += 1;
            return;
        }
        connection.backlog.extend_from_slice(&framing::header(datagram));
        connection.backlog.extend_from_slice(datagram);
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push(index);
        }
    }

    /// Writes what the sockets take.
    pub(crate) fn flush(&mut self) {
        while let Some(index) = self.dirty.pop() {
            self.write(index);
        }
    }

    /// Bytes that wait for all readers together.
    pub(crate) fn backlog(&self) -> usize {
        self.slots.iter().flatten().map(|connection| connection.backlog.len() - connection.written).sum()
    }

    /// Writes what the socket takes; to be called when it has become writable.
    pub(crate) fn write(&mut self, index: usize) {
        let Some(Some(connection)) = self.slots.get_mut(index) else { return };
        connection.dirty = false;
        while connection.written < connection.backlog.len() {
            match connection.stream.write(&connection.backlog[connection.written..]) {
                Ok(written) => connection.written += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.close(index),
            }
        }
        if connection.written == connection.backlog.len() {
            connection.backlog.clear();
            connection.written = 0;
            if connection.backlog.capacity() > KEEP_CAPACITY {
                connection.backlog.shrink_to(KEEP_CAPACITY);
            }
        } else if connection.written > MAX_BACKLOG / 2 {
            connection.backlog.drain(..connection.written);
            connection.written = 0;
        }
    }

    /// Ends the connection of a way that nobody owns any more.
    pub(crate) fn close_path(&mut self, path: &Path) {
        if let Some(&index) = self.by_path.get(path) {
            // A goodbye may still be on its way.
            self.write(index);
            self.close(index);
        }
    }

    pub(crate) fn close(&mut self, index: usize) {
        let Some(Some(connection)) = self.slots.get(index) else { return };
        if self.by_path.get(&connection.path) == Some(&index) {
            self.by_path.remove(&connection.path);
        }
        self.discard(index);
    }

    fn discard(&mut self, index: usize) {
        let Some(mut connection) = self.slots[index].take() else { return };
        if let Err(error) = self.registry.deregister(&mut connection.stream) {
            tracing::debug!(%error, "connection not deregistered");
        }
        self.free.push(index);
    }

    /// Closes the connections that ICE did not validate in time.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(&(at, index, serial)) = self.deadlines.front() {
            if at > now {
                return;
            }
            self.deadlines.pop_front();
            let stale = |connection: &Connection| connection.serial == serial && !connection.validated;
            if self.slots[index].as_ref().is_some_and(stale) {
                self.close(index);
            }
        }
    }

    /// When [`Self::expire`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.front().map(|(at, ..)| *at)
    }
}

#[cfg(test)]
mod tests;
