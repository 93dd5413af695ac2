//! H.264 payloads (RFC 6184).

use rtc::codec::h264::media_info;

#[test]
fn parse() {
    let seeds: &[&[u8]] = &[
        &[0x67, 0x42, 0xC0, 0x1F],
        &[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 1, 0, 2, 0x65, 0x88],
        &[0x7C, 0x85, 0x88, 0],
        &[0x41, 0x9A],
    ];
    fuzz!(seeds, |payload: &[u8]| {
        if let Ok(info) = media_info(payload, true) {
            assert!(!info.keyframe || info.frame_start, "a key frame begins with its first packet");
        }
    });
}
