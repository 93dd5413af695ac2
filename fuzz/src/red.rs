//! Redundant audio (RFC 2198).

use rtc::codec::red::Red;

const TWO_BLOCKS: &[u8] = &[0xEF, 0x0F, 0x00, 0x03, 0x6F, 1, 2, 3, 4, 5];
const PRIMARY_ONLY: &[u8] = &[0x6F, 1, 2, 3];

#[test]
fn parse() {
    fuzz!(&[TWO_BLOCKS, PRIMARY_ONLY], |payload: &[u8]| {
        let Ok(red) = Red::parse(payload) else { return };
        let primary = red.primary().range();
        assert_eq!(primary.end, payload.len());
        for block in red.redundant() {
            assert!(block.range().end <= primary.start);
        }
    });
}
