use proptest::prelude::*;

use super::vp8::{Temporal, Vp8Descriptor, Vp8Ids};
use super::vp9::Vp9Descriptor;
use super::*;
use crate::Pt;

#[test]
fn a_vp8_key_frame_tells_its_size_and_ids() {
    // X; I L T K; 15 bit id 0x1234; TL0PICIDX 7; TID 1, Y, KEYIDX 3; key frame of 640 × 360.
    let payload =
        [0x90, 0xF0, 0x92, 0x34, 7, 0x63, 0x10, 0, 0, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0x68, 0x01, 0xFF];
    let vp8 = Vp8Descriptor::parse(&payload).unwrap();
    assert_eq!(vp8.header_len, 6);
    assert_eq!(vp8.picture_id, Some(PictureId { value: 0x1234, long: true }));
    assert_eq!((vp8.tl0_pic_idx, vp8.key_idx), (Some(7), Some(3)));
    assert_eq!(vp8.temporal, Some(Temporal { layer: 1, sync: true }));
    let info = vp8.media_info(true);
    assert!(info.keyframe && info.frame_start && info.frame_end && info.switching_up);
    assert_eq!((info.size, info.temporal), (Some((640, 360)), 1));
}

#[test]
fn a_vp8_packet_within_a_frame_is_no_key_frame() {
    // S is set, but for the second partition; then S unset.
    assert!(!Vp8Descriptor::parse(&[0x11, 0]).unwrap().keyframe);
    assert!(!Vp8Descriptor::parse(&[0x00, 0]).unwrap().keyframe);
    assert!(!Vp8Descriptor::parse(&[0x10, 1]).unwrap().keyframe, "an inter frame");
    assert!(Vp8Descriptor::parse(&[0x30, 1]).unwrap().media_info(false).discardable);
}

#[test]
fn rewritten_vp8_ids_keep_the_form_of_the_descriptor() {
    let ids = Vp8Ids { picture_id: 0xFFFF, tl0_pic_idx: 9, key_idx: 33 };
    let mut out = [0; 6];
    let short = Vp8Descriptor::parse(&[0x80, 0x80, 0x05, 1]).unwrap();
    assert_eq!(short.write(ids, &mut out), 3);
    assert_eq!(out[..3], [0x80, 0x80, 0x7F]);
    let none = Vp8Descriptor::parse(&[0x10, 1]).unwrap();
    assert_eq!(none.write(ids, &mut out), 1);
    assert_eq!(out[0], 0x10);
    let long = Vp8Descriptor::parse(&[0x90, 0xF0, 0x80, 0, 0, 0xC0, 1]).unwrap();
    assert_eq!(long.write(ids, &mut out), 6);
    assert_eq!(out, [0x90, 0xF0, 0xFF, 0xFF, 9, 0xC1]);
}

#[test]
fn a_vp9_key_picture_tells_its_structure() {
    // I L B E V; 7 bit id; TID 0 SID 0; TL0PICIDX; two layers with sizes and a group of two pictures.
    let payload = [
        0b1010_1110,
        0x05,
        0x00,
        0x09,
        0b0011_1000,
        1,
        64,
        0,
        180,
        2,
        128,
        1,
        104,
        2,
        0b0000_0000,
        0b0010_0100,
        1,
        0xAA,
    ];
    let vp9 = Vp9Descriptor::parse(&payload).unwrap();
    assert_eq!(vp9.header_len as usize, payload.len() - 1);
    let structure = vp9.structure.unwrap();
    assert_eq!((structure.spatial_layers, structure.group_len), (2, Some(2)));
    assert_eq!(structure.largest(), Some((640, 360)));
    let info = vp9.media_info();
    assert!(info.keyframe && info.frame_start && info.frame_end && info.intra);
}

#[test]
fn an_upper_vp9_layer_of_a_key_picture_is_intra_but_no_key_frame() {
    // I L F B; SID 1 with inter-layer dependency.
    let info = Vp9Descriptor::parse(&[0b1011_1000, 0x05, 0b0000_0011, 0]).unwrap().media_info();
    assert!(!info.keyframe && info.intra);
    assert_eq!((info.spatial, info.temporal), (1, 0));
}

#[test]
fn flexible_vp9_references_are_passed_over_and_bounded() {
    // I P L F B; TID 2 U SID 0; two references.
    let vp9 = Vp9Descriptor::parse(&[0b1111_1000, 0x85, 0x01, 0b0101_0000, 0x03, 0x04, 0xAA]).unwrap();
    assert_eq!(vp9.header_len, 6);
    assert_eq!(vp9.picture_id, Some(PictureId { value: 0x501, long: true }));
    let info = vp9.media_info();
    assert!(info.switching_up && !info.keyframe && !info.intra);
    assert_eq!(info.temporal, 2);
    assert_eq!(Vp9Descriptor::parse(&[0b0101_0000, 1, 1, 1, 1]), Err(CodecError::Malformed));
}

#[test]
fn h264_key_frames_are_found_in_every_packetisation() {
    let info = |payload: &[u8]| h264::media_info(payload, false).unwrap();
    assert!(info(&[0x67, 1, 2]).keyframe, "single parameter set");
    assert!(info(&[0x65, 0x88]).keyframe, "single IDR slice");
    assert!(!info(&[0x65, 0x08]).keyframe, "a later slice of an IDR picture");
    assert!(info(&[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 1]).keyframe, "aggregated");
    assert!(info(&[0x7C, 0x85, 0x88]).keyframe, "first fragment of an IDR slice");
    assert!(!info(&[0x7C, 0x05, 0x88]).keyframe, "later fragment");
    let inter = info(&[0x41, 0x9A]);
    assert!(!inter.keyframe && inter.frame_start && !inter.discardable);
    assert!(info(&[0x01, 0x9A]).discardable, "nal_ref_idc is zero");
    assert_eq!(h264::media_info(&[0x78, 0, 9, 0x67], false), Err(CodecError::Truncated));
    assert_eq!(h264::media_info(&[0x78, 0, 0], false), Err(CodecError::Malformed));
}

