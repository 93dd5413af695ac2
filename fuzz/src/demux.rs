//! Telling protocols apart on one port (RFC 7983).

use rtc::rtp::{DatagramKind, classify};

#[test]
fn classify_datagram() {
    let seeds: &[&[u8]] = &[&[0, 1], &[22, 254, 253], &[0x80, 96], &[0x80, 200], &[64, 0]];
    fuzz!(seeds, |datagram: &[u8]| {
        let kind = classify(datagram);
        assert_eq!(kind, classify(&datagram[..datagram.len().min(2)]), "two bytes decide");
        if matches!(kind, DatagramKind::Rtp | DatagramKind::Rtcp) {
            assert_eq!(datagram[0] >> 6, 2);
        }
    });
}
