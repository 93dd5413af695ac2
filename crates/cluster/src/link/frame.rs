//! Frames of a link: four bytes of length, big-endian, then that many bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Longest payload. A heartbeat is a few hundred bytes; one that lists a thousand nodes is below 100 KiB.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

const HEADER_BYTES: usize = 4;

/// The peer announced a frame over [`MAX_FRAME_BYTES`]: it is no node of this version, or broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a frame of {0} bytes was announced, over the limit of {MAX_FRAME_BYTES}; do all nodes run compatible versions?"
)]
pub(super) struct TooLong(usize);

/// Takes the first whole frame out of what has been read. `None`: read more.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Bytes>, TooLong> {
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes(*header) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(TooLong(length));
    }
    if buffer.len() < HEADER_BYTES + length {
        return Ok(None);
    }
    buffer.advance(HEADER_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Appends a frame. `payload` is within the limit.
pub(super) fn put(buffer: &mut BytesMut, payload: &[u8]) {
    buffer.reserve(HEADER_BYTES + payload.len());
    buffer.put_u32(payload.len() as u32);
    buffer.put_slice(payload);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_from_a_stranger_does_not_reserve_memory() {
        let mut buffer = BytesMut::from(&b"GET / HTTP/1.1\r\n"[..]);
        assert!(take(&mut buffer).is_err());
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8), cut in 1usize..20) {
            let mut wire = BytesMut::new();
            payloads.iter().for_each(|payload| put(&mut wire, payload));
            let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
            for piece in wire.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = take(&mut buffer).unwrap() {
                    got.push(frame.to_vec());
                }
            }
            prop_assert_eq!(got, payloads);
        }
    }
}
