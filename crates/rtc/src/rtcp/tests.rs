use proptest::prelude::*;

use super::*;

fn written(write: impl FnOnce(&mut RtcpWriter<'_>)) -> Vec<u8> {
    let mut buf = [0xFF; 1400];
    let mut writer = RtcpWriter::new(&mut buf);
    write(&mut writer);
    let len = writer.len();
    buf[..len].to_vec()
}

fn only(bytes: &[u8]) -> RtcpPacket<'_> {
    let mut packets = parse_compound(bytes);
    let packet = packets.next().unwrap().unwrap();
    assert!(packets.next().is_none());
    packet
}

const BLOCK: ReportBlock = ReportBlock {
    ssrc: Ssrc(7),
    fraction_lost: 128,
    cumulative_lost: -3,
    highest_seq: 0x0001_FFFF,
    jitter: 44,
    last_sr: 55,
    delay_since_last_sr: 66,
};

#[test]
fn a_compound_of_everything_reads_back() {
    let bytes = written(|out| {
        assert!(out.sender_report(Ssrc(1), 0x0102_0304_0506_0708, 90_000, 10, 1000, &[BLOCK, BLOCK]));
        assert!(out.receiver_report(Ssrc(1), &[BLOCK]));
        assert!(out.sdes(Ssrc(1), "stream", Some("0")));
        assert!(out.nack(Ssrc(1), Ssrc(2), &[65_535, 0, 15, 100]));
        assert!(out.pli(Ssrc(1), Ssrc(2)));
        assert!(out.fir(Ssrc(1), Ssrc(2), 9));
        assert!(out.remb(Ssrc(1), 1_000_000, &[Ssrc(2), Ssrc(3)]));
        assert!(out.bye(&[Ssrc(1), Ssrc(2)]));
    });
    let packets: Vec<_> = parse_compound(&bytes).map(Result::unwrap).collect();
    let [
        RtcpPacket::SenderReport(sr),
        RtcpPacket::ReceiverReport(rr),
        RtcpPacket::Sdes(sdes),
        RtcpPacket::Nack(nack),
        RtcpPacket::Pli { sender: Ssrc(1), media: Ssrc(2) },
        RtcpPacket::Fir(fir),
        RtcpPacket::Remb(remb),
        RtcpPacket::Bye(bye),
    ] = &packets[..]
    else {
        panic!("{packets:?}");
    };
    assert_eq!((sr.ntp, sr.rtp_time), (0x0102_0304_0506_0708, 90_000));
    assert_eq!((sr.packet_count, sr.octet_count), (10, 1000));
    assert_eq!(sr.reports.iter().collect::<Vec<_>>(), [BLOCK, BLOCK]);
    assert_eq!(rr.reports.iter().collect::<Vec<_>>(), [BLOCK]);
    let items: Vec<_> = sdes.items().map(|item| (item.ssrc, item.kind, item.value)).collect();
    assert_eq!(items, [(Ssrc(1), SdesItem::CNAME, &b"stream"[..]), (Ssrc(1), SdesItem::MID, b"0")]);
    assert_eq!(nack.seqs().collect::<Vec<_>>(), [65_535, 0, 15, 100]);
    assert_eq!(fir.entries().collect::<Vec<_>>(), [(Ssrc(2), 9)]);
    assert_eq!(remb.bitrate_bps, 1_000_000);
    assert_eq!(remb.ssrcs().collect::<Vec<_>>(), [Ssrc(2), Ssrc(3)]);
    assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [Ssrc(1), Ssrc(2)]);
}

#[test]
fn seventeen_losses_in_a_row_take_one_nack_word() {
    let seqs: Vec<u16> = (100..117).collect();
    let bytes = written(|out| assert!(out.nack(Ssrc(1), Ssrc(2), &seqs)));
    assert_eq!(bytes.len(), 16);
    assert_eq!(bytes[12..], [0, 100, 0xFF, 0xFF]);
}

