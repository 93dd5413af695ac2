//! When a failed call is sent again, and after which pause.
//!
//! Three bounds hold at once: attempts and deadline of the call, and a budget per service, so that a fault of a service
//! is not answered with a multiple of the usual load. Pauses grow exponentially with full jitter: masters that failed
//! together do not come back together.

use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::{Error, Failure};

/// How hard a call is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// For the whole call with all attempts and pauses.
    pub deadline: Duration,
    /// For one attempt.
    pub attempt: Duration,
    pub max_attempts: u32,
    pub first_pause: Duration,
    pub longest_pause: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            deadline: Duration::from_secs(45),
            // Creating a secret takes several seconds at times.
            attempt: Duration::from_secs(20),
            max_attempts: 6,
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(10),
        }
    }
}

/// What a caller expects to pass, beyond faults that are always tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Patience {
    /// A deadline in the place of the policy's; attempts are then not counted.
    pub within: Option<Duration>,
    /// 409 `IncorrectState`: the resource is in transition.
    pub incorrect_state: bool,
    /// 404 and other answers of a permission that has not propagated yet.
    pub propagation: bool,
}

/// What happens if a request is carried out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Safety {
    /// Nothing more than once: reads, writes of the same value, creations with a retry token.
    Idempotent,
    /// Something more: only sent again if it surely was not carried out.
    Once,
}

/// Tokens for retries of one service: a retry takes one, a success gives some back, and so does time, so that a service
/// that was down for long is still probed.
#[derive(Debug)]
pub(crate) struct Budget {
    state: Mutex<(f64, Option<Instant>)>,
}

impl Budget {
    /// A burst of retries that is always possible.
    const FULL: f64 = 20.0;
    /// In steady state retries add at most a tenth to the load.
    const PER_SUCCESS: f64 = 0.1;
    const PER_SECOND: f64 = 0.5;

    pub(crate) const fn new() -> Budget {
        Budget { state: Mutex::new((Self::FULL, None)) }
    }

    fn earn(&self) {
        let mut state = self.state.lock().unwrap_or_else(|broken| broken.into_inner());
        state.0 = (state.0 + Self::PER_SUCCESS).min(Self::FULL);
    }

    fn spend(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(|broken| broken.into_inner());
        let passed = state.1.map_or(Duration::ZERO, |before| now.saturating_duration_since(before));
        *state = ((state.0 + passed.as_secs_f64() * Self::PER_SECOND).min(Self::FULL), Some(now));
        match state.0 >= 1.0 {
            true => {
                state.0 -= 1.0;
                true
            }
            false => false,
        }
    }
}

/// What a failed attempt means for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Another attempt would fail likewise, or might do harm.
    Final,
    /// What the caller is patient for: asking again is no retry, and costs nothing.
    Awaited,
    /// A fault that may pass.
    Fault,
}

fn verdict(error: &Error, safety: Safety, patience: Patience) -> Verdict {
    let not_there_yet = (error.is_not_authorized() || error.is_not_found()) && error.status() != Some(401);
    if (patience.incorrect_state && error.is_incorrect_state()) || (patience.propagation && not_there_yet) {
        return Verdict::Awaited;
    }
    let harmless = match safety {
        Safety::Idempotent => true,
        Safety::Once => matches!(
            error.failure(),
            Failure::Unreachable { .. } | Failure::Principal(_) | Failure::Service { status: 429, .. }
        ),
    };
    match harmless && error.is_transient() && !error.is_incorrect_state() {
        true => Verdict::Fault,
        false => Verdict::Final,
    }
}

/// The pause before attempt `attempt + 1`; `roll` is uniform in 0..1. What the service asks for is a minimum.
fn pause(policy: &Policy, attempt: u32, asked: Option<Duration>, roll: f64) -> Duration {
    let ceiling =
        policy.first_pause.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(policy.longest_pause);
    let jittered = ceiling.mul_f64(roll.clamp(0.0, 1.0));
    match asked {
        // Jitter on top: whoever was told the same second must not come in the same millisecond.
        Some(asked) => asked + jittered,
        None => jittered,
    }
}

