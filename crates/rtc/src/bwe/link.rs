//! For tests: one sender, one bottleneck and one receiver on a virtual clock.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::Estimator;
use crate::twcc::{ClusterId, SentPackets, TwccRecorder};

const RETURN_DELAY_MS: u64 = 25;
const PACKET_BYTES: usize = 1200;

/// A bottleneck: a queue served at a rate, then propagation, jitter and random loss.
pub(super) struct Link {
    pub(super) capacity_bps: f64,
    /// Longest queue, in time; beyond it packets drop.
    pub(super) max_queue_ms: f64,
    pub(super) delay_ms: f64,
    /// Each packet is delayed by up to this much more, but never overtakes.
    pub(super) jitter_ms: f64,
    pub(super) loss: f64,
    /// Other traffic through the same queue.
    pub(super) cross_bps: f64,
}

impl Link {
    pub(super) fn new(capacity_bps: f64) -> Link {
        Link { capacity_bps, max_queue_ms: 500.0, delay_ms: 25.0, jitter_ms: 1.0, loss: 0.0, cross_bps: 0.0 }
    }
}

/// What the sender sends.
#[derive(Clone)]
pub(super) enum Media {
    /// As much as the estimate allows, up to so much.
    Follows(f64),
    /// The best of these encodings that fits the estimate, at least the first.
    Layers(Vec<f64>),
    /// Just this, whatever the estimate says.
    Constant(f64),
}

impl Media {
    fn wanted_bps(&self) -> f64 {
        match self {
            Media::Follows(bps) | Media::Constant(bps) => *bps,
            Media::Layers(layers) => layers[layers.len() - 1],
        }
    }

    fn rate_bps(&self, estimate_bps: f64) -> f64 {
        match self {
            Media::Follows(most) => most.min(estimate_bps),
            Media::Constant(bps) => *bps,
            Media::Layers(layers) => {
                layers.iter().copied().filter(|bps| *bps <= estimate_bps).fold(layers[0], f64::max)
            }
        }
    }
}

pub(super) struct Simulation {
    pub(super) link: Link,
    pub(super) media: Media,
    pub(super) estimator: Estimator,
    /// Whether the allocator tells what it would need.
    pub(super) wishes: bool,
    /// The estimate at every 100 ms.
    pub(super) trace: Vec<f64>,
    pub(super) padding_bytes: usize,
    /// Longest queue met by any packet, in ms, since it was last taken.
    pub(super) worst_queue_ms: f64,
    sent: SentPackets,
    recorder: TwccRecorder,
    epoch: Instant,
    now_ms: u64,
    /// When the bottleneck will have served everything, in µs.
    free_us: f64,
    last_arrival_us: u64,
    on_the_way: BTreeSet<(u64, u16, bool)>,
    feedback: VecDeque<Feedback>,
    rng: u64,
}

struct Feedback {
    at_ms: u64,
    reference_ticks: i64,
    statuses: Vec<(u16, Option<i16>)>,
}

