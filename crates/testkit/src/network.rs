//! A network that exists only in virtual time: links with rate, delay, jitter, loss and a queue. What goes
//! in comes out later, or not at all, and the same seed always decides the same.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hasher};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rtc::Path;

/// How one direction between a client and the server behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// One way, without queueing.
    pub delay: Duration,
    /// Up to so much more, at random: also what reorders.
    pub jitter: Duration,
    /// 0.0..=1.0, of each datagram independently.
    pub loss: f64,
    /// Datagrams arrive twice with this probability.
    pub duplication: f64,
    /// Bottleneck in bit/s; `None` is unlimited.
    pub rate_bps: Option<u64>,
    /// What the bottleneck queues before it drops.
    pub queue: Duration,
}

impl Conditions {
    /// A local network: half a millisecond and nothing else.
    pub const IDEAL: Conditions = Conditions {
        delay: Duration::from_micros(500),
        jitter: Duration::ZERO,
        loss: 0.0,
        duplication: 0.0,
        rate_bps: None,
        queue: Duration::from_millis(300),
    };

    /// Nothing passes.
    pub const CUT: Conditions = Conditions { loss: 1.0, ..Conditions::IDEAL };

    /// Something between fair and awful.
    pub fn random(rng: &mut Rng) -> Conditions {
        Conditions {
            delay: Duration::from_millis(rng.u64(1..80)),
            jitter: Duration::from_millis(if rng.bool() { rng.u64(0..25) } else { 0 }),
            loss: if rng.bool() { rng.f64() * 0.08 } else { 0.0 },
            duplication: if rng.u8(..4) == 0 { rng.f64() * 0.02 } else { 0.0 },
            rate_bps: (rng.u8(..3) == 0).then(|| rng.u64(600_000..6_000_000)),
            queue: Duration::from_millis(rng.u64(50..400)),
        }
    }
}

/// One direction of a connection.
#[derive(Debug)]
pub struct Link {
    pub conditions: Conditions,
    /// When the bottleneck will have sent what it holds.
    busy_until: Option<Instant>,
}

impl Link {
    pub fn new(conditions: Conditions) -> Link {
        Link { conditions, busy_until: None }
    }

    /// When a datagram that enters now comes out; `None` if it is lost.
    fn arrival(&mut self, now: Instant, bytes: usize, rng: &mut Rng) -> Option<Instant> {
        let conditions = &self.conditions;
        // Drawn in any case, so that a change of one condition does not shift all later draws.
        let (lost, jitter) = (rng.f64(), rng.f64());
        if lost < conditions.loss {
            return None;
        }
        let mut leaves = now;
        if let Some(rate_bps) = conditions.rate_bps {
            let start = self.busy_until.map_or(now, |busy| busy.max(now));
            if start.duration_since(now) > conditions.queue {
                return None;
            }
            leaves = start + Duration::from_nanos(bytes as u64 * 8 * 1_000_000_000 / rate_bps.max(1));
            self.busy_until = Some(leaves);
        }
        Some(leaves + conditions.delay + conditions.jitter.mul_f64(jitter))
    }
}

/// A datagram on its way.
#[derive(Debug)]
pub struct Delivery {
    pub at: Instant,
    /// As the receiver sees it: `local` is the receiver's address.
    pub path: Path,
    pub bytes: Vec<u8>,
    order: u64,
}

impl PartialEq for Delivery {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Delivery {}

impl PartialOrd for Delivery {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delivery {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Everything that is under way, whoever sent it.
#[derive(Debug)]
pub struct Network {
    rng: Rng,
    in_flight: BinaryHeap<Reverse<Delivery>>,
    order: u64,
    digest: DefaultHasher,
}

impl Network {
    pub fn new(seed: u64) -> Network {
        Network {
            rng: Rng::with_seed(seed),
            in_flight: BinaryHeap::new(),
            order: 0,
            digest: DefaultHasher::new(),
        }
    }

    /// Stands for everything that was sent so far, and when: two runs that differ anywhere differ here.
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// Puts a datagram on a link. `path` is as the sender sees it.
    pub fn send(&mut self, now: Instant, link: &mut Link, path: &Path, bytes: Vec<u8>) {
        let size = size_on_wire(&bytes);
        self.digest.write_usize(size);
        let copies = if self.rng.f64() < link.conditions.duplication { 2 } else { 1 };
        for _ in 0..copies {
            let Some(at) = link.arrival(now, size, &mut self.rng) else { continue };
            self.order += 1;
            self.digest.write_u128(at.duration_since(now).as_nanos());
            let path = Path { proto: path.proto, local: path.remote, remote: path.local };
            self.in_flight.push(Reverse(Delivery { at, path, bytes: bytes.clone(), order: self.order }));
        }
    }

    /// When the next datagram arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.in_flight.peek().map(|Reverse(delivery)| delivery.at)
    }

    /// The next datagram that has arrived by `now`.
    pub fn poll(&mut self, now: Instant) -> Option<Delivery> {
        if self.next_arrival()? > now {
            return None;
        }
        self.in_flight.pop().map(|Reverse(delivery)| delivery)
    }
}

/// Bytes on the wire. Handshakes count as if they were all alike: their signatures vary in length by chance.
fn size_on_wire(datagram: &[u8]) -> usize {
    const HEADERS: usize = 28;
    const HANDSHAKE: u8 = 22;
    HEADERS + if datagram.first() == Some(&HANDSHAKE) { 600 } else { datagram.len() }
}