/// Runs `attempt` until it succeeds or trying on is of no use. `attempt` gets the time it may take.
pub(crate) async fn retrying<T, F>(
    policy: &Policy,
    patience: Patience,
    safety: Safety,
    budget: &Budget,
    mut attempt: impl FnMut(Duration) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let start = Instant::now();
    let deadline = patience.within.unwrap_or(policy.deadline);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let left = deadline.saturating_sub(start.elapsed());
        let error = match attempt(policy.attempt.min(left)).await {
            Ok(value) => {
                budget.earn();
                return Ok(value);
            }
            Err(error) => error.with_attempts(attempts),
        };
        let asked = match error.failure() {
            Failure::Service { retry_after, .. } => *retry_after,
            _ => None,
        };
        let verdict = verdict(&error, safety, patience);
        let patient = patience.within.is_some();
        if verdict == Verdict::Final || (!patient && attempts >= policy.max_attempts) {
            return Err(error);
        }
        let mut asked = asked;
        loop {
            let pause = pause(policy, attempts, asked.take(), fastrand::f64());
            if start.elapsed() + pause >= deadline {
                return Err(error);
            }
            let affordable = verdict == Verdict::Awaited || budget.spend(Instant::now());
            // Whoever has patience waits for the budget as well.
            if !affordable && !patient {
                return Err(error);
            }
            tracing::debug!(%error, ?pause, affordable, "a call to the cloud failed and is to be sent again");
            tokio::time::sleep(pause).await;
            if affordable {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answered(status: u16, code: &str) -> Error {
        let (code, message) = (code.to_owned(), String::new());
        Error::new("Test", Failure::Service { status, code, message, retry_after: None })
    }

    fn lost() -> Error {
        Error::new("Test", Failure::Broken { host: "h".into(), cause: "reset".into() })
    }

    #[test]
    fn a_call_that_may_have_been_carried_out_is_not_repeated_blindly() {
        let none = Patience::default();
        assert_eq!(verdict(&lost(), Safety::Idempotent, none), Verdict::Fault);
        assert_eq!(verdict(&lost(), Safety::Once, none), Verdict::Final);
        assert_eq!(verdict(&answered(503, "ServiceUnavailable"), Safety::Once, none), Verdict::Final);
        assert_eq!(verdict(&answered(429, "TooManyRequests"), Safety::Once, none), Verdict::Fault);
    }

    #[test]
    fn only_who_waits_for_a_transition_or_a_policy_tries_those_again() {
        let none = Patience::default();
        let state = Patience { incorrect_state: true, ..none };
        let policy = Patience { propagation: true, ..none };
        let (in_transition, not_found) =
            (answered(409, "IncorrectState"), answered(404, "NotAuthorizedOrNotFound"));
        assert_eq!(verdict(&in_transition, Safety::Idempotent, none), Verdict::Final);
        assert_eq!(verdict(&in_transition, Safety::Idempotent, state), Verdict::Awaited);
        assert_eq!(verdict(&not_found, Safety::Idempotent, state), Verdict::Final);
        assert_eq!(verdict(&not_found, Safety::Idempotent, policy), Verdict::Awaited);
    }

    #[test]
    fn errors_of_ours_are_final() {
        for (status, code) in [(400, "InvalidParameter"), (412, "NoEtagMatch"), (501, "MethodNotImplemented")]
        {
            let verdict = verdict(&answered(status, code), Safety::Idempotent, Patience::default());
            assert_eq!(verdict, Verdict::Final, "{status}");
        }
        let limit = answered(429, "LimitExceeded");
        assert_eq!(verdict(&limit, Safety::Idempotent, Patience::default()), Verdict::Final);
    }

    #[test]
    fn a_dead_service_is_probed_slowly_and_never_forgotten() {
        let (budget, start) = (Budget::new(), Instant::now());
        let at_once = (0..1000).filter(|_| budget.spend(start)).count();
        assert_eq!(at_once, 20);
        let in_a_minute = (1..=6000).filter(|i| budget.spend(start + Duration::from_millis(10 * i))).count();
        assert!((29..=31).contains(&in_a_minute), "{in_a_minute}");
    }

    #[test]
    fn a_tenth_of_the_load_may_be_retries() {
        let (budget, now) = (Budget::new(), Instant::now());
        while budget.spend(now) {}
        (0..100).for_each(|_| budget.earn());
        assert!((9..=10).contains(&(0..100).filter(|_| budget.spend(now)).count()));
    }

    proptest! {
        #[test]
        fn pauses_stay_within_their_bounds(attempt in 1u32..100, roll in 0.0f64..1.0, asked in 0u64..60) {
            let policy = Policy::default();
            let free = pause(&policy, attempt, None, roll);
            prop_assert!(free <= policy.longest_pause);
            prop_assert!(free <= policy.first_pause * (1 << (attempt - 1).min(16)));
            let asked = Duration::from_secs(asked);
            let told = pause(&policy, attempt, Some(asked), roll);
            prop_assert!(told >= asked && told <= asked + policy.longest_pause);
        }
    }
}
