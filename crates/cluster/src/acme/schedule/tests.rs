use proptest::prelude::*;

use super::*;

/// 2026, in ms.
const START: i64 = 1_780_000_000_000;

/// Of Let's Encrypt: validations of one name that may fail in an hour.
const FAILURES_PER_HOUR: usize = 5;

fn wanted(names: &[&str]) -> Wanted {
    Wanted {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        directory: "https://ca/dir".into(),
        profile: None,
    }
}

fn certificate(wanted: &Wanted, issued_at_ms: i64, life_ms: i64, chance: f64) -> CertificateRecord {
    CertificateRecord {
        wanted: wanted.clone(),
        chain: String::new(),
        key: "k".into(),
        issued_at_ms,
        not_after_ms: issued_at_ms + life_ms,
        renew_at_ms: renew_at(issued_at_ms, issued_at_ms, issued_at_ms + life_ms, chance),
        ask_at_ms: None,
    }
}

fn failed(wanted: &Wanted, failures: u32, at_ms: i64, chance: f64) -> AttemptsRecord {
    AttemptsRecord {
        wanted: wanted.clone(),
        failures,
        last_at_ms: at_ms,
        next_at_ms: retry_at(at_ms, failures, None, chance),
        rate_limited: false,
        error: String::new(),
        node: "m1".into(),
    }
}

fn step(
    now_ms: i64,
    started_at_ms: i64,
    wanted: &Wanted,
    certificate: Option<&CertificateRecord>,
    attempts: Option<&AttemptsRecord>,
) -> Step {
    next_step(&Situation { now_ms, started_at_ms, wanted, certificate, attempts })
}

#[test]
fn the_first_certificate_is_asked_for_at_once_and_renewed_after_two_thirds_of_its_life() {
    let wanted = wanted(&["a.example"]);
    assert_eq!(step(START, START, &wanted, None, None), Step::Issue);
    for life in [90 * DAY_MS, 6 * DAY_MS, HOUR_MS] {
        let held = certificate(&wanted, START, life, 0.5);
        let due = START + life / 3 * 2;
        assert_eq!(step(due - 1, START, &wanted, Some(&held), None), Step::Wait { until_ms: due });
        assert_eq!(step(due, START, &wanted, Some(&held), None), Step::Issue);
    }
}

#[test]
fn the_server_is_asked_for_its_window_when_it_said_so_and_its_word_counts() {
    let wanted = wanted(&["a.example"]);
    let mut held = certificate(&wanted, START, 90 * DAY_MS, 0.5);
    held.ask_at_ms = Some(START + HOUR_MS);
    let until_ms = START + HOUR_MS;
    assert_eq!(step(START, START, &wanted, Some(&held), None), Step::Wait { until_ms });
    assert_eq!(step(until_ms, START, &wanted, Some(&held), None), Step::Ask);
    // Revoked: the window is in the past.
    held.renew_at_ms = within_window((START - HOUR_MS, START - 1), START, held.not_after_ms, 0.3);
    assert_eq!(step(until_ms, START, &wanted, Some(&held), None), Step::Issue);
}

#[test]
fn of_two_configurations_the_one_that_started_last_is_right() {
    let (old, new) = (wanted(&["a.example"]), wanted(&["a.example", "b.example"]));
    let held = certificate(&old, START, 90 * DAY_MS, 0.5);
    let restarted = START + DAY_MS;
    assert_eq!(step(restarted, restarted, &new, Some(&held), None), Step::Issue);
    let held = certificate(&new, restarted + 1, 90 * DAY_MS, 0.5);
    let waits = |step| matches!(step, Step::Wait { .. });
    assert!(
        waits(step(restarted + 2, START, &old, Some(&held), None)),
        "the others still run with the old one"
    );
    assert!(waits(step(restarted + 9, restarted + 9, &old, Some(&held), None)), "more names do no harm");
    let other = Wanted { directory: "https://other/dir".into(), ..old.clone() };
    assert_eq!(step(restarted + 9, restarted + 9, &other, Some(&held), None), Step::Issue);
}

