use proptest::prelude::*;

use super::*;

/// Writes descriptors field by field.
struct Builder {
    buf: Vec<u8>,
    bits: usize,
}

impl Builder {
    fn frame(start: bool, end: bool, template_id: u32, number: u32) -> Builder {
        let builder = Builder { buf: vec![0; MAX_LEN], bits: 0 };
        builder.put(1, start.into()).put(1, end.into()).put(6, template_id).put(16, number)
    }

    fn put(mut self, width: usize, value: u32) -> Builder {
        for shift in (0..width).rev() {
            self.buf[self.bits / 8] |= ((value >> shift & 1) as u8) << (7 - self.bits % 8);
            self.bits += 1;
        }
        self
    }

    fn all(self, width: usize, values: &[u32]) -> Builder {
        values.iter().fold(self, |builder, value| builder.put(width, *value))
    }

    fn done(mut self) -> Vec<u8> {
        self.buf.truncate(self.bits.div_ceil(8));
        self.buf
    }
}

const NOT_PRESENT: u32 = 0;
const DISCARDABLE: u32 = 1;
const SWITCH: u32 = 2;

/// One spatial and two temporal layers: two targets, one chain, 1280 × 720, template ids from 5.
fn l1t2(active: Option<u32>) -> Vec<u8> {
    let builder = Builder::frame(true, true, 5, 100)
        // A structure, perhaps active targets, nothing custom.
        .all(1, &[1, active.is_some().into(), 0, 0, 0])
        .put(6, 5)
        .put(5, 1)
        // Templates: two of T0 (key and delta), one of T1.
        .all(2, &[0, 1, 3])
        .all(2, &[SWITCH, SWITCH, SWITCH, SWITCH, NOT_PRESENT, DISCARDABLE])
        // Frame differences: none; 2; 1.
        .put(1, 0)
        .put(1, 1)
        .put(4, 1)
        .put(1, 0)
        .put(1, 1)
        .put(4, 0)
        .put(1, 0)
        // One chain (`ns(3)`: one takes two bits), which protects both targets (no bits).
        .put(2, 0b10)
        // Chain differences of the templates.
        .all(4, &[0, 2, 1])
        .put(1, 1)
        .put(16, 1279)
        .put(16, 719);
    match active {
        Some(mask) => builder.put(2, mask),
        None => builder,
    }
    .done()
}

fn structure() -> Arc<Structure> {
    DependencyDescriptor::parse(&l1t2(None), None).unwrap().attached_structure.unwrap()
}

fn dtis(descriptor: &DependencyDescriptor) -> Vec<Dti> {
    descriptor.frame.dtis.iter().collect()
}

#[test]
fn a_key_frame_brings_the_structure() {
    let descriptor = DependencyDescriptor::parse(&l1t2(None), None).unwrap();
    assert_eq!(descriptor.active_targets, Some(0b11));
    assert_eq!(descriptor.size, Some((1280, 720)));
    assert_eq!(dtis(&descriptor), [Dti::Switch, Dti::Switch]);
    assert_eq!(descriptor.frame.chain_diffs.as_slice(), [0]);
    let structure = descriptor.attached_structure.as_ref().unwrap();
    assert_eq!((structure.target_count(), structure.chain_count()), (2, 1));
    assert_eq!(structure.target_layer(0), Some(LayerId { spatial: 0, temporal: 0 }));
    assert_eq!(structure.target_layer(1), Some(LayerId { spatial: 0, temporal: 1 }));
    assert_eq!((structure.target_chain(1), structure.target_chain(2)), (Some(0), None));
    let info = descriptor.media_info();
    assert!(info.keyframe && info.intra && info.switching_up && !info.discardable);
}

#[test]
fn later_frames_are_read_by_their_templates() {
    let structure = structure();
    let delta = Builder::frame(true, false, 7, 101).done();
    let descriptor = DependencyDescriptor::parse(&delta, Some(&structure)).unwrap();
    assert_eq!(descriptor.frame.layer, LayerId { spatial: 0, temporal: 1 });
    assert_eq!(descriptor.frame.frame_diffs.as_slice(), [1]);
    assert_eq!(descriptor.frame.chain_diffs.as_slice(), [1]);
    assert_eq!(dtis(&descriptor), [Dti::NotPresent, Dti::Discardable]);
    assert_eq!(descriptor.active_targets, None);
    let info = descriptor.media_info();
    assert!(info.discardable && !info.frame_end && !info.keyframe);
    assert_eq!(info.temporal, 1);
}

