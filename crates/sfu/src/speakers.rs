//! Who speaks: levels from the RTP headers of microphones, smoothed over intervals (livekit.md §5.4).

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::api::EngineConfig;

/// Levels are told in steps of an eighth, rounded up.
const STEPS: f32 = 8.0;

/// A source that has been silent for so many intervals is forgotten.
const FORGET_AFTER: u32 = 10;

/// One source's levels.
#[derive(Debug, Default)]
struct Source {
    /// Frames of the running interval: all, active ones, and their linear sum.
    frames: u32,
    active: u32,
    loudest_dbov: u8,
    /// Smoothed linear level.
    level: f32,
    silent_intervals: u32,
    forced_until: Option<Instant>,
}

/// A source whose level was worth telling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Level<K> {
    pub(crate) key: K,
    /// 0.0..=1.0 in steps of an eighth; 0 is silent.
    pub(crate) level: f32,
}

/// Levels of all microphones of a room.
#[derive(Debug)]
pub(crate) struct Speakers<K> {
    sources: HashMap<K, Source>,
    told: HashMap<K, f32>,
    active_level: u8,
    min_percentile: u8,
    interval: Duration,
    smoothing: f32,
    next: Option<Instant>,
}

impl<K: Copy + Eq + Hash + Ord> Speakers<K> {
    pub(crate) fn new(config: &EngineConfig) -> Speakers<K> {
        let intervals = config.audio_smooth_intervals;
        Speakers {
            sources: HashMap::new(),
            told: HashMap::new(),
            active_level: config.audio_active_level,
            min_percentile: config.audio_min_percentile,
            interval: config.audio_update_interval,
            // Exponential smoothing with the weight of a moving average over that many intervals.
            smoothing: if intervals > 0 { 2.0 / (intervals as f32 + 1.0) } else { 1.0 },
            next: None,
        }
    }

    /// The level of one frame, in −dBov: 0 is the loudest, 127 is silence.
    pub(crate) fn observe(&mut self, now: Instant, key: K, level_dbov: u8) {
        self.next.get_or_insert(now + self.interval);
        let source = self.sources.entry(key).or_default();
        source.frames += 1;
        if level_dbov <= self.active_level {
            source.active += 1;
            let loudest = if source.active == 1 { level_dbov } else { source.loudest_dbov.min(level_dbov) };
            source.loudest_dbov = loudest;
        }
    }

    /// Pretends that a source speaks at 0.9, for clients' tests.
    pub(crate) fn force(&mut self, now: Instant, key: K, until: Instant) {
        self.next.get_or_insert(now);
        self.sources.entry(key).or_default().forced_until = Some(until);
    }

    /// Who speaks and how loud, as was told last.
    pub(crate) fn told(&self) -> impl Iterator<Item = (K, f32)> + '_ {
        self.told.iter().map(|(key, level)| (*key, *level))
    }

    /// How loud a source was told to be.
    pub(crate) fn level(&self, key: K) -> f32 {
        self.told.get(&key).copied().unwrap_or_default()
    }

    /// Others have told so until now: who does not speak any more will be told to have stopped.
    pub(crate) fn import(&mut self, now: Instant, told: impl Iterator<Item = (K, f32)>) {
        self.told = told.collect();
        if !self.told.is_empty() {
            self.next = Some(now + self.interval);
        }
    }

    /// The source is muted or gone.
    pub(crate) fn remove(&mut self, key: K) {
        self.sources.remove(&key);
    }

    /// Ends an interval if one is due: the sources whose level changed, loudest first.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Level<K>> {
        if self.next.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let mut current = HashMap::new();
        for (key, source) in &mut self.sources {
            let level = source.end_interval(now, self.min_percentile, self.smoothing);
            if level > 0.0 {
                current.insert(*key, level);
            }
        }
        self.sources.retain(|_, source| source.silent_intervals < FORGET_AFTER);
        let mut changes: Vec<Level<K>> = current
            .iter()
            .filter(|(key, level)| self.told.get(key) != Some(level))
            .map(|(key, level)| Level { key: *key, level: *level })
            .collect();
        let stopped = self.told.keys().filter(|key| !current.contains_key(key));
        changes.extend(stopped.map(|key| Level { key: *key, level: 0.0 }));
        changes.sort_by(|a, b| b.level.total_cmp(&a.level).then(a.key.cmp(&b.key)));
        self.told = current;
        let idle = self.sources.is_empty() && self.told.is_empty();
        self.next = (!idle).then(|| now + self.interval);
        changes
    }
}