impl Simulation {
    pub(super) fn new(link: Link, media: Media, initial_bps: u64, seed: u64) -> Simulation {
        let epoch = Instant::now();
        let mut estimator = Estimator::new(initial_bps, 50_000, 50_000_000);
        estimator.start(epoch);
        Simulation {
            link,
            media,
            estimator,
            wishes: true,
            trace: Vec::new(),
            padding_bytes: 0,
            worst_queue_ms: 0.0,
            sent: SentPackets::new(epoch, 65_000),
            recorder: TwccRecorder::new(epoch),
            epoch,
            now_ms: 0,
            free_us: 0.0,
            last_arrival_us: 0,
            on_the_way: BTreeSet::new(),
            feedback: VecDeque::new(),
            rng: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.epoch + Duration::from_millis(self.now_ms)
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, seconds: f64) {
        for _ in 0..(seconds * 1000.0) as u64 {
            self.step();
            self.now_ms += 1;
        }
    }

    /// Median of the estimate over the last seconds.
    pub(super) fn median_bps(&self, seconds: usize) -> f64 {
        let mut last = self.trace[self.trace.len().saturating_sub(seconds * 10)..].to_vec();
        last.sort_by(f64::total_cmp);
        last[last.len() / 2]
    }

    pub(super) fn estimate_bps(&self) -> f64 {
        self.estimator.estimate_bps() as f64
    }

    fn step(&mut self) {
        let now = self.now();
        self.deliver();
        if self.wishes {
            let wanted = self.media.wanted_bps();
            let needed = (wanted > self.estimate_bps()).then_some(wanted as u64);
            self.estimator.set_needed_bps(now, needed);
        }
        self.free_us += self.link.cross_bps / self.link.capacity_bps * 1000.0;
        if self.now_ms.is_multiple_of(20) {
            self.send_media(100);
        }
        // 30 frames a second, sent whole.
        if self.now_ms * 30 / 1000 != (self.now_ms + 1) * 30 / 1000 {
            let size = self.media.rate_bps(self.estimate_bps()) / 8.0 / 30.0 - 166.0;
            let mut size = (size.max(50.0) * (0.7 + 0.6 * self.random())) as usize;
            while size > 0 {
                let packet = size.min(PACKET_BYTES);
                self.send_media(packet);
                size -= packet;
            }
        }
        if self.estimator.next_timeout().is_some_and(|at| at <= now) {
            while let Some(padding) = self.estimator.next_padding(now) {
                self.padding_bytes += padding.bytes;
                self.send(padding.bytes, padding.cluster);
            }
            assert!(self.estimator.next_timeout().is_none_or(|at| at > now), "the timer would fire for ever");
        }
        if self.now_ms.is_multiple_of(100) {
            self.trace.push(self.estimate_bps());
        }
    }

    fn send_media(&mut self, size: usize) {
        let cluster = self.estimator.on_media(size);
        self.send(size, cluster);
    }

    fn send(&mut self, size: usize, cluster: ClusterId) {
        let seq = self.sent.push(self.now(), size, cluster);
        let now_us = (self.now_ms * 1000) as f64;
        let begin_us = self.free_us.max(now_us);
        if begin_us - now_us > self.link.max_queue_ms * 1000.0 {
            return;
        }
        self.worst_queue_ms = self.worst_queue_ms.max((begin_us - now_us) / 1000.0);
        self.free_us = begin_us + size as f64 * 8e6 / self.link.capacity_bps;
        if self.random() < self.link.loss {
            return;
        }
        let later_us = (self.link.delay_ms + self.link.jitter_ms * self.random()) * 1000.0;
        self.last_arrival_us = self.last_arrival_us.max((self.free_us + later_us) as u64);
        self.on_the_way.insert((self.last_arrival_us, seq, false));
    }

    fn deliver(&mut self) {
        while let Some(&(at_us, seq, marker)) = self.on_the_way.first() {
            if at_us > self.now_ms * 1000 {
                break;
            }
            self.on_the_way.pop_first();
            self.recorder.record(seq, marker, self.epoch + Duration::from_micros(at_us));
        }
        let now = self.now();
        while let Some(feedback) = self.recorder.feedback(now) {
            let first = feedback.arrivals.iter().flatten().next().copied().unwrap_or_default();
            let reference_ticks = first.div_euclid(256) * 256;
            let mut previous = reference_ticks;
            let deltas = feedback.arrivals.iter().map(|arrival| {
                let arrival = (*arrival)?;
                Some((arrival - std::mem::replace(&mut previous, arrival)) as i16)
            });
            let seqs = (0u16..).map(|at| feedback.base_seq.wrapping_add(at));
            let statuses: Vec<_> = seqs.zip(deltas).collect();
            let told = statuses.len();
            self.feedback.push_back(Feedback {
                at_ms: self.now_ms + RETURN_DELAY_MS,
                reference_ticks,
                statuses,
            });
            self.recorder.told(told, now);
        }
        while self.feedback.front().is_some_and(|feedback| feedback.at_ms <= self.now_ms) {
            let Some(feedback) = self.feedback.pop_front() else { break };
            let results = self.sent.on_feedback(feedback.reference_ticks, feedback.statuses.into_iter());
            let rtt =
                Duration::from_secs_f64(self.link.delay_ms / 1000.0) + Duration::from_millis(RETURN_DELAY_MS);
            self.estimator.on_feedback(now, results, Some(rtt));
        }
    }

    /// Uniform in 0..1.
    fn random(&mut self) -> f64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        (self.rng >> 11) as f64 / (1u64 << 53) as f64
    }
}