#[test]
fn custom_fields_amend_the_template() {
    let custom = Builder::frame(true, true, 6, 102)
        .all(1, &[0, 0, 1, 1, 1])
        .all(2, &[3, 1])
        // Differences of 4, 8 and 12 bits.
        .put(2, 1)
        .put(4, 2)
        .put(2, 2)
        .put(8, 99)
        .put(2, 3)
        .put(12, 4095)
        .put(2, 0)
        .put(8, 200)
        .done();
    let descriptor = DependencyDescriptor::parse(&custom, Some(&structure())).unwrap();
    assert_eq!(dtis(&descriptor), [Dti::Required, Dti::Discardable]);
    assert_eq!(descriptor.frame.frame_diffs.as_slice(), [3, 100, 4096]);
    assert_eq!(descriptor.frame.chain_diffs.as_slice(), [200]);
}

#[test]
fn a_frame_before_its_structure_waits_for_a_key_frame() {
    let delta = Builder::frame(true, true, 6, 1).done();
    assert_eq!(DependencyDescriptor::parse(&delta, None), Err(DdError::NoStructure));
    let unknown = Builder::frame(true, true, 8, 1).done();
    assert_eq!(DependencyDescriptor::parse(&unknown, Some(&structure())), Err(DdError::UnknownTemplate));
    assert_eq!(Mandatory::parse(&delta).unwrap().frame_number, 1);
}

#[test]
fn endless_templates_are_refused() {
    let endless =
        Builder::frame(true, true, 0, 1).all(1, &[1, 0, 0, 0, 0]).put(11, 0).all(16, &[0; 10]).done();
    assert_eq!(DependencyDescriptor::parse(&endless, None), Err(DdError::Limits));
    let ladder = Builder::frame(true, true, 0, 1).all(1, &[1, 0, 0, 0, 0]).put(11, 0).all(2, &[2; 9]).done();
    assert_eq!(DependencyDescriptor::parse(&ladder, None), Err(DdError::Limits));
}

/// Rewrites to `mask` and parses the result.
fn rewritten(descriptor: &[u8], mask: u32) -> (Vec<u8>, DependencyDescriptor) {
    let structure = structure();
    let parsed = DependencyDescriptor::parse(descriptor, Some(&structure)).unwrap();
    let mut out = [0xFF; MAX_LEN];
    let len = parsed.write_active_targets(descriptor, &structure, mask, &mut out).unwrap();
    let again = DependencyDescriptor::parse(&out[..len], Some(&structure)).unwrap();
    assert_eq!(again.active_targets, Some(mask));
    assert_eq!((again.mandatory, again.frame), (parsed.mandatory, parsed.frame));
    assert_eq!(again.attached_structure, parsed.attached_structure);
    (out[..len].to_vec(), again)
}

#[test]
fn active_targets_are_replaced_in_place() {
    let (bytes, _) = rewritten(&l1t2(Some(0b11)), 0b01);
    assert_eq!(bytes, l1t2(Some(0b01)));
}

#[test]
fn active_targets_are_added_to_a_structure() {
    let (bytes, _) = rewritten(&l1t2(None), 0b01);
    assert_eq!(bytes, l1t2(Some(0b01)));
}

#[test]
fn active_targets_are_added_to_a_short_descriptor() {
    let (bytes, _) = rewritten(&Builder::frame(true, true, 6, 9).done(), 0b01);
    assert_eq!(bytes.len(), 4);
}

#[test]
fn active_targets_are_added_before_custom_fields() {
    let custom =
        Builder::frame(true, true, 6, 102).all(1, &[0, 0, 1, 0, 1]).all(2, &[3, 1]).put(8, 77).done();
    let (_, again) = rewritten(&custom, 0b10);
    assert_eq!(again.frame.chain_diffs.as_slice(), [77]);
}

#[test]
fn zero_padding_does_not_grow() {
    let mut padded = l1t2(Some(0b11));
    padded.extend([0; 20]);
    let (bytes, _) = rewritten(&padded, 0b01);
    assert_eq!(bytes, l1t2(Some(0b01)));
}

proptest! {
    #[test]
    fn any_bytes_parse_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..300), attached: bool) {
        let mut bytes = bytes;
        if let Some(byte) = bytes.get_mut(3) {
            *byte = *byte & 0x7F | u8::from(attached) << 7;
        }
        let in_force = structure();
        if let Ok(descriptor) = DependencyDescriptor::parse(&bytes, Some(&in_force)) {
            descriptor.media_info();
            let structure = descriptor.attached_structure.clone().unwrap_or(in_force);
            let mut out = [0; MAX_LEN];
            let mask = structure.all_targets() & 0x5555_5555;
            if let Some(len) = descriptor.write_active_targets(&bytes, &structure, mask, &mut out) {
                let again = DependencyDescriptor::parse(&out[..len], Some(&structure)).unwrap();
                prop_assert_eq!(again.active_targets, Some(mask));
                prop_assert_eq!(again.frame, descriptor.frame);
            }
        }
    }
}
