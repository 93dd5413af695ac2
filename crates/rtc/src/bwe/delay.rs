//! Sees the queue at the bottleneck grow: the trendline filter and over-use detector of Google congestion
//! control (draft-ietf-rmcat-gcc-02 §4 and §5.2 to §5.4, with a line fit in place of the Kalman filter).
//!
//! Departing from the draft, a group of packets is represented by its fastest packet, not its last. The last
//! packet of an unpaced frame waits for the whole frame before it, so its delay tells of the frame's size;
//! the fastest one tells of the queue alone.

/// Packets sent within this time form a group.
const GROUP_US: i64 = 5_000;
/// Packets that arrive this close together though sent further apart were held up together…
const BURST_GAP_US: i64 = 5_000;
/// …but a group never spans more than this.
const MAX_BURST_US: i64 = 100_000;
/// After a pause this long the past says nothing about the trend.
const MAX_PAUSE_US: i64 = 1_000_000;
/// Groups in the line fit.
const WINDOW: usize = 20;
/// Weight of the past in the smoothing of delays.
const SMOOTHING: f64 = 0.9;
/// The trend is scaled by the number of groups seen, up to this, and by the gain.
const MAX_DELTAS: u32 = 60;
const GAIN: f64 = 4.0;
/// The trend must exceed the threshold this long.
const OVERUSE_TIME_MS: f64 = 10.0;
/// The adaptive threshold: initial value, bounds, and speeds (§5.4; the two speeds differ so that
/// concurrent TCP flows do not starve us).
const THRESHOLD: f64 = 12.5;
const THRESHOLD_MIN: f64 = 6.0;
const THRESHOLD_MAX: f64 = 600.0;
const THRESHOLD_UP: f64 = 0.0087;
const THRESHOLD_DOWN: f64 = 0.039;
/// Excess beyond which the threshold ignores an outlier.
const MAX_ADAPT: f64 = 15.0;
/// The lowest delay is remembered for one to two times this long.
const BASE_WINDOW_US: i64 = 10_000_000;

/// How the path is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    Normal,
    /// The queue grows.
    Over,
    /// The queue drains.
    Under,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    first_sent_us: i64,
    last_sent_us: i64,
    first_arrival_us: i64,
    last_arrival_us: i64,
    /// Delay (on unsynchronised clocks) and arrival of the fastest packet.
    fastest_us: i64,
    fastest_arrival_us: i64,
}

#[derive(Debug)]
pub(super) struct DelayDetector {
    group: Option<Group>,
    trend: Trend,
    base: BaseDelay,
}

impl DelayDetector {
    pub(super) fn new() -> DelayDetector {
        DelayDetector { group: None, trend: Trend::new(), base: BaseDelay::default() }
    }

    /// Adds a packet, in the order of arrival.
    pub(super) fn add(&mut self, sent_us: i64, arrival_us: i64) {
        let delay_us = arrival_us - sent_us;
        let fresh = Group {
            first_sent_us: sent_us,
            last_sent_us: sent_us,
            first_arrival_us: arrival_us,
            last_arrival_us: arrival_us,
            fastest_us: delay_us,
            fastest_arrival_us: arrival_us,
        };
        let Some(group) = &mut self.group else {
            self.group = Some(fresh);
            return;
        };
        let pause = arrival_us - group.last_arrival_us;
        if !(-MAX_PAUSE_US..=MAX_PAUSE_US).contains(&pause) {
            *self = DelayDetector { group: Some(fresh), trend: Trend::new(), base: self.base };
            return;
        }
        if sent_us < group.first_sent_us {
            // Reordered from an earlier group, which has been judged.
            return;
        }
        let same_burst = sent_us - group.first_sent_us <= GROUP_US;
        let held_up = pause <= BURST_GAP_US
            && pause < sent_us - group.last_sent_us
            && arrival_us - group.first_arrival_us < MAX_BURST_US;
        if same_burst || held_up {
            group.last_sent_us = group.last_sent_us.max(sent_us);
            group.last_arrival_us = group.last_arrival_us.max(arrival_us);
            if delay_us < group.fastest_us {
                (group.fastest_us, group.fastest_arrival_us) = (delay_us, arrival_us);
            }
            return;
        }
        let done = std::mem::replace(group, fresh);
        self.base.add(done.fastest_us, done.fastest_arrival_us);
        self.trend.add(done.fastest_us, done.fastest_arrival_us);
    }

    pub(super) fn usage(&self) -> Usage {
        self.trend.usage
    }

    /// The latest group's delay above the lowest one remembered, in ms.
    pub(super) fn queue_ms(&self) -> f64 {
        self.base.queue_us.max(0) as f64 / 1000.0
    }
}

