//! The product's egress with a stop-watch: what sending takes, and between slot and commit what writing and
//! sealing a packet takes.

use std::time::{Duration, Instant};

use net::UdpEgress;
use rtc::{Egress, Path};

pub(crate) struct TimedEgress<'a> {
    inner: &'a mut UdpEgress,
    split: bool,
    opened: Option<Instant>,
    sealing: Duration,
    slots: u64,
    sending: Duration,
}

impl<'a> TimedEgress<'a> {
    /// `split`: look at the clock twice for each packet.
    pub(crate) fn new(inner: &'a mut UdpEgress, split: bool) -> TimedEgress<'a> {
        TimedEgress { inner, split, opened: None, sealing: Duration::ZERO, slots: 0, sending: Duration::ZERO }
    }

    pub(crate) fn inner(&self) -> &UdpEgress {
        self.inner
    }

    /// Time within system calls that send.
    pub(crate) fn sending(&self) -> Duration {
        self.sending
    }

    /// Time between slots and commits, …
    pub(crate) fn sealing(&self) -> Duration {
        self.sealing
    }

    /// … and how many there were.
    pub(crate) fn slots(&self) -> u64 {
        self.slots
    }

    pub(crate) fn flush(&mut self) {
        let begin = Instant::now();
        self.inner.flush();
        self.sending += begin.elapsed();
    }
}

impl Egress for TimedEgress<'_> {
    #[inline]
    fn slot(&mut self, path: &Path, max_len: usize) -> &mut [u8] {
        if self.inner.is_full(max_len) {
            self.flush();
        }
        self.opened = self.split.then(Instant::now);
        self.inner.slot(path, max_len)
    }

    #[inline]
    fn commit(&mut self, len: usize) {
        if let Some(opened) = self.opened.take() {
            self.sealing += opened.elapsed();
            self.slots += 1;
        }
        self.inner.commit(len);
    }
}
