//! RTP headers (RFC 3550) and their extension blocks (RFC 8285).

use rtc::rtp::RtpHeader;

pub(crate) const ONE_BYTE: &[u8] = &[
    0x90, 0xE0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xBE, 0xDE, 0, 4, // Fixed part and block header.
    0x10, b'0', 0x31, 0, 7, 0x22, 1, 2, 3, 0x40, 0xFF, 0x52, 0, 0, 1, 0, // Five elements and padding.
    0xAA, 0xBB,
];
pub(crate) const TWO_BYTE: &[u8] = &[
    0x91, 0x60, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9, 9, 0x10, 0x00, 0, 3, // One CSRC.
    1, 1, b'0', 3, 2, 0, 7, 8, 3, 0x86, 1, 0x73, // Mid, transport-cc, dependency descriptor.
    0xAA,
];
const PADDED: &[u8] = &[0xA0, 0x60, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xAA, 0, 0, 3];

#[test]
fn parse() {
    fuzz!(&[ONE_BYTE, TWO_BYTE, PADDED], |packet: &[u8]| {
        let Ok(header) = RtpHeader::parse(packet) else { return };
        assert!(header.header_len <= packet.len() && header.ext_range().end <= header.header_len);
        for element in header.extensions(packet) {
            assert_eq!(packet[element.offset..][..element.data.len()], *element.data);
        }
        if let Ok(payload) = header.payload(packet) {
            assert!(header.header_len <= payload.start && packet.get(payload).is_some());
        }
    });
}
