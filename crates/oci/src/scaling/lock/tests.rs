use super::race::{Lost, Progress, Race, Request};
use super::sim::{Bucket, Did, seen};
use super::*;

const TERMS: Terms = Terms::SCALE_IN;

/// Time of the store at which the tests begin, in milliseconds.
const BEGIN: i64 = 1_800_000_000_000;

/// Takes the lock to its end without faults.
fn take_now(bucket: &mut Bucket, now_ms: i64, me: &str) -> Result<Held, Lost> {
    let asked_at = Instant::now();
    let mut progress = Race::take(me, TERMS, Some(300));
    loop {
        progress = match progress {
            Progress::Won(held) => return Ok(held),
            Progress::Lost(lost) => return Err(lost),
            Progress::Ask(race, request) => match bucket.handle(now_ms, 0, &request) {
                Did::Read(store_now, object) => race.read(Some(&seen(asked_at, store_now, object))),
                Did::Wrote(written) => race.written(written),
            },
        };
    }
}

#[test]
fn holder_and_expiry_are_readable() {
    let mut bucket = Bucket::default();
    take_now(&mut bucket, BEGIN, "prod-master-node-2").unwrap();
    assert_eq!(
        std::str::from_utf8(bucket.bytes()).unwrap(),
        r#"{"holder":"prod-master-node-2","expires_at":1800000180,"cycle":6000000,"called":false}"#
    );
}

#[test]
fn it_is_free_after_three_minutes_of_the_store_and_not_a_second_before() {
    let mut bucket = Bucket::default();
    take_now(&mut bucket, BEGIN, "m1").unwrap();
    let refused = take_now(&mut bucket, BEGIN + 179_999, "m2");
    let left = Duration::from_secs(1);
    assert_eq!(refused, Err(Lost::Refused(Refusal::HeldBy { holder: "m1".into(), left })));
    assert!(take_now(&mut bucket, BEGIN + 180_000, "m2").is_ok());
    assert!(
        take_now(&mut bucket, BEGIN + 180_000, "m2").is_err(),
        "not even by its holder, who may be a process before"
    );
}

#[test]
fn a_lease_ends_before_the_lock_does() {
    let before = Instant::now();
    let held = take_now(&mut Bucket::default(), BEGIN, "m1").unwrap();
    assert!(held.until >= before + Duration::from_secs(144));
    assert!(held.until <= Instant::now() + Duration::from_secs(144));
    assert!(held.mark_called(held.until).is_none());
}

#[test]
fn what_is_no_lock_or_never_expires_does_not_block_for_ever() {
    let mut bucket = Bucket::default();
    bucket.put(BEGIN, b"hello");
    assert!(take_now(&mut bucket, BEGIN, "m1").is_ok());
    bucket.put(BEGIN, br#"{"holder":"nobody","expires_at":9223372036854775807}"#);
    assert!(take_now(&mut bucket, BEGIN + 179_000, "m1").is_err());
    assert!(take_now(&mut bucket, BEGIN + 180_000, "m1").is_ok());
    bucket.put(BEGIN, br#"{"holder":"nobody","expires_at":-9223372036854775808}"#);
    assert!(take_now(&mut bucket, BEGIN, "m1").is_ok());
}

#[test]
fn a_lock_as_the_guide_shows_it_is_understood() {
    let mut bucket = Bucket::default();
    bucket.put(BEGIN, br#"{"holder":"other-master-node-1","expires_at":1800000100}"#);
    assert!(take_now(&mut bucket, BEGIN + 99_000, "m1").is_err());
    assert!(take_now(&mut bucket, BEGIN + 100_000, "m1").is_ok());
}

#[test]
fn of_two_that_read_the_same_one_wins() {
    let mut bucket = Bucket::default();
    bucket.put(BEGIN, br#"{"holder":"m9","expires_at":0}"#);
    let mut races = Vec::new();
    for me in ["m1", "m2"] {
        let Progress::Ask(race, request) = Race::take(me, TERMS, None) else { panic!() };
        let Did::Read(store_now, object) = bucket.handle(BEGIN, 0, &request) else { panic!() };
        let Progress::Ask(race, request) = race.read(Some(&seen(Instant::now(), store_now, object))) else {
            panic!()
        };
        races.push((race, request));
    }
    let mut won = 0;
    for (race, request) in races {
        let Did::Wrote(written) = bucket.handle(BEGIN, 0, &request) else { panic!() };
        match race.written(written) {
            Progress::Won(_) => won += 1,
            Progress::Ask(race, Request::Read) => {
                let Did::Read(store_now, object) = bucket.handle(BEGIN, 0, &Request::Read) else { panic!() };
                let end = race.read(Some(&seen(Instant::now(), store_now, object)));
                assert!(matches!(end, Progress::Lost(Lost::Beaten)), "{end:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(won, 1);
}

#[test]
fn a_write_whose_answer_was_lost_is_found_out() {
    for lost_answer in [Written::Unknown, Written::No] {
        let mut bucket = Bucket::default();
        let Progress::Ask(race, _) = Race::take("m1", TERMS, None) else { panic!() };
        let Did::Read(store_now, object) = bucket.handle(BEGIN, 0, &Request::Read) else { panic!() };
        let Progress::Ask(race, write) = race.read(Some(&seen(Instant::now(), store_now, object))) else {
            panic!()
        };
        // It happens; the client repeats it, which meets the first one's object.
        bucket.handle(BEGIN, 0, &write);
        let Progress::Ask(race, Request::Read) = race.written(lost_answer) else { panic!() };
        let Did::Read(store_now, object) = bucket.handle(BEGIN, 0, &Request::Read) else { panic!() };
        assert!(matches!(race.read(Some(&seen(Instant::now(), store_now, object))), Progress::Won(_)));
    }
}

#[test]
fn a_cycle_that_was_called_for_is_over_for_everybody() {
    let mut bucket = Bucket::default();
    let held = take_now(&mut bucket, BEGIN, "m1").unwrap();
    let Progress::Ask(race, request) = Race::mark_called(Instant::now(), &held) else { panic!() };
    let Did::Wrote(written) = bucket.handle(BEGIN + 1000, 0, &request) else { panic!() };
    let Progress::Won(held) = race.written(written) else { panic!() };
    assert!(held.is_called());
    let called = Err(Lost::Refused(Refusal::Called { holder: "m1".into() }));
    assert_eq!(take_now(&mut bucket, BEGIN + 2_000, "m2"), called);
    assert_eq!(take_now(&mut bucket, BEGIN + 250_000, "m2"), called, "although the lock has expired");
    assert!(take_now(&mut bucket, BEGIN + 300_000, "m2").is_ok(), "a new cycle");
}
