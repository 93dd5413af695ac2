use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::Ssrc;
use crate::rtcp::{RtcpPacket, RtcpWriter, parse_compound};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A feedback packet as parsed: reference ticks and statuses.
type Parsed = (i64, Vec<(u16, Option<i16>)>);

/// Tells everything that is due through real bytes, at most `room` at a time.
fn exchange(recorder: &mut TwccRecorder, now: Instant, room: usize) -> Vec<Parsed> {
    let mut packets = Vec::new();
    let mut buf = vec![0; room];
    while let Some(feedback) = recorder.feedback(now) {
        let mut writer = RtcpWriter::new(&mut buf);
        let told = writer.transport_feedback(
            Ssrc(1),
            Ssrc(2),
            feedback.base_seq,
            feedback.feedback_count,
            feedback.arrivals,
        );
        assert!(told > 0, "a feedback packet that tells nothing would loop for ever");
        let len = writer.len();
        recorder.told(told, now);
        for packet in parse_compound(&buf[..len]) {
            let Ok(RtcpPacket::TransportFeedback(feedback)) = packet else { panic!("{packet:?}") };
            packets.push((feedback.reference_ticks(), feedback.statuses().collect()));
        }
    }
    packets
}

/// What a sender learns: arrival in ticks by number, first telling wins.
fn learn(packets: &[Parsed], learnt: &mut BTreeMap<u16, i64>) {
    for (reference, statuses) in packets {
        let mut at = *reference;
        for &(seq, delta) in statuses {
            let Some(delta) = delta else { continue };
            at += i64::from(delta);
            assert_eq!(*learnt.entry(seq).or_insert(at), at, "told twice with different times");
        }
    }
}

#[test]
fn feedback_waits_for_its_interval_and_then_rests() {
    let start = Instant::now();
    let mut recorder = TwccRecorder::new(start);
    assert_eq!(recorder.next_timeout(), None);
    recorder.record(10, false, start + ms(5));
    recorder.record(12, true, start + ms(50));
    assert_eq!(recorder.next_timeout(), Some(start + ms(105)));
    assert_eq!(recorder.feedback(start + ms(104)), None);
    let feedback = recorder.feedback(start + ms(105)).unwrap();
    assert_eq!((feedback.base_seq, feedback.feedback_count), (10, 0));
    assert_eq!(feedback.arrivals, [Some(20), None, Some(200)]);
    recorder.told(3, start + ms(105));
    assert_eq!((recorder.feedback(start + ms(900)), recorder.next_timeout()), (None, None));
}

#[test]
fn end_of_a_large_frame_brings_feedback_early() {
    let start = Instant::now();
    let mut recorder = TwccRecorder::new(start);
    recorder.record(0, false, start);
    recorder.told(1, start);
    for seq in 1..=25 {
        recorder.record(seq, seq == 25, start + ms(10));
    }
    assert_eq!(recorder.next_timeout(), Some(start + ms(50)));
}

#[test]
fn many_packets_are_told_at_once() {
    let start = Instant::now();
    let mut recorder = TwccRecorder::new(start);
    for seq in 0..=100 {
        recorder.record(seq, false, start + ms(1));
    }
    assert_eq!(recorder.next_timeout(), Some(start + ms(1)));
}

#[test]
fn packet_told_lost_that_comes_late_is_told_after_all() {
    let start = Instant::now();
    let mut recorder = TwccRecorder::new(start);
    recorder.record(1, false, start);
    recorder.record(3, false, start + ms(1));
    let mut learnt = BTreeMap::new();
    learn(&exchange(&mut recorder, start + ms(100), 1200), &mut learnt);
    assert_eq!(learnt.len(), 2);
    recorder.record(2, false, start + ms(150));
    let packets = exchange(&mut recorder, start + ms(250), 1200);
    assert_eq!(packets[0].1[0].0, 2);
    learn(&packets, &mut learnt);
    assert_eq!(learnt, BTreeMap::from([(1, 0), (2, 600), (3, 4)]));
}

