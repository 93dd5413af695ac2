//! Dependency descriptors (AV1 RTP specification, appendix A).

use rtc::codec::dd::{DependencyDescriptor, MAX_LEN};

/// One spatial and two temporal layers with a chain, then frames that refer to it.
const STRUCTURE: &[u8] =
    &[0xC5, 0x00, 0x64, 0x80, 0xA1, 0x1E, 0xA8, 0x51, 0x41, 0x01, 0x0C, 0x13, 0xFC, 0x0B, 0x3C];
const SHORT: &[u8] = &[0xC6, 0, 101];
const WITH_ACTIVE: &[u8] = &[0xC6, 0, 102, 0x48];

#[test]
fn parse_and_rewrite() {
    let key_frame = DependencyDescriptor::parse(STRUCTURE, None).expect("the seed is valid");
    let in_force = key_frame.attached_structure.expect("the seed has a structure");
    fuzz!(&[STRUCTURE, SHORT, WITH_ACTIVE], |bytes: &[u8]| {
        let Ok(descriptor) = DependencyDescriptor::parse(bytes, Some(&in_force)) else { return };
        let structure = descriptor.attached_structure.as_ref().unwrap_or(&in_force);
        let mut out = [0; MAX_LEN];
        let mask = structure.all_targets() & 0x5555_5555;
        if let Some(len) = descriptor.write_active_targets(bytes, structure, mask, &mut out) {
            let again = DependencyDescriptor::parse(
                &out[..len],
                descriptor.attached_structure.as_ref().or(Some(&in_force)),
            );
            let again = again.expect("what was written can be read");
            assert_eq!((again.active_targets, again.frame), (Some(mask), descriptor.frame));
        }
    });
}