#[test]
fn a_description_of_any_length_ends_on_a_word() {
    for len in 0..20 {
        let name = &"abcdefghijklmnopqrstuvwxyz"[..len];
        let bytes = written(|out| assert!(out.sdes(Ssrc(5), name, None)));
        let RtcpPacket::Sdes(sdes) = only(&bytes) else { panic!() };
        assert_eq!(sdes.items().map(|item| item.value).collect::<Vec<_>>(), [name.as_bytes()]);
    }
}

#[test]
fn an_absurd_remb_does_not_overflow() {
    let mut bytes = written(|out| assert!(out.remb(Ssrc(1), u64::MAX, &[])));
    let RtcpPacket::Remb(remb) = only(&bytes) else { panic!() };
    assert_eq!(remb.bitrate_bps, 0x3FFFF << 46);
    bytes[17] = 0xFF;
    let RtcpPacket::Remb(remb) = only(&bytes) else { panic!() };
    assert_eq!(remb.bitrate_bps, u64::MAX);
}

#[test]
fn unknown_packet_types_do_not_hide_what_follows() {
    let xr = [0x80, 207, 0, 1, 0, 0, 0, 1];
    let bytes = [&xr[..], &written(|out| assert!(out.pli(Ssrc(1), Ssrc(2))))].concat();
    let packets: Vec<_> = parse_compound(&bytes).collect();
    assert!(matches!(
        packets[..],
        [Ok(RtcpPacket::Other { packet_type: 207, .. }), Ok(RtcpPacket::Pli { .. })]
    ));
}

#[test]
fn a_lying_report_count_is_skipped_and_a_lying_length_ends_the_walk() {
    let mut bytes = written(|out| {
        assert!(out.receiver_report(Ssrc(1), &[BLOCK]));
        assert!(out.pli(Ssrc(1), Ssrc(2)));
    });
    bytes[0] = 0x82;
    let packets: Vec<_> = parse_compound(&bytes).collect();
    assert!(matches!(packets[..], [Err(RtcpError::Inconsistent(201)), Ok(RtcpPacket::Pli { .. })]));
    bytes[3] = 200;
    let packets: Vec<_> = parse_compound(&bytes).collect();
    assert!(matches!(packets[..], [Err(RtcpError::Truncated)]));
}

#[test]
fn padding_is_cut_and_checked() {
    let mut bytes = written(|out| assert!(out.nack(Ssrc(1), Ssrc(2), &[5])));
    bytes.extend([0, 0, 0, 4]);
    (bytes[0], bytes[3]) = (bytes[0] | 0x20, bytes[3] + 1);
    let RtcpPacket::Nack(nack) = only(&bytes) else { panic!() };
    assert_eq!(nack.seqs().collect::<Vec<_>>(), [5]);
    *bytes.last_mut().unwrap() = 200;
    assert!(matches!(parse_compound(&bytes).next(), Some(Err(RtcpError::Padding))));
}

#[test]
fn a_full_writer_refuses_and_keeps_what_it_has() {
    let mut buf = [0; 40];
    let mut out = RtcpWriter::new(&mut buf);
    assert!(out.pli(Ssrc(1), Ssrc(2)));
    assert!(!out.receiver_report(Ssrc(1), &[BLOCK]));
    assert!(out.pli(Ssrc(1), Ssrc(3)));
    assert_eq!((out.len(), out.remaining()), (24, 16));
}

/// The example shape of the draft: what a run of packets looks like on the wire.
#[test]
fn transport_feedback_has_the_layout_of_the_draft() {
    let ticks = |ms: i64| Some(ms * 4);
    let arrivals = [ticks(64), ticks(65), None, ticks(64)];
    let bytes = written(|out| {
        assert_eq!(out.transport_feedback(Ssrc(1), Ssrc(2), 10, 3, &arrivals), 4);
    });
    // Reference 1 (64 ms); symbols small, small, lost, large; deltas 0, 4, -4.
    let want = [10, 0, 4, 0, 0, 1, 3, 0b1101_0100, 0b1000_0000, 0, 4, 0xFF, 0xFC];
    assert_eq!(bytes[13..13 + want.len()], want);
    let RtcpPacket::TransportFeedback(feedback) = only(&bytes) else { panic!() };
    assert_eq!((feedback.sender, feedback.media), (Ssrc(1), Ssrc(2)));
    assert_eq!((feedback.feedback_count, feedback.reference_ticks()), (3, 256));
    let statuses: Vec<_> = feedback.statuses().collect();
    assert_eq!(statuses, [(10, Some(0)), (11, Some(4)), (12, None), (13, Some(-4))]);
}