#[test]
fn duplicate_neither_moves_an_arrival_nor_wakes_anybody() {
    let start = Instant::now();
    let mut recorder = TwccRecorder::new(start);
    recorder.record(1, false, start);
    recorder.told(1, start + ms(100));
    recorder.record(1, false, start + ms(120));
    assert_eq!(recorder.next_timeout(), None);
}

#[test]
fn far_jump_and_new_numbering_begin_anew() {
    let start = Instant::now();
    let mut recorder = TwccRecorder::new(start);
    recorder.record(1, false, start);
    recorder.record(5000, false, start + ms(1));
    assert_eq!(recorder.feedback(start + ms(100)).unwrap().base_seq, 5000);
    recorder.told(1, start + ms(100));
    recorder.record(100, false, start + ms(110));
    assert_eq!(recorder.next_timeout(), None, "a stray");
    for seq in 101..120 {
        recorder.record(seq, false, start + ms(111));
    }
    assert_eq!(recorder.feedback(start + ms(300)).unwrap().base_seq, 115);
}

#[test]
fn large_gaps_in_time_and_small_datagrams_split_the_feedback() {
    let start = Instant::now();
    let mut recorder = TwccRecorder::new(start);
    let mut sent = BTreeMap::new();
    for (seq, at) in [(65_534u16, 0), (65_535, 9_000), (0, 9_001), (1, 30_000)] {
        recorder.record(seq, false, start + ms(at));
        sent.insert(seq, at as i64 * 4);
    }
    let packets = exchange(&mut recorder, start + ms(30_100), 60);
    assert_eq!(packets.len(), 3);
    let mut learnt = BTreeMap::new();
    learn(&packets, &mut learnt);
    assert_eq!(learnt, sent);
}

#[test]
fn each_packet_has_one_fate_however_often_it_is_told() {
    let start = Instant::now();
    let mut sent = SentPackets::new(start, 65_535);
    assert_eq!(sent.push(start + ms(1), 1200, ClusterId(3)), 65_535);
    assert_eq!(sent.push(start + ms(2), 300, ClusterId::NONE), 0);
    let first: Vec<_> =
        sent.on_feedback(512, [(65_535, Some(4)), (0, None), (7, None)].into_iter()).collect();
    assert_eq!(
        first,
        [
            PacketResult {
                seq: 65_535,
                sent_us: 1000,
                arrival_us: Some(129_000),
                size: 1200,
                cluster: ClusterId(3),
                was_lost: false
            },
            PacketResult {
                seq: 0,
                sent_us: 2000,
                arrival_us: None,
                size: 300,
                cluster: ClusterId::NONE,
                was_lost: false
            },
        ]
    );
    let again: Vec<_> = sent.on_feedback(512, [(65_535, Some(4)), (0, Some(8))].into_iter()).collect();
    assert_eq!(again.len(), 1);
    assert!(again[0].was_lost && again[0].arrival_us == Some(131_000));
    assert_eq!(sent.on_feedback(512, [(65_535, None), (0, None)].into_iter()).count(), 0);
}

#[test]
fn feedback_about_overwritten_packets_is_passed_over() {
    let start = Instant::now();
    let mut sent = SentPackets::new(start, 0);
    for _ in 0..HISTORY + 1 {
        sent.push(start, 100, ClusterId::NONE);
    }
    let results: Vec<_> = sent.on_feedback(0, [(0, Some(1)), (1, Some(1))].into_iter()).collect();
    assert_eq!(results.iter().map(|result| result.seq).collect::<Vec<_>>(), [1]);
}

