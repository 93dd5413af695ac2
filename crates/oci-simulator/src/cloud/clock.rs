//! The cloud's time: real time, run faster by a factor, and moved forward at will.
//!
//! Everything the cloud does by itself (provisioning, propagation, autoscaling, metrics) goes by it. What a client
//! sees as a date stays real: signatures, token expiry and `timeCreated`.

use std::time::Duration;

/// A moment, as each handler gets it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Now {
    /// Since the start of the simulated cloud, in its own time.
    pub(crate) cloud: Duration,
    /// Milliseconds since 1970, real.
    pub(crate) unix_ms: i64,
}

impl Now {
    /// Real seconds since 1970.
    pub(crate) fn unix(self) -> i64 {
        self.unix_ms.div_euclid(1000)
    }
}

/// Turns real time into the cloud's.
#[derive(Debug)]
pub(crate) struct Clock {
    scale: f64,
    /// The cloud's time at `since`.
    base: Duration,
    since: Duration,
}

/// More would make a second a day.
pub(crate) const MAX_SCALE: f64 = 86_400.0;

impl Clock {
    /// Starts at nought. A scale that is no number in (0, [`MAX_SCALE`]] counts as 1.
    pub(crate) fn new(scale: f64) -> Clock {
        Clock { scale: Self::sane(scale), base: Duration::ZERO, since: Duration::ZERO }
    }

    fn sane(scale: f64) -> f64 {
        if scale.is_finite() && scale > 0.0 { scale.min(MAX_SCALE) } else { 1.0 }
    }

    /// How many of the cloud's seconds go into a real one.
    pub(crate) fn scale(&self) -> f64 {
        self.scale
    }

    /// The cloud's time, `real` after the start of the process.
    pub(crate) fn at(&self, real: Duration) -> Duration {
        self.base + real.saturating_sub(self.since).mul_f64(self.scale)
    }

    /// From now on at another pace.
    pub(crate) fn set_scale(&mut self, real: Duration, scale: f64) {
        (self.base, self.since) = (self.at(real), real);
        self.scale = Self::sane(scale);
    }

    /// Moves the cloud's time forward.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.base += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_pace_does_not_move_the_present() {
        let second = Duration::from_secs(1);
        let mut clock = Clock::new(60.0);
        assert_eq!(clock.at(second), second * 60);
        clock.set_scale(second, 1.0);
        assert_eq!(clock.at(second), second * 60);
        assert_eq!(clock.at(second * 2), second * 61);
        clock.advance(second * 9);
        assert_eq!(clock.at(second * 2), second * 70);
        assert_eq!(Clock::new(f64::NAN).scale(), 1.0);
    }
}
