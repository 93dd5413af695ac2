//! Monitoring: a value of CPU per instance and minute, and what clients post.
//!
//! A minute shows only after a lag. The values are measured (fed by the runtime) or set by a test.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Cloud;
use super::compute::{Power, State};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
/// A day of minutes.
const KEPT: usize = 1440;
/// Streams and points of posted metrics.
const MAX_STREAMS: usize = 1000;
const MAX_POINTS: usize = 2000;

/// One instance's CPU.
#[derive(Default)]
struct Cpu {
    /// Percent, set by a test.
    fixed: Option<f64>,
    /// Processor seconds and real seconds of the minute that runs.
    used: f64,
    elapsed: f64,
    last: f64,
    /// Beginning of each minute, and percent.
    minutes: VecDeque<(Duration, f64)>,
}

/// A posted stream.
pub(crate) struct Stream {
    pub(crate) namespace: String,
    pub(crate) compartment: String,
    pub(crate) name: String,
    pub(crate) dimensions: BTreeMap<String, String>,
    /// Real time and value.
    pub(crate) points: VecDeque<(i64, f64)>,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Metrics {
    cpu: BTreeMap<String, Cpu>,
    pub(crate) posted: Vec<Stream>,
    /// Beginning of the minute that runs.
    minute: Duration,
}

impl Metrics {
    /// Sets an instance's CPU, or lets it be measured again.
    pub(crate) fn set_cpu(&mut self, instance: &str, percent: Option<f64>) {
        self.cpu.entry(instance.into()).or_default().fixed = percent;
    }

    pub(crate) fn fixed_cpu(&self, instance: &str) -> Option<f64> {
        self.cpu.get(instance)?.fixed
    }

    /// The last whole minute, whether it shows yet or not.
    pub(crate) fn measured(&self, instance: &str) -> Option<f64> {
        self.cpu.get(instance)?.minutes.back().map(|(_, percent)| *percent)
    }

    /// So many processor seconds were used in so many real seconds.
    pub(crate) fn feed(&mut self, instance: &str, used: f64, elapsed: f64) {
        let cpu = self.cpu.entry(instance.into()).or_default();
        cpu.used += used;
        cpu.elapsed += elapsed;
    }

    /// The last minute that shows.
    pub(crate) fn latest_cpu(&self, instance: &str, now: Duration, lag: Duration) -> Option<f64> {
        let (at, percent) = self.shown(instance, now, lag).last()?;
        // An instance that has sent nothing for a while has no value.
        (now <= at + MINUTE * 3 + lag).then_some(percent)
    }

    /// Minutes that show, by their beginning.
    pub(crate) fn shown(
        &self,
        instance: &str,
        now: Duration,
        lag: Duration,
    ) -> impl Iterator<Item = (Duration, f64)> {
        let minutes = self.cpu.get(instance).into_iter().flat_map(|cpu| cpu.minutes.iter().copied());
        minutes.filter(move |(at, _)| *at + MINUTE + lag <= now)
    }

    /// Takes a posted point. False when there are too many streams.
    pub(crate) fn post(
        &mut self,
        namespace: &str,
        compartment: &str,
        name: &str,
        dimensions: &BTreeMap<String, String>,
        (at_unix_ms, value): (i64, f64),
    ) -> bool {
        let known = self.posted.iter().position(|stream| {
            stream.namespace == namespace
                && stream.compartment == compartment
                && stream.name == name
                && stream.dimensions == *dimensions
        });
        if known.is_none() && self.posted.len() >= MAX_STREAMS {
            return false;
        }
        let at = known.unwrap_or_else(|| {
            self.posted.push(Stream {
                namespace: namespace.into(),
                compartment: compartment.into(),
                name: name.into(),
                dimensions: dimensions.clone(),
                points: VecDeque::new(),
            });
            self.posted.len() - 1
        });
        let stream = &mut self.posted[at];
        if stream.points.len() >= MAX_POINTS {
            stream.points.pop_front();
        }
        stream.points.push_back((at_unix_ms, value));
        true
    }
}

impl Cloud {
    /// Closes the minutes that have passed.
    pub(super) fn sample_minute(&mut self, now: Duration) {
        // A jump of the clock makes no more minutes than are kept.
        let behind = now.saturating_sub(self.metrics.minute).as_secs() / 60;
        if behind > KEPT as u64 {
            self.metrics.minute += MINUTE * (behind - KEPT as u64) as u32;
        }
        while now >= self.metrics.minute + MINUTE {
            let minute = self.metrics.minute;
            for instance in self.compute.iter() {
                let is_sending = matches!(instance.state, State::Running | State::Stopping { .. })
                    && instance.power == Power::On;
                let cpu = self.metrics.cpu.entry(instance.id.clone()).or_default();
                if !is_sending {
                    (cpu.used, cpu.elapsed) = (0.0, 0.0);
                    continue;
                }
                if cpu.elapsed > 0.0 {
                    let share = cpu.used / (cpu.elapsed * instance.machine.cpus.max(0.001));
                    cpu.last = (share * 100.0).clamp(0.0, 100.0);
                }
                (cpu.used, cpu.elapsed) = (0.0, 0.0);
                if cpu.minutes.len() >= KEPT {
                    cpu.minutes.pop_front();
                }
                cpu.minutes.push_back((minute, cpu.fixed.unwrap_or(cpu.last)));
            }
            self.metrics.minute += MINUTE;
        }
        let compute = &self.compute;
        self.metrics.cpu.retain(|instance, _| compute.get(instance).is_some());
    }
}