#[test]
fn h265_key_frames_are_found_in_every_packetisation() {
    let info = |payload: &[u8]| h265::media_info(payload, false).unwrap();
    assert!(info(&[0x40, 1, 0xC]).keyframe, "single VPS");
    assert!(info(&[19 << 1, 1, 0x80]).keyframe, "single IDR slice");
    assert!(info(&[48 << 1, 1, 0, 3, 33 << 1, 1, 0]).keyframe, "aggregated");
    assert!(info(&[49 << 1, 1, 0x80 | 20, 0x80]).keyframe, "first fragment");
    assert!(!info(&[49 << 1, 1, 20, 0x80]).keyframe, "later fragment");
    let inter = info(&[2 << 1, 3, 0x80]);
    assert!(!inter.keyframe && inter.switching_up);
    assert_eq!(inter.temporal, 2);
    assert_eq!(h265::media_info(&[2, 0, 0], false), Err(CodecError::Malformed));
}

#[test]
fn an_av1_sequence_start_is_a_key_frame() {
    let info = |payload: &[u8]| av1::media_info(payload, false).unwrap();
    assert!(info(&[0x18, 0x0A, 0]).keyframe, "N with one element");
    assert!(info(&[0x00, 2, 0x0A, 0]).keyframe, "a sequence header without N");
    let frame = info(&[0x10, 0x34, 0x48, 0]);
    assert!(!frame.keyframe && frame.frame_start);
    assert_eq!((frame.temporal, frame.spatial), (2, 1));
    assert!(!info(&[0x90, 0x0A]).frame_start, "a continued element");
    assert_eq!(av1::media_info(&[0x98, 0], false), Err(CodecError::Malformed));
}

#[test]
fn red_splits_into_its_blocks() {
    let mut payload = [0; 100];
    let len = red::write(&mut payload, Pt(111), &[(1920, b"old"), (960, b"")], b"new").unwrap();
    let payload = &payload[..len];
    let split = red::Red::parse(payload).unwrap();
    let redundant: Vec<_> =
        split.redundant().iter().map(|block| (block.timestamp_offset, &payload[block.range()])).collect();
    assert_eq!(redundant, [(1920, &b"old"[..]), (960, b"")]);
    assert_eq!(&payload[split.primary().range()], b"new");
    assert_eq!(split.primary().pt, Pt(111));
}

#[test]
fn red_without_redundancy_is_one_byte_more() {
    let split = red::Red::parse(&[111, 1, 2]).unwrap();
    assert_eq!((split.primary().range(), split.redundant().len()), (1..3, 0));
    assert!(red::Red::parse(&[0x80 | 111, 0, 0, 9, 111, 1]).is_err(), "a block longer than the packet");
    assert!(red::Red::parse(&[0xFF; 200]).is_err(), "headers without end");
}

#[test]
fn redundant_blocks_that_do_not_fit_are_left_out() {
    let mut out = [0; 4000];
    let long = [1; 1024];
    let len = red::write(&mut out, Pt(111), &[(960, &long), (0x4000, b"far")], b"new").unwrap();
    assert_eq!(out[..len], [111, b'n', b'e', b'w']);
    assert_eq!(red::write(&mut out[..2], Pt(111), &[], b"new"), None);
}

#[test]
fn opus_durations_follow_the_table() {
    assert_eq!(opus::payload_samples(&opus::SILENCE_FRAME), Some(opus::SILENCE_FRAME_SAMPLES));
    assert_eq!(opus::payload_samples(&[3 << 3]), Some(2880), "60 ms of SILK");
    assert_eq!(opus::payload_samples(&[31 << 3 | 3, 6]), Some(5760), "six frames of 20 ms");
    assert_eq!(opus::payload_samples(&[31 << 3 | 3, 7]), None, "more than 120 ms");
    assert_eq!(opus::payload_samples(&[]), None);
    assert!(opus::is_dtx(&[0xF8]) && !opus::is_dtx(&opus::SILENCE_FRAME));
}

proptest! {
    #[test]
    fn any_payload_parses_or_fails(payload in prop::collection::vec(any::<u8>(), 0..80), marker: bool) {
        for codec in Codec::ALL {
            if let Ok(PayloadInfo { descriptor: Descriptor::Vp8(vp8), .. }) =
                PayloadInfo::parse(codec, &payload, marker)
            {
                let mut out = [0; Vp8Descriptor::MAX_LEN];
                prop_assert_eq!(vp8.write(vp8.ids(), &mut out), vp8.header_len as usize);
                let again = [&out[..vp8.header_len as usize], &payload[vp8.header_len as usize..]].concat();
                prop_assert_eq!(Vp8Descriptor::parse(&again), Ok(vp8));
            }
        }
        if let Ok(red) = red::Red::parse(&payload) {
            for block in red.redundant().iter().chain([&red.primary()]) {
                prop_assert!(payload.get(block.range()).is_some());
            }
        }
        opus::payload_samples(&payload);
    }
}
