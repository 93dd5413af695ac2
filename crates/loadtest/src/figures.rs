//! What the callers experienced, added up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// Gaps are counted by the millisecond up to here; longer ones count as this long, and their length shows in `max`.
const MAX_GAP_MS: usize = 60_000;

/// A gap from here on is listed with its time.
pub(crate) const NOTABLE_GAP: Duration = Duration::from_millis(250);

/// Notable gaps that are listed; beyond, they are only counted.
const MAX_LISTED: usize = 10_000;

/// Lengths of time, all kept: a few quantiles say what an average hides.
#[derive(Debug, Default)]
pub(crate) struct Times {
    counts: Vec<u32>,
    total: u64,
    max_ms: f64,
}

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        let ms = (time.as_millis() as usize).min(MAX_GAP_MS);
        if self.counts.len() <= ms {
            self.counts.resize(ms + 1, 0);
        }
        self.counts[ms] += 1;
        self.total += 1;
        self.max_ms = self.max_ms.max(time.as_secs_f64() * 1e3);
    }

    fn quantile(&self, share: f64) -> f64 {
        let mut left = (self.total as f64 * share).ceil() as u64;
        for (ms, count) in self.counts.iter().enumerate() {
            left = left.saturating_sub(u64::from(*count));
            if left == 0 {
                return ms as f64;
            }
        }
        self.max_ms
    }

    fn summary(&self) -> Summary {
        Summary {
            count: self.total,
            p50_ms: self.quantile(0.5),
            p95_ms: self.quantile(0.95),
            p99_ms: self.quantile(0.99),
            max_ms: self.max_ms,
        }
    }
}

/// Quantiles of many lengths of time, to the millisecond.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    pub count: u64,
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// A gap that a person would notice.
#[derive(Clone, Debug, Serialize)]
pub struct Gap {
    pub room: String,
    /// When it ended, in milliseconds of Unix time.
    pub at_ms: u64,
    pub length_ms: f64,
}

/// The whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub participants: usize,
    pub joins: u64,
    pub joins_failed: u64,
    /// From the first byte to the server until media can flow.
    pub join: Summary,
    /// Between two frames of a subscribed track.
    pub frame_gap: Summary,
    pub frames: u64,
    pub packets_lost: u64,
    /// The longest gap of each room, in milliseconds.
    pub room_max_gap_ms: BTreeMap<String, f64>,
    /// The longest gaps of the rooms, as a distribution.
    pub room_gap: Summary,
    pub notable_gaps: Vec<Gap>,
    pub resumes: u64,
    /// Joins anew after the server asked for it, or after a resume failed.
    pub rejoins: u64,
    /// Callers that saw another leave who had not.
    pub departures_seen: u64,
    pub messages_sent: u64,
    pub messages_received: u64,
    /// Numbers that never came, or came out of their order.
    pub messages_lost: u64,
    pub errors: BTreeMap<String, u64>,
    pub cpu_s: f64,
}

/// Collects while the callers run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) report: Report,
    pub(crate) join: Times,
    gaps: Times,
}

impl Tally {
    /// A frame came, so long after the one before.
    pub(crate) fn gap(&mut self, room: &str, at_ms: u64, gap: Duration) {
        self.report.frames += 1;
        self.gaps.add(gap);
        let length_ms = gap.as_secs_f64() * 1e3;
        match self.report.room_max_gap_ms.get_mut(room) {
            Some(max) => *max = max.max(length_ms),
            None => drop(self.report.room_max_gap_ms.insert(room.to_owned(), length_ms)),
        }
        if gap >= NOTABLE_GAP && self.report.notable_gaps.len() < MAX_LISTED {
            self.report.notable_gaps.push(Gap { room: room.to_owned(), at_ms, length_ms });
        }
    }

    pub(crate) fn error(&mut self, error: &str) {
        // Addresses and the like would make a new line of each; texts come from a fixed few.
        *self.report.errors.entry(error.to_owned()).or_default() += 1;
    }

    pub(crate) fn finish(&self) -> Report {
        let mut rooms = Times::default();
        for max_ms in self.report.room_max_gap_ms.values() {
            rooms.add(Duration::from_secs_f64(max_ms / 1e3));
        }
        Report {
            join: self.join.summary(),
            frame_gap: self.gaps.summary(),
            room_gap: rooms.summary(),
            cpu_s: cpu_s(),
            ..self.report.clone()
        }
    }
}

/// Processor time of this process so far.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold anything, fields 14 and 15 in hundredths of a second (proc_pid_stat(5)).
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 =
        after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = |s: &Summary| {
            format!("p50 {:.0}  p95 {:.0}  p99 {:.0}  max {:.0} ms", s.p50_ms, s.p95_ms, s.p99_ms, s.max_ms)
        };
        writeln!(f, "participants  {}", self.participants)?;
        writeln!(f, "joins         {} ({} failed)   {}", self.joins, self.joins_failed, line(&self.join))?;
        writeln!(f, "frame gaps    {}   ({} frames)", line(&self.frame_gap), self.frames)?;
        writeln!(f, "room's worst  {}   ({} rooms)", line(&self.room_gap), self.room_gap.count)?;
        writeln!(f, "packets lost  {}", self.packets_lost)?;
        writeln!(
            f,
            "connections   {} resumed, {} anew, {} departures seen",
            self.resumes, self.rejoins, self.departures_seen
        )?;
        let (sent, received) = (self.messages_sent, self.messages_received);
        writeln!(f, "messages      {sent} sent, {received} received, {} lost", self.messages_lost)?;
        for (error, count) in &self.errors {
            writeln!(f, "error         {count} × {error}")?;
        }
        write!(f, "own CPU       {:.1} s", self.cpu_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_was_added() {
        let mut times = Times::default();
        (1..=100).for_each(|ms| times.add(Duration::from_millis(ms)));
        let summary = times.summary();
        assert_eq!(
            (summary.p50_ms, summary.p95_ms, summary.p99_ms, summary.max_ms),
            (50.0, 95.0, 99.0, 100.0)
        );
        assert_eq!(Times::default().summary().count, 0);
    }

    #[test]
    fn a_long_gap_is_listed_with_its_room() {
        let mut tally = Tally::default();
        tally.gap("a", 1, Duration::from_millis(20));
        tally.gap("b", 2, Duration::from_millis(300));
        let report = tally.finish();
        assert_eq!(report.notable_gaps.len(), 1);
        assert_eq!(report.notable_gaps[0].room, "b");
        assert_eq!(report.room_max_gap_ms["a"], 20.0);
        assert!(report.to_string().contains("frame gaps"));
    }
}