#[test]
fn arrival_times_go_on_when_the_reference_time_wraps() {
    let start = Instant::now();
    let mut sent = SentPackets::new(start, 0);
    let arrivals: Vec<_> = [(1 << 23) - 1, -(1 << 23), (1 << 23) - 2]
        .into_iter()
        .map(|reference: i64| {
            let seq = sent.push(start, 100, ClusterId::NONE);
            let result = sent.on_feedback(reference * 256, [(seq, Some(0))].into_iter()).next();
            result.unwrap().arrival_us.unwrap()
        })
        .collect();
    assert_eq!(arrivals[1] - arrivals[0], 64_000);
    assert_eq!(arrivals[2] - arrivals[0], -64_000);
}

proptest! {
    /// Builder and parser together are the identity on arrival times in ticks of 250 µs.
    #[test]
    fn every_arrival_is_told_exactly(
        first in any::<u16>(),
        lost_percent in 0u32..60,
        room in 60usize..1200,
        packets in prop::collection::vec((0u32..100, 0u64..60_000, 0u16..30), 1..600),
    ) {
        let start = Instant::now();
        let mut now = start;
        let mut recorder = TwccRecorder::new(start);
        let (mut arrived, mut learnt) = (BTreeMap::new(), BTreeMap::new());
        // Reordering: packets arrive in the order of their number plus a random delay.
        let mut order: Vec<_> = (0u16..).zip(&packets).map(|(at, packet)| (at + packet.2, at, packet)).collect();
        order.sort_unstable();
        for (_, at, &(fate, wait_us, _)) in order {
            now += Duration::from_micros(wait_us);
            if fate >= lost_percent {
                let seq = first.wrapping_add(at);
                recorder.record(seq, at % 7 == 0, now);
                arrived.insert(seq, ((now - start).as_micros() / 250) as i64);
            }
            prop_assert!(recorder.arrivals_len() <= MAX_WINDOW);
            learn(&exchange(&mut recorder, now, room), &mut learnt);
        }
        if let Some(due) = recorder.next_timeout() {
            learn(&exchange(&mut recorder, due, room), &mut learnt);
        }
        prop_assert_eq!(recorder.next_timeout(), None);
        // Only a packet overtaken before the first arrival, or by more than the window, may go untold.
        let untold: Vec<_> = arrived.iter().filter(|(seq, at)| learnt.get(seq) != Some(at)).collect();
        prop_assert!(untold.len() <= 30, "{:?}", untold);
        prop_assert!(learnt.iter().all(|(seq, at)| arrived.get(seq) == Some(at)));
    }

    #[test]
    fn any_numbers_are_survived(
        seqs in prop::collection::vec((any::<u16>(), 0u64..2_000, any::<bool>()), 0..300),
        runs in prop::collection::vec((any::<u16>(), any::<u8>()), 0..20),
    ) {
        let start = Instant::now();
        let mut now = start;
        let mut recorder = TwccRecorder::new(start);
        for (seq, wait, marker) in seqs {
            now += ms(wait);
            recorder.record(seq, marker, now);
            exchange(&mut recorder, now, 1200);
            prop_assert!(recorder.arrivals_len() <= MAX_WINDOW);
        }
        for (seq, len) in runs {
            for at in 0..u16::from(len) {
                recorder.record(seq.wrapping_add(at), false, now);
                prop_assert!(recorder.arrivals_len() <= MAX_WINDOW);
            }
            exchange(&mut recorder, now + ms(200), 1200);
        }
    }

    #[test]
    fn any_feedback_is_survived(
        feedbacks in prop::collection::vec(
            (any::<i32>(), prop::collection::vec((any::<u16>(), any::<Option<i16>>()), 0..100)), 0..20),
    ) {
        let start = Instant::now();
        let mut sent = SentPackets::new(start, 60_000);
        (0..3000).for_each(|_| { sent.push(start, 1200, ClusterId::NONE); });
        for (reference, statuses) in feedbacks {
            let reference = i64::from(reference >> 8) * 256;
            prop_assert!(sent.on_feedback(reference, statuses.into_iter()).count() <= 100);
        }
    }
}
