//! When something is to be done about a certificate, without clock or network: all masters read the same records
//! and come to the same answer.
//!
//! A certificate is replaced when two thirds of its life are over, or when its server suggests. After a failure the
//! wait grows, over restarts and whichever master tries: Let's Encrypt allows five failed validations of a name in
//! an hour, and five certificates for the same names in a week.

use super::records::{AttemptsRecord, CertificateRecord, Wanted};

pub(super) const MINUTE_MS: i64 = 60_000;
pub(super) const HOUR_MS: i64 = 60 * MINUTE_MS;
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;

/// Waits after the first, second, … failure in a row; the last one repeats.
const PAUSES_MS: [i64; 7] =
    [MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 2 * HOUR_MS, 4 * HOUR_MS, 6 * HOUR_MS];

/// Whoever restarts a master has mended something: the next attempt then comes this long after the last one at the
/// latest: with the first pauses that makes five in an hour.
const PAUSE_AFTER_RESTART_MS: i64 = 20 * MINUTE_MS;

/// Longest wait that a server can ask for.
const MAX_RETRY_AFTER_MS: i64 = 7 * DAY_MS;

/// Between two questions for the suggested time of renewal.
const ASK_AGAIN_MS: std::ops::RangeInclusive<i64> = MINUTE_MS..=DAY_MS;

/// What a decision is made from. Times are in ms since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation<'a> {
    pub(super) now_ms: i64,
    /// When this process started.
    pub(super) started_at_ms: i64,
    pub(super) wanted: &'a Wanted,
    pub(super) certificate: Option<&'a CertificateRecord>,
    pub(super) attempts: Option<&'a AttemptsRecord>,
}

/// What to do about the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Get one.
    Issue,
    /// Ask the server when it suggests to renew the one there is.
    Ask,
    Wait {
        until_ms: i64,
    },
}

/// The decision.
pub(super) fn next_step(situation: &Situation<'_>) -> Step {
    let Situation { now_ms, started_at_ms, wanted, certificate, attempts } = *situation;
    let due_ms = match certificate {
        None => i64::MIN,
        Some(certificate) if !serves(certificate, wanted, started_at_ms) => i64::MIN,
        Some(certificate) => certificate.renew_at_ms,
    };
    let allowed_ms = attempts.map_or(i64::MIN, |failed| next_attempt(failed, wanted, started_at_ms));
    let issue_ms = due_ms.max(allowed_ms);
    if now_ms >= issue_ms {
        return Step::Issue;
    }
    match certificate.and_then(|certificate| certificate.ask_at_ms) {
        Some(ask_ms) if now_ms >= ask_ms => Step::Ask,
        Some(ask_ms) => Step::Wait { until_ms: issue_ms.min(ask_ms) },
        None => Step::Wait { until_ms: issue_ms },
    }
}

/// Whether `certificate` does for a process that wants `wanted`. While masters are being restarted with another
/// configuration, those with the old one must not ask for the old certificate again: the process that started last
/// is right.
fn serves(certificate: &CertificateRecord, wanted: &Wanted, started_at_ms: i64) -> bool {
    let has = &certificate.wanted;
    let covers = wanted.names.iter().all(|name| has.names.contains(name));
    let same = covers && has.directory == wanted.directory && has.profile == wanted.profile;
    same || started_at_ms < certificate.issued_at_ms
}

fn next_attempt(failed: &AttemptsRecord, wanted: &Wanted, started_at_ms: i64) -> i64 {
    let restarted = started_at_ms > failed.last_at_ms;
    match restarted {
        // Another configuration, not yet tried. Without the restart two masters of different configurations would
        // each take the other's failure for a reason to try at once.
        true if failed.wanted != *wanted => i64::MIN,
        true if !failed.rate_limited => {
            failed.next_at_ms.min(failed.last_at_ms.saturating_add(PAUSE_AFTER_RESTART_MS))
        }
        _ => failed.next_at_ms,
    }
}

/// When to try again after this many failures in a row. `chance` is between 0 and 1: masters and clusters do not
/// all come at once. `retry_after_ms` is what the server asked for.
pub(super) fn retry_at(now_ms: i64, failures: u32, retry_after_ms: Option<i64>, chance: f64) -> i64 {
    let last = PAUSES_MS.len() - 1;
    let at = usize::try_from(failures.saturating_sub(1)).map_or(last, |at| at.min(last));
    let pause = PAUSES_MS[at];
    let pause = pause + share(pause / 5, chance);
    let asked = retry_after_ms.unwrap_or(0).clamp(0, MAX_RETRY_AFTER_MS);
    now_ms.saturating_add(pause.max(asked))
}

/// When to replace a certificate that is valid between these times, got at `now_ms`: after two thirds of its life,
/// a sixtieth sooner or later. A clock that runs far ahead of the server's finds every new certificate due: it
/// waits all the same.
pub(super) fn renew_at(now_ms: i64, not_before_ms: i64, not_after_ms: i64, chance: f64) -> i64 {
    let life = not_after_ms.saturating_sub(not_before_ms).max(0);
    let jitter = life / 60;
    let at = not_before_ms + life / 3 * 2 - jitter + share(2 * jitter, chance);
    at.max(now_ms.saturating_add(HOUR_MS.min(life / 6)))
}

/// The time to renew within the window that a server suggests, and at nine tenths of the certificate's life at the
/// latest, whatever the server says.
pub(super) fn within_window(
    window_ms: (i64, i64),
    not_before_ms: i64,
    not_after_ms: i64,
    chance: f64,
) -> i64 {
    let (start, end) = window_ms;
    let wished = start.saturating_add(share(end.saturating_sub(start).max(0), chance));
    let life = not_after_ms.saturating_sub(not_before_ms).max(0);
    wished.min(not_after_ms.saturating_sub(life / 10))
}

/// When to ask for the window again; `after_ms` is what the server said.
pub(super) fn ask_again_at(now_ms: i64, after_ms: i64) -> i64 {
    now_ms.saturating_add(after_ms.clamp(*ASK_AGAIN_MS.start(), *ASK_AGAIN_MS.end()))
}

fn share(whole: i64, chance: f64) -> i64 {
    // No span here comes near 2^53.
    (whole as f64 * chance.clamp(0.0, 1.0)) as i64
}

#[cfg(test)]
mod tests;
