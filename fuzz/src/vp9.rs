//! VP9 payload descriptors (RFC 9628).

use rtc::codec::vp9::Vp9Descriptor;

const STRUCTURE: &[u8] =
    &[0b1010_1110, 5, 0, 9, 0b0011_1000, 1, 64, 0, 180, 2, 128, 1, 104, 2, 0, 0b0010_0100, 1, 0xAA];
const FLEXIBLE: &[u8] = &[0b1111_1000, 0x85, 0x01, 0b0101_0000, 0x03, 0x04, 0xAA];

#[test]
fn parse() {
    fuzz!(&[STRUCTURE, FLEXIBLE], |payload: &[u8]| {
        let Ok(descriptor) = Vp9Descriptor::parse(payload) else { return };
        assert!(descriptor.header_len as usize <= payload.len());
        let info = descriptor.media_info();
        assert!(info.spatial < 8 && info.temporal < 8);
    });
}
