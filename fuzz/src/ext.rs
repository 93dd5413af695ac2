//! Values of header extensions.

use rtc::ext::{ExtKind, ExtMap};
use rtc::rtp::RtpHeader;

use crate::rtp::{ONE_BYTE, TWO_BYTE};

#[test]
fn read() {
    // Each kind under several ids' reach: the first elements of the seeds are real, the rest is chance.
    let kinds = [
        ExtKind::Mid,
        ExtKind::AbsSendTime,
        ExtKind::TransportCc,
        ExtKind::AudioLevel,
        ExtKind::PlayoutDelay,
        ExtKind::AbsCaptureTime,
        ExtKind::Rid,
        ExtKind::DependencyDescriptor,
        ExtKind::VideoOrientation,
        ExtKind::RepairedRid,
    ];
    let mut map = ExtMap::new();
    for (id, kind) in (1..).zip(kinds) {
        assert!(map.set(id, kind));
    }
    fuzz!(&[ONE_BYTE, TWO_BYTE], |packet: &[u8]| {
        let Ok(header) = RtpHeader::parse(packet) else { return };
        let values = map.read(&header, packet);
        if let Some(range) = values.dependency_descriptor() {
            assert!(range.end <= header.header_len);
        }
    });
}
