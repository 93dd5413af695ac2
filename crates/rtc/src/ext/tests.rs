use proptest::prelude::*;

use super::*;
use crate::rtp::{ExtWriter, HeaderFields, write_header};
use crate::{Pt, Ssrc};

fn packet(exts: &[(u8, &[u8])]) -> Vec<u8> {
    let mut writer = ExtWriter::new();
    for (id, data) in exts {
        assert!(writer.push(*id, data));
    }
    let fields =
        HeaderFields { marker: false, padding: false, pt: Pt(0), seq: 0, timestamp: 0, ssrc: Ssrc(0) };
    let mut buf = vec![0; 1500];
    let len = write_header(&mut buf, &fields, &writer);
    buf.truncate(len);
    buf
}

fn read(map: &ExtMap, packet: &[u8]) -> ExtValues {
    map.read(&RtpHeader::parse(packet).unwrap(), packet)
}

/// Each kind under the id one above its place.
fn all() -> ExtMap {
    let mut map = ExtMap::new();
    for (kind, id) in ExtKind::ALL.into_iter().zip((1..).filter(|id| *id != 15)) {
        assert!(map.set(id, kind));
    }
    map
}

#[test]
fn uris_round_trip() {
    for kind in ExtKind::ALL {
        assert_eq!(ExtKind::from_uri(kind.uri()), Some(kind));
    }
    assert_eq!(ExtKind::from_uri("urn:example:unknown"), None);
}

#[test]
fn an_id_given_to_another_kind_forgets_the_first() {
    let mut map = ExtMap::new();
    map.set(3, ExtKind::Mid);
    map.set(3, ExtKind::Rid);
    assert_eq!((map.id(ExtKind::Mid), map.id(ExtKind::Rid)), (None, Some(3)));
    map.set(200, ExtKind::Rid);
    assert_eq!((map.kind(3), map.kind(200)), (None, Some(ExtKind::Rid)));
    assert!(!map.fits_one_byte());
    assert!(!map.set(15, ExtKind::Mid) && !map.set(0, ExtKind::Mid));
    assert_eq!(map.iter().collect::<Vec<_>>(), [(200, ExtKind::Rid)]);
}

#[test]
fn every_value_is_read_back() {
    let map = all();
    let id = |kind| map.id(kind).unwrap();
    let capture = AbsCaptureTime { ntp: 0x0123_4567_89AB_CDEF, clock_offset: Some(-5) };
    let (capture_data, capture_len) = capture.write();
    let delay = PlayoutDelay { min_10ms: 0x123, max_10ms: 0xFED };
    let orientation = VideoOrientation { back_camera: true, flip: false, quarter_turns: 3 };
    let level = AudioLevel { voice: true, level_dbov: 42 };
    let packet = packet(&[
        (id(ExtKind::Mid), b"0"),
        (id(ExtKind::Rid), b"hi"),
        (id(ExtKind::RepairedRid), b"lo"),
        (id(ExtKind::AudioLevel), &level.write()),
        (id(ExtKind::TransportCc), &[0x12, 0x34]),
        (id(ExtKind::AbsSendTime), &value::write_abs_send_time(0x00AB_CDEF)),
        (id(ExtKind::AbsCaptureTime), &capture_data[..capture_len]),
        (id(ExtKind::DependencyDescriptor), &[9; 70]),
        (id(ExtKind::PlayoutDelay), &delay.write()),
        (id(ExtKind::VideoOrientation), &orientation.write()),
        (99, &[1, 2, 3]),
    ]);
    let values = read(&map, &packet);
    assert_eq!(values.mid, Mid::new("0"));
    assert_eq!((values.rid, values.repaired_rid), (Rid::new("hi"), Rid::new("lo")));
    assert_eq!(values.audio_level, Some(level));
    assert_eq!((values.transport_cc, values.abs_send_time), (Some(0x1234), Some(0x00AB_CDEF)));
    assert_eq!(values.abs_capture_time, Some(capture));
    assert_eq!((values.playout_delay, values.video_orientation), (Some(delay), Some(orientation)));
    assert_eq!(packet[values.dependency_descriptor().unwrap()], [9; 70]);
}

#[test]
fn malformed_elements_read_as_absent() {
    let map = all();
    let id = |kind| map.id(kind).unwrap();
    let packet = packet(&[
        (id(ExtKind::Mid), b"with space"),
        (id(ExtKind::TransportCc), &[1]),
        (id(ExtKind::AbsSendTime), &[1, 2]),
        (id(ExtKind::AbsCaptureTime), &[0; 12]),
        (id(ExtKind::PlayoutDelay), &[0; 2]),
    ]);
    assert_eq!(read(&map, &packet), ExtValues::default());
}

#[test]
fn a_capture_time_without_offset_takes_eight_bytes() {
    let time = AbsCaptureTime { ntp: 7, clock_offset: None };
    let (data, len) = time.write();
    assert_eq!((len, AbsCaptureTime::read(&data[..len])), (8, Some(time)));
}

#[test]
fn ntp_becomes_24_bits_of_seconds() {
    // One and a half seconds in 32.32 are one and a half in 6.18.
    assert_eq!(value::abs_send_time_from_ntp(0x1_8000_0000), 3 << 17);
    assert_eq!(value::abs_send_time_from_ntp(64 << 32), 0);
}

proptest! {
    #[test]
    fn any_block_reads(bytes in prop::collection::vec(any::<u8>(), 0..120), two_byte: bool) {
        let words = bytes.len() / 4;
        let profile: [u8; 2] = if two_byte { [0x10, 0x05] } else { [0xBE, 0xDE] };
        let packet = [
            [0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].as_slice(),
            &profile,
            &[0, words as u8],
            &bytes,
        ].concat();
        let values = read(&all(), &packet);
        if let Some(range) = values.dependency_descriptor() {
            prop_assert!(packet.get(range).is_some());
        }
    }
}
