//! VP8 payload descriptors (RFC 7741).

use rtc::codec::vp8::Vp8Descriptor;

const KEY_FRAME: &[u8] =
    &[0x90, 0xF0, 0x92, 0x34, 7, 0x63, 0x10, 0, 0, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0x68, 0x01, 0xFF];
const SHORT_ID: &[u8] = &[0x90, 0x80, 0x11, 0x01, 0];

#[test]
fn parse_and_write() {
    fuzz!(&[KEY_FRAME, SHORT_ID], |payload: &[u8]| {
        let Ok(descriptor) = Vp8Descriptor::parse(payload) else { return };
        let mut again = payload.to_vec();
        assert_eq!(descriptor.write(descriptor.ids(), &mut again), descriptor.header_len as usize);
        assert_eq!(Vp8Descriptor::parse(&again), Ok(descriptor));
    });
}