#[test]
fn a_restart_shortens_the_wait_but_not_one_that_the_server_asked_for() {
    let wanted = wanted(&["a.example"]);
    let mut attempts = failed(&wanted, 7, START, 0.0);
    let restarted = START + MINUTE_MS;
    let until_ms = START + 20 * MINUTE_MS;
    assert_eq!(step(restarted, restarted, &wanted, None, Some(&attempts)), Step::Wait { until_ms });
    assert_eq!(
        step(until_ms, START, &wanted, None, Some(&attempts)),
        Step::Wait { until_ms: START + 6 * HOUR_MS }
    );
    attempts.rate_limited = true;
    attempts.next_at_ms = retry_at(START, 7, Some(DAY_MS), 0.0);
    assert_eq!(
        step(until_ms, restarted, &wanted, None, Some(&attempts)),
        Step::Wait { until_ms: START + DAY_MS }
    );
    attempts.next_at_ms = retry_at(START, 7, Some(365 * DAY_MS), 0.0);
    assert_eq!(attempts.next_at_ms, START + 7 * DAY_MS, "no server shuts us up for ever");
}

#[test]
fn a_server_whose_clock_is_far_from_ours_is_not_asked_again_at_once() {
    // It issued for a time that is long past for us.
    let now = START + 400 * DAY_MS;
    assert!(renew_at(now, START, START + 90 * DAY_MS, 0.5) > now);
    assert!(renew_at(now, START, START, 0.5) >= now, "no life at all");
}

proptest! {
    #[test]
    fn a_certificate_is_renewed_in_time_whatever_the_chance(life in HOUR_MS..400 * DAY_MS, chance in 0.0..1.0f64) {
        let at = renew_at(START, START, START + life, chance);
        prop_assert!(at >= START + life / 2 && at <= START + life / 4 * 3, "{}", at - START);
    }

    #[test]
    fn a_window_is_obeyed_and_never_beyond_the_end(
        start in -100 * DAY_MS..100 * DAY_MS, length in -DAY_MS..200 * DAY_MS, chance in 0.0..1.0f64,
    ) {
        let (not_after, window) = (START + 90 * DAY_MS, (START + start, START + start + length));
        let at = within_window(window, START, not_after, chance);
        prop_assert!(at <= START + 81 * DAY_MS);
        prop_assert!(at == START + 81 * DAY_MS || (window.0..=window.1.max(window.0)).contains(&at));
    }

    /// Four masters, each restarted at any time and with two configurations, against a server that always fails:
    /// whichever of them acts, the limits of Let's Encrypt hold.
    #[test]
    fn no_restarts_and_no_number_of_masters_exceed_the_limit_of_failures(
        mut restarts in proptest::collection::vec((0..4usize, 0..48 * 60i64), 0..40),
        chances in proptest::collection::vec(0.0..1.0f64, 200),
    ) {
        restarts.sort_by_key(|(_, minute)| *minute);
        let wanted = wanted(&["a.example"]);
        let mut started = [START; 4];
        let mut attempts: Option<AttemptsRecord> = None;
        let mut tried: Vec<i64> = Vec::new();
        for minute in 0..48 * 60 {
            let now = START + minute * MINUTE_MS;
            for (master, at) in &restarts {
                if *at == minute {
                    started[*master] = now;
                }
            }
            for started in started {
                if step(now, started, &wanted, None, attempts.as_ref()) == Step::Issue {
                    let failures = attempts.as_ref().map_or(0, |attempts| attempts.failures) + 1;
                    attempts = Some(failed(&wanted, failures, now, chances[tried.len() % chances.len()]));
                    tried.push(now);
                }
            }
        }
        for window in tried.windows(FAILURES_PER_HOUR + 1) {
            prop_assert!(window[FAILURES_PER_HOUR] - window[0] >= HOUR_MS, "{tried:?}");
        }
        prop_assert!(tried.len() >= 10, "it goes on trying: {tried:?}");
    }

    /// A rolling change of the configuration costs one certificate, in whatever order the masters restart.
    #[test]
    fn a_rolling_restart_with_other_names_costs_one_certificate(order in Just([0usize, 1, 2, 3]).prop_shuffle()) {
        let (old, new) = (wanted(&["a.example"]), wanted(&["a.example", "b.example"]));
        let mut held = certificate(&old, START, 90 * DAY_MS, 0.5);
        let mut masters = [(START, old.clone()), (START, old.clone()), (START, old.clone()), (START, old)];
        let mut issued = 0;
        for (turn, master) in (1i64..).zip(order) {
            masters[master] = (START + turn * HOUR_MS, new.clone());
            for minute in 0..60 {
                let now = START + turn * HOUR_MS + minute * MINUTE_MS;
                for (started, wanted) in &masters {
                    if step(now, *started, wanted, Some(&held), None) == Step::Issue {
                        held = certificate(wanted, now + 1, 90 * DAY_MS, 0.5);
                        issued += 1;
                    }
                }
            }
        }
        prop_assert_eq!((issued, held.wanted), (1, new));
    }
}
