use super::*;
use proptest::prelude::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn packet_overtaken_by_the_first_one_still_has_a_number() {
    let mut tracker = SeqTracker::new();
    let (first, _) = tracker.on_packet(0);
    let (before, arrival) = tracker.on_packet(65_535);
    assert_eq!((before.0 + 1, arrival), (first.0, Arrival::Late));
    assert_eq!(tracker.on_packet(65_535).1, Arrival::Duplicate);
    assert_eq!(tracker.duplicates(), 1);
}

#[test]
fn stray_packet_does_not_restart_the_stream_but_two_in_a_row_do() {
    let mut tracker = SeqTracker::new();
    let (first, _) = tracker.on_packet(1000);
    assert_eq!(tracker.on_packet(30_000).1, Arrival::Stray);
    assert_eq!(tracker.on_packet(1001), (ExtSeq(first.0 + 1), Arrival::Newest));
    assert_eq!(tracker.on_packet(50_000).1, Arrival::Stray);
    let (restarted, arrival) = tracker.on_packet(50_001);
    assert_eq!(arrival, Arrival::Restart);
    assert!(restarted > first && restarted.wire() == 50_001);
    assert_eq!(tracker.on_packet(50_002).0, ExtSeq(restarted.0 + 1));
}

#[test]
fn report_counts_loss_per_interval_and_in_all() {
    let now = Instant::now();
    let mut stats = ReceiverStats::new(90_000);
    assert_eq!(stats.report_block(Ssrc(7), now), None);
    for seq in (0..100).filter(|seq| seq % 4 != 1) {
        stats.on_packet(ExtSeq(65_500 + seq), 0, now);
    }
    let block = stats.report_block(Ssrc(7), now).unwrap();
    assert_eq!((block.ssrc, block.cumulative_lost, block.fraction_lost), (Ssrc(7), 25, 64));
    assert_eq!(block.highest_seq, 65_599, "one cycle and 63");
    for seq in 100..200 {
        stats.on_packet(ExtSeq(65_500 + seq), 0, now);
    }
    let block = stats.report_block(Ssrc(7), now).unwrap();
    assert_eq!((block.cumulative_lost, block.fraction_lost), (25, 0));
    assert_eq!(stats.report_block(Ssrc(7), now).unwrap().fraction_lost, 0, "nothing in the interval");
}

#[test]
fn duplicates_make_the_cumulative_loss_negative() {
    let now = Instant::now();
    let mut stats = ReceiverStats::new(48_000);
    for seq in [10, 10, 10, 11] {
        stats.on_packet(ExtSeq(seq), 0, now);
    }
    let block = stats.report_block(Ssrc(1), now).unwrap();
    assert_eq!((block.cumulative_lost, block.fraction_lost), (-2, 0));
}

#[test]
fn jitter_is_told_in_the_clock_of_the_stream() {
    let start = Instant::now();
    let mut stats = ReceiverStats::new(48_000);
    // Every other packet is 5 ms late: successive transits differ by 240 ticks.
    for packet in 0..500u32 {
        let late = if packet % 2 == 0 { 0 } else { 5 };
        stats.on_packet(ExtSeq(packet.into()), packet * 960, start + ms(u64::from(packet) * 20 + late));
    }
    assert!((235..=240).contains(&stats.report_block(Ssrc(1), start).unwrap().jitter));
    assert_eq!(stats.jitter().as_millis(), 4);
}

#[test]
fn even_pace_has_no_jitter_across_the_wrap_of_the_timestamp() {
    let start = Instant::now();
    let mut stats = ReceiverStats::new(90_000);
    for packet in 0..100u32 {
        let rtp_time = (u32::MAX - 5000).wrapping_add(packet * 900);
        stats.on_packet(ExtSeq(packet.into()), rtp_time, start + ms(u64::from(packet) * 10));
    }
    assert_eq!(stats.report_block(Ssrc(1), start).unwrap().jitter, 0);
}

#[test]
fn round_trip_time_of_a_forwarded_report_counts_from_our_sending() {
    let start = Instant::now();
    let mut sender = SenderStats::new();
    let mut receiver = ReceiverStats::new(90_000);
    receiver.on_packet(ExtSeq(1), 0, start);
    let ntp = 0xE000_1234_5678_9ABC;
    sender.on_sender_report_sent(ntp, start);
    receiver.on_sender_report(ntp, start + ms(30));
    let block = receiver.report_block(Ssrc(1), start + ms(1030)).unwrap();
    for later in 1..SENT_REPORTS as u64 {
        sender.on_sender_report_sent(ntp + (later << 32), start + ms(100 * later));
    }
    let rtt = sender.on_report_block(&block, start + ms(1060)).unwrap();
    assert!((59_900..60_100).contains(&rtt.as_micros()), "{rtt:?}");
    sender.on_sender_report_sent(ntp + (99 << 32), start + ms(900));
    assert_eq!(sender.on_report_block(&block, start + ms(1060)), None, "forgotten");
    assert_eq!(sender.rtt(), Some(rtt));
}

#[test]
fn impossible_report_yields_no_round_trip_time() {
    let start = Instant::now();
    let mut sender = SenderStats::new();
    sender.on_sender_report_sent(5 << 16, start);
    let block = ReportBlock {
        ssrc: Ssrc(1),
        fraction_lost: 128,
        cumulative_lost: 0,
        highest_seq: 0,
        jitter: 0,
        last_sr: 5,
        delay_since_last_sr: u32::MAX,
    };
    assert_eq!(sender.on_report_block(&block, start + ms(10)), None);
    assert_eq!(sender.remote_loss(), 0.5);
}

#[test]
fn sent_counters_are_those_of_a_sender_report() {
    let mut sender = SenderStats::new();
    sender.on_packet(1000);
    sender.on_packet(200);
    assert_eq!((sender.packet_count(), sender.octet_count()), (2, 1200));
}

proptest! {
    #[test]
    fn any_packets_and_reports_are_survived(
        packets in prop::collection::vec((any::<u16>(), any::<u32>(), 0u64..5000), 0..200),
    ) {
        let mut now = Instant::now();
        let (mut tracker, mut stats) = (SeqTracker::new(), ReceiverStats::new(90_000));
        for (seq, rtp_time, wait) in packets {
            now += ms(wait);
            let (ext, arrival) = tracker.on_packet(seq);
            prop_assert_eq!(ext.wire(), seq);
            if arrival == Arrival::Restart {
                stats.restart();
            }
            stats.on_packet(ext, rtp_time, now);
            prop_assert!(stats.report_block(Ssrc(1), now).is_some());
        }
    }

    #[test]
    fn every_packet_is_new_exactly_once(start in any::<u16>(), order in prop::collection::vec(0u16..8, 1..500)) {
        let mut tracker = SeqTracker::new();
        let mut seen = std::collections::HashSet::new();
        for (at, jitter) in (0u16..).zip(order) {
            let seq = start.wrapping_add(at + jitter);
            let (ext, arrival) = tracker.on_packet(seq);
            prop_assert_eq!(arrival == Arrival::Duplicate, !seen.insert(ext));
        }
    }
}
