//! AV1 payloads (RTP payload format for AV1).

use rtc::codec::av1::media_info;

#[test]
fn parse() {
    let seeds: &[&[u8]] = &[&[0x18, 0x0A, 0], &[0x08, 2, 0x0A, 0, 3, 0x34, 0x48, 0], &[0x90, 0x12, 0x34]];
    fuzz!(seeds, |payload: &[u8]| {
        if let Ok(info) = media_info(payload, true) {
            assert!(!info.keyframe || info.frame_start, "a key frame begins with its first packet");
        }
    });
}
