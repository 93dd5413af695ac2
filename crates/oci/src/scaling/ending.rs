//! Which instances the function ends: never one that is in the pool, never one of another stack.

use std::time::{Duration, SystemTime};

/// What is known of an instance that somebody wants to end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// A media node of this stack, by its tags.
    pub ours: bool,
    pub in_pool: bool,
    /// It has ended, or is about to.
    pub gone: bool,
    /// It was chosen for removal.
    pub tagged: bool,
    pub created: SystemTime,
}

/// What to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    End,
    /// Somebody has ended it.
    Done,
    /// It stays, with the reason.
    Stays(&'static str),
}

impl Candidate {
    /// A node asks for its own end.
    pub fn by_itself(&self) -> Ending {
        match self {
            _ if !self.ours => {
                Ending::Stays("it is no media node of this stack, by its tags sala-stack and sala-role")
            }
            _ if self.gone => Ending::Done,
            _ if self.in_pool => Ending::Stays(
                "it is still in the pool: a new one would take its place; scale-in takes it out first",
            ),
            _ => Ending::End,
        }
    }

    /// The masters say that nobody needs it. Untagged it may be one that the pool is just making.
    pub fn by_masters(&self, now: SystemTime, grace: Duration) -> Ending {
        let young = now.duration_since(self.created).unwrap_or_default() < grace;
        match self.by_itself() {
            Ending::End if !self.tagged && young => Ending::Stays("it is younger than the grace period"),
            ending => ending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const GRACE: Duration = Duration::from_secs(420);

    #[test]
    fn nothing_in_the_pool_and_nothing_of_others_is_ended() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        for bits in 0..32u8 {
            let bit = |n: u8| bits & (1 << n) != 0;
            let young = bit(4);
            let created = now - if young { GRACE / 2 } else { GRACE };
            let candidate =
                Candidate { ours: bit(0), in_pool: bit(1), gone: bit(2), tagged: bit(3), created };
            for (ending, needs_age) in
                [(candidate.by_itself(), false), (candidate.by_masters(now, GRACE), true)]
            {
                let may = candidate.ours && !candidate.in_pool && !candidate.gone;
                let old_enough = !needs_age || candidate.tagged || !young;
                assert_eq!(ending == Ending::End, may && old_enough, "{candidate:?}");
                assert_eq!(ending == Ending::Done, candidate.ours && candidate.gone, "{candidate:?}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_behind_ends_nothing() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let created = now + Duration::from_secs(3600);
        let candidate = Candidate { ours: true, in_pool: false, gone: false, tagged: false, created };
        assert!(matches!(candidate.by_masters(now, GRACE), Ending::Stays(_)));
    }
}