#[test]
fn transport_feedback_with_a_reserved_symbol_is_skipped() {
    let mut bytes = written(|out| {
        out.transport_feedback(Ssrc(1), Ssrc(2), 10, 3, &[Some(0); 20]);
    });
    bytes[20] |= 0x60;
    assert!(matches!(parse_compound(&bytes).next(), Some(Err(RtcpError::ReservedSymbol))));
}

#[test]
fn transport_feedback_without_its_deltas_is_skipped() {
    let mut bytes = written(|out| {
        out.transport_feedback(Ssrc(1), Ssrc(2), 10, 3, &[Some(0); 20]);
    });
    // Status count and run length agree on 200, of which only twenty have deltas.
    (bytes[15], bytes[21]) = (200, 200);
    assert!(matches!(parse_compound(&bytes).next(), Some(Err(RtcpError::Inconsistent(205)))));
}

fn told(base: u16, arrivals: &[Option<i64>], capacity: usize) -> Vec<(u16, Option<i64>)> {
    let (mut told, mut rest, mut base) = (Vec::new(), arrivals, base);
    while !rest.is_empty() {
        let mut buf = vec![0xFF; capacity];
        let mut out = RtcpWriter::new(&mut buf);
        let count = out.transport_feedback(Ssrc(1), Ssrc(2), base, 0, rest);
        assert!(count > 0);
        let len = out.len();
        let RtcpPacket::TransportFeedback(feedback) = only(&buf[..len]) else { panic!() };
        let mut at = feedback.reference_ticks();
        for (seq, delta) in feedback.statuses() {
            at += delta.map_or(0, i64::from);
            told.push((seq, delta.map(|_| at)));
        }
        rest = &rest[count..];
        base = base.wrapping_add(count as u16);
    }
    told
}

proptest! {
    #[test]
    fn any_bytes_walk_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 200u8..208) {
        let mut bytes = bytes;
        if let [b0, b1, b2, b3, ..] = &mut bytes[..] {
            (*b0, *b1, *b2, *b3) = (0x80 | *b0 & 0x3F, kind, 0, *b3 % 64);
        }
        for packet in parse_compound(&bytes) {
            match packet {
                Ok(RtcpPacket::Sdes(sdes)) => drop(sdes.items().count()),
                Ok(RtcpPacket::Nack(nack)) => drop(nack.seqs().count()),
                Ok(RtcpPacket::TransportFeedback(feedback)) => {
                    prop_assert_eq!(feedback.statuses().count(), feedback.status_count as usize);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn nacks_read_back(seqs in prop::collection::btree_set(0u16..2000, 1..100)) {
        let seqs: Vec<_> = seqs.into_iter().collect();
        let bytes = written(|out| assert!(out.nack(Ssrc(1), Ssrc(2), &seqs)));
        let RtcpPacket::Nack(nack) = only(&bytes) else { panic!() };
        prop_assert_eq!(nack.seqs().collect::<Vec<_>>(), seqs);
    }

    #[test]
    fn arrivals_are_told_across_any_number_of_packets(
        base: u16,
        start in 0i64..(1 << 30),
        steps in prop::collection::vec(
            prop_oneof![4 => (0i64..40).prop_map(Some), 2 => Just(None), 1 => (-300i64..40_000).prop_map(Some)],
            1..600,
        ),
        capacity in 40usize..1200,
    ) {
        let mut now = start;
        let arrivals: Vec<_> = steps
            .into_iter()
            .map(|step| step.map(|step| { now += step; now }))
            .collect();
        let want: Vec<_> =
            arrivals.iter().enumerate().map(|(at, t)| (base.wrapping_add(at as u16), *t)).collect();
        prop_assert_eq!(told(base, &arrivals, capacity), want);
    }
}
