//! Dynacast: a publisher need not send what nobody watches (livekit.md §2.9).
//!
//! More is asked for at once; less only after it has stayed less for a while, and not right after the
//! publication, when subscribers are still on their way.

use std::time::{Duration, Instant};

/// Nothing is switched off before a publication is this old.
const FIRST_EVALUATION: Duration = Duration::from_secs(10);

/// What a publisher is asked to send: layers up to this one, or nothing.
pub(crate) type Wanted = Option<u8>;

#[derive(Debug)]
pub(crate) struct Dynacast {
    published: Instant,
    told: Option<Wanted>,
    /// Since when less has been wanted than was told.
    less_since: Option<Instant>,
}

impl Dynacast {
    pub(crate) fn new(now: Instant) -> Dynacast {
        Dynacast { published: now, told: None, less_since: None }
    }

    /// The next poll tells the state again, whatever was told before: after an unmute.
    pub(crate) fn force(&mut self) {
        self.told = None;
    }

    /// What is wanted now; returns it when the publisher is to be told.
    pub(crate) fn poll(&mut self, now: Instant, wanted: Wanted, pause_delay: Duration) -> Option<Wanted> {
        let young = now.duration_since(self.published) < FIRST_EVALUATION;
        let Some(told) = self.told else {
            if young && wanted.is_none() {
                return None;
            }
            self.told = Some(wanted);
            return Some(wanted);
        };
        if wanted >= told {
            self.less_since = None;
            if wanted == told {
                return None;
            }
        } else {
            let since = *self.less_since.get_or_insert(now);
            if young || now.duration_since(since) < pause_delay {
                return None;
            }
        }
        self.less_since = None;
        self.told = Some(wanted);
        Some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(5);

    #[test]
    fn more_is_told_at_once_and_less_after_the_delay() {
        let start = Instant::now();
        let mut dynacast = Dynacast::new(start);
        let at = |s: u64| start + Duration::from_secs(s);
        assert_eq!(dynacast.poll(at(0), Some(2), DELAY), Some(Some(2)));
        assert_eq!(dynacast.poll(at(20), Some(0), DELAY), None);
        assert_eq!(dynacast.poll(at(24), Some(0), DELAY), None);
        assert_eq!(dynacast.poll(at(25), Some(0), DELAY), Some(Some(0)));
        assert_eq!(dynacast.poll(at(26), Some(1), DELAY), Some(Some(1)));
    }

    #[test]
    fn a_flicker_of_less_changes_nothing() {
        let start = Instant::now();
        let mut dynacast = Dynacast::new(start);
        let at = |s: u64| start + Duration::from_secs(s);
        dynacast.poll(at(0), Some(2), DELAY);
        dynacast.poll(at(20), Some(0), DELAY);
        dynacast.poll(at(22), Some(2), DELAY);
        assert_eq!(dynacast.poll(at(26), Some(0), DELAY), None);
    }

    #[test]
    fn nobody_watching_is_told_only_after_the_first_seconds() {
        let start = Instant::now();
        let mut dynacast = Dynacast::new(start);
        assert_eq!(dynacast.poll(start + Duration::from_secs(3), None, DELAY), None);
        assert_eq!(dynacast.poll(start + Duration::from_secs(11), None, DELAY), Some(None));
    }
}
