//! H.265 payloads (RFC 7798).

use rtc::codec::h265::media_info;

#[test]
fn parse() {
    let seeds: &[&[u8]] = &[
        &[0x40, 1, 0x0C],
        &[0x60, 1, 0, 3, 0x42, 1, 0, 0, 3, 0x26, 1, 0x80],
        &[0x62, 1, 0x93, 0x80],
        &[0x02, 3, 0x80],
    ];
    fuzz!(seeds, |payload: &[u8]| {
        if let Ok(info) = media_info(payload, true) {
            assert!(!info.keyframe || info.frame_start, "a key frame begins with its first packet");
        }
    });
}