/// The lowest delay of the current and the previous window.
#[derive(Debug, Clone, Copy, Default)]
struct BaseDelay {
    current: Option<i64>,
    previous: Option<i64>,
    since_us: i64,
    queue_us: i64,
}

impl BaseDelay {
    fn add(&mut self, delay_us: i64, arrival_us: i64) {
        if !(0..BASE_WINDOW_US).contains(&(arrival_us - self.since_us)) {
            self.previous = self.current.take();
            self.since_us = arrival_us;
        }
        let current = self.current.map_or(delay_us, |lowest| lowest.min(delay_us));
        self.current = Some(current);
        self.queue_us = delay_us - self.previous.map_or(current, |previous| previous.min(current));
    }
}

#[derive(Debug)]
struct Trend {
    /// Arrival in ms since `first` and smoothed delay in ms, a ring.
    samples: [(f64, f64); WINDOW],
    count: u32,
    /// Delay and arrival of the first sample, the origin of both axes.
    first: (i64, i64),
    last_arrival_ms: f64,
    smoothed_ms: f64,
    slope: f64,
    threshold: f64,
    /// For how long and how many samples the trend has been above the threshold.
    over_ms: Option<f64>,
    over_count: u32,
    usage: Usage,
}

impl Trend {
    fn new() -> Trend {
        Trend {
            samples: [(0.0, 0.0); WINDOW],
            count: 0,
            first: (0, 0),
            last_arrival_ms: 0.0,
            smoothed_ms: 0.0,
            slope: 0.0,
            threshold: THRESHOLD,
            over_ms: None,
            over_count: 0,
            usage: Usage::Normal,
        }
    }

    fn add(&mut self, delay_us: i64, arrival_us: i64) {
        if self.count == 0 {
            self.first = (delay_us, arrival_us);
        }
        let delay_ms = (delay_us - self.first.0) as f64 / 1000.0;
        let arrival_ms = (arrival_us - self.first.1) as f64 / 1000.0;
        let elapsed_ms = (arrival_ms - self.last_arrival_ms).max(0.0);
        self.last_arrival_ms = arrival_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * delay_ms;
        self.samples[self.count as usize % WINDOW] = (arrival_ms, self.smoothed_ms);
        self.count = self.count.wrapping_add(1).max(1);
        if self.count as usize >= WINDOW {
            let slope = slope(&self.samples).unwrap_or(self.slope);
            self.judge(slope, elapsed_ms);
        }
    }

    fn judge(&mut self, slope: f64, elapsed_ms: f64) {
        let trend = f64::from(self.count.min(MAX_DELTAS)) * slope * GAIN;
        if trend > self.threshold {
            // At first half the distance: the excess began somewhere in between.
            let over_ms = self.over_ms.map_or(elapsed_ms / 2.0, |over_ms| over_ms + elapsed_ms);
            self.over_ms = Some(over_ms);
            self.over_count += 1;
            if over_ms > OVERUSE_TIME_MS && self.over_count > 1 && slope >= self.slope {
                (self.over_ms, self.over_count) = (Some(0.0), 0);
                self.usage = Usage::Over;
            }
        } else {
            (self.over_ms, self.over_count) = (None, 0);
            self.usage = if trend < -self.threshold { Usage::Under } else { Usage::Normal };
        }
        self.slope = slope;
        self.adapt(trend.abs(), elapsed_ms.min(100.0));
    }

    fn adapt(&mut self, trend: f64, elapsed_ms: f64) {
        if trend > self.threshold + MAX_ADAPT {
            return;
        }
        let speed = if trend < self.threshold { THRESHOLD_DOWN } else { THRESHOLD_UP };
        self.threshold += speed * (trend - self.threshold) * elapsed_ms;
        self.threshold = self.threshold.clamp(THRESHOLD_MIN, THRESHOLD_MAX);
    }
}

/// Slope of the least-squares line; `None` if all arrived at one time.
fn slope(samples: &[(f64, f64)]) -> Option<f64> {
    let n = samples.len() as f64;
    let (sum_x, sum_y) = samples.iter().fold((0.0, 0.0), |(x, y), sample| (x + sample.0, y + sample.1));
    let (mean_x, mean_y) = (sum_x / n, sum_y / n);
    let (mut numerator, mut denominator) = (0.0, 0.0);
    for (x, y) in samples {
        numerator += (x - mean_x) * (y - mean_y);
        denominator += (x - mean_x) * (x - mean_x);
    }
    (denominator > 0.0).then(|| numerator / denominator)
}
