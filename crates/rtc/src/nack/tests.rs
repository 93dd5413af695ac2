use super::*;
use proptest::prelude::*;

const RTT: Option<Duration> = Some(Duration::from_millis(80));

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn received(seqs: impl IntoIterator<Item = u64>, now: Instant) -> NackGenerator {
    let mut nack = NackGenerator::new();
    for seq in seqs {
        nack.on_packet(ExtSeq(seq), now);
    }
    nack
}

#[test]
fn reordered_packet_is_never_asked_for() {
    let now = Instant::now();
    let mut nack = received([70_000, 70_002], now);
    assert!(nack.poll(now + ms(19), RTT).is_empty());
    nack.on_packet(ExtSeq(70_001), now + ms(19));
    assert_eq!(nack.next_timeout(), None);
    assert!(nack.poll(now + ms(1000), RTT).is_empty());
}

#[test]
fn lost_packet_is_asked_for_with_growing_distance_and_then_given_up() {
    let start = Instant::now();
    let mut nack = received([100, 102], start);
    let (mut asked, mut given_up) = (Vec::new(), 0);
    while let Some(at) = nack.next_timeout() {
        let batch = nack.poll(at, RTT);
        if !batch.is_empty() {
            assert_eq!(&*batch, &[101]);
            asked.push(at.duration_since(start).as_millis());
        }
        given_up += batch.given_up;
    }
    assert_eq!(asked, [20, 100, 200, 325, 481]);
    assert_eq!(given_up, 1);
}

#[test]
fn distance_is_capped_for_slow_paths() {
    let start = Instant::now();
    let mut nack = received([1, 3], start);
    let mut previous = nack.next_timeout().unwrap();
    nack.poll(previous, Some(Duration::from_secs(100)));
    while let Some(at) = nack.next_timeout() {
        assert_eq!(at - previous, MAX_SPACING);
        nack.poll(at, Some(Duration::from_secs(100)));
        previous = at;
    }
}

#[test]
fn unknown_round_trip_time_is_assumed() {
    let start = Instant::now();
    let mut nack = received([1, 3], start);
    assert_eq!(nack.poll(start + ms(20), None).len(), 1);
    assert_eq!(nack.next_timeout(), Some(start + ms(20) + DEFAULT_RTT));
}

#[test]
fn packet_restored_by_retransmission_is_not_asked_for_again() {
    let start = Instant::now();
    let mut nack = received([1, 5], start);
    assert_eq!(&*nack.poll(start + ms(20), RTT), &[2, 3, 4]);
    nack.on_packet(ExtSeq(3), start + ms(60));
    assert_eq!(&*nack.poll(start + ms(100), RTT), &[2, 4]);
}

#[test]
fn older_losses_yield_to_newer_ones_and_ask_for_a_key_frame() {
    let start = Instant::now();
    let mut nack = received([1, 61, 131], start);
    let batch = nack.poll(start + ms(20), RTT);
    assert_eq!(batch.len(), MAX_PENDING);
    assert_eq!(batch.given_up, 28, "59 and 69 are missing");
    assert_eq!((batch[0], batch[MAX_PENDING - 1]), (30, 130));
}

#[test]
fn wrap_of_the_wire_number_is_no_gap() {
    let start = Instant::now();
    let mut nack = received([65_534, 65_535, 65_536, 65_538], start);
    assert_eq!(&*nack.poll(start + ms(20), RTT), &[1]);
}

#[test]
fn far_jump_is_a_new_stream_and_asks_for_a_key_frame_only() {
    let start = Instant::now();
    let mut nack = received([1, 3, 50_000], start);
    assert_eq!(nack.next_timeout(), Some(start));
    let batch = nack.poll(start, RTT);
    assert!(batch.is_empty() && batch.given_up > 0);
    assert_eq!(nack.next_timeout(), None);
}

proptest! {
    #[test]
    fn memory_is_bounded_and_received_packets_are_never_asked_for(
        steps in prop::collection::vec((0u64..400, 0u64..50), 1..400),
    ) {
        let mut now = Instant::now();
        let mut nack = NackGenerator::new();
        let mut seen = std::collections::HashSet::new();
        for (step, (offset, wait)) in (0u64..).zip(steps) {
            let seq = 65_300 + step + offset;
            seen.insert(seq as u16);
            nack.on_packet(ExtSeq(seq), now);
            now += ms(wait);
            let batch = nack.poll(now, RTT);
            prop_assert!(nack.pending() <= MAX_PENDING);
            prop_assert!(batch.iter().all(|seq| !seen.contains(seq)));
            prop_assert_eq!(nack.pending() == 0, nack.next_timeout().is_none());
            prop_assert!(nack.next_timeout().is_none_or(|at| at > now));
        }
    }
}
