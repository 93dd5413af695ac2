//! RTCP compounds (RFC 3550, RFC 4585, RFC 5104, REMB, transport-cc).

use rtc::rtcp::{RtcpPacket, parse_compound};

const REPORT_AND_NACK: &[u8] = &[
    0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0x80, 0, 0, 3, 0, 0, 1, 0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 7,
    0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 0x80, 1,
];
const SENDER_REPORT_AND_SDES: &[u8] = &[
    0x80, 200, 0, 6, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, // Report.
    0x81, 202, 0, 3, 0, 0, 0, 1, 1, 3, b'a', b'b', b'c', 0, 0, 0, // Description.
    0x81, 203, 0, 1, 0, 0, 0, 1, // BYE.
];
const PLI_FIR_REMB: &[u8] = &[
    0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, // PLI.
    0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 7, 0, 0, 0, // FIR.
    0x8F, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 1, 0x0B, 0xD0, 0x90, 0, 0, 0, 2,
];
/// A one-bit vector, a run and a two-bit vector, with a delta for each arrival.
const TRANSPORT_CC: &[u8] = &[
    0x8F, 205, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 10, 0, 26, 0, 0, 1, 3, 0xA8, 0x00, 0x20, 0x05, 0xD2, 0x00, 1,
    2, 3, 4, 5, 6, 7, 8, 0xFF, 0xF0, 0, 0, 0, 0,
];

#[test]
fn parse() {
    let seeds = &[REPORT_AND_NACK, SENDER_REPORT_AND_SDES, PLI_FIR_REMB, TRANSPORT_CC];
    fuzz!(seeds, |datagram: &[u8]| {
        let mut packets = 0;
        for packet in parse_compound(datagram) {
            packets += 1;
            match packet {
                Ok(RtcpPacket::SenderReport(report)) => assert!(report.reports.iter().count() <= 31),
                Ok(RtcpPacket::ReceiverReport(report)) => assert!(report.reports.iter().count() <= 31),
                Ok(RtcpPacket::Sdes(sdes)) => assert!(sdes.items().count() <= datagram.len() / 2),
                Ok(RtcpPacket::Bye(bye)) => assert!(bye.ssrcs().count() <= 31),
                Ok(RtcpPacket::Nack(nack)) => assert!(nack.seqs().count() <= 17 * datagram.len() / 4),
                Ok(RtcpPacket::Fir(fir)) => assert!(fir.entries().count() <= datagram.len() / 8),
                Ok(RtcpPacket::Remb(remb)) => assert!(remb.ssrcs().count() <= 255),
                Ok(RtcpPacket::TransportFeedback(feedback)) => {
                    assert_eq!(feedback.statuses().count(), feedback.status_count as usize);
                }
                Ok(RtcpPacket::Pli { .. } | RtcpPacket::Other { .. }) | Err(_) => {}
            }
        }
        assert!(packets <= datagram.len() / 4 + 1, "every packet has a header");
    });
}

#[test]
fn seeds_are_valid() {
    for seed in [REPORT_AND_NACK, SENDER_REPORT_AND_SDES, PLI_FIR_REMB, TRANSPORT_CC] {
        assert!(parse_compound(seed).all(|packet| packet.is_ok()), "{seed:?}");
    }
}