impl Source {
    fn end_interval(&mut self, now: Instant, min_percentile: u8, smoothing: f32) -> f32 {
        if self.forced_until.is_some_and(|until| until <= now) {
            self.forced_until = None;
            self.level = 0.0;
        }
        let enough = self.frames > 0
            && self.active * 100 >= self.frames * u32::from(min_percentile)
            && self.active > 0;
        let linear = if enough { 10_f32.powf(-f32::from(self.loudest_dbov) / 20.0) } else { 0.0 };
        // −35 dBov is barely heard, 0 is shouting: what is told follows the ear, not the voltage.
        let heard = if enough { linear.powf(0.35).min(1.0) } else { 0.0 };
        self.level += (heard - self.level) * smoothing;
        (self.frames, self.active, self.loudest_dbov) = (0, 0, 0);
        if self.forced_until.is_some() {
            self.silent_intervals = 0;
            return 1.0;
        }
        if !enough && self.level < 0.05 {
            self.level = 0.0;
            self.silent_intervals += 1;
        } else {
            self.silent_intervals = 0;
        }
        (self.level * STEPS).ceil() / STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speakers() -> Speakers<u8> {
        Speakers {
            sources: HashMap::new(),
            told: HashMap::new(),
            active_level: 35,
            min_percentile: 40,
            interval: Duration::from_millis(400),
            smoothing: 2.0 / 3.0,
            next: None,
        }
    }

    fn talk(speakers: &mut Speakers<u8>, now: &mut Instant, key: u8, dbov: u8, ms: u64) -> Vec<Level<u8>> {
        let mut changes = Vec::new();
        for _ in 0..ms / 20 {
            speakers.observe(*now, key, dbov);
            *now += Duration::from_millis(20);
            changes.extend(speakers.poll(*now));
        }
        changes
    }

    #[test]
    fn a_voice_is_told_once_and_its_end_too() {
        let mut speakers = speakers();
        let mut now = Instant::now();
        let changes = talk(&mut speakers, &mut now, 1, 20, 2_000);
        assert!(!changes.is_empty() && changes.len() <= 3, "steady speech is not told again: {changes:?}");
        assert!(changes.iter().all(|change| change.level > 0.0 && (change.level * 8.0).fract() == 0.0));
        let changes = talk(&mut speakers, &mut now, 1, 127, 4_000);
        assert_eq!(changes.last().map(|change| change.level), Some(0.0));
    }

    #[test]
    fn a_cough_is_not_speech() {
        let mut speakers = speakers();
        let mut now = Instant::now();
        let mut changes = Vec::new();
        for frame in 0..200 {
            speakers.observe(now, 1, if frame % 20 == 0 { 10 } else { 100 });
            now += Duration::from_millis(20);
            changes.extend(speakers.poll(now));
        }
        assert!(changes.is_empty());
    }

    #[test]
    fn a_muted_speaker_is_told_to_have_stopped() {
        let mut speakers = speakers();
        let mut now = Instant::now();
        talk(&mut speakers, &mut now, 1, 20, 1_000);
        speakers.remove(1);
        now += Duration::from_millis(500);
        assert_eq!(speakers.poll(now), vec![Level { key: 1, level: 0.0 }]);
        assert!(speakers.next.is_none(), "an idle room has no timer");
    }
}
