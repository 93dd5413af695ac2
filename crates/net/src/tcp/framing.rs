//! Datagrams in a byte stream: each is preceded by its length in two bytes (RFC 4571 §2).

use std::ops::Range;

use rtc::MAX_DATAGRAM;

/// Bytes of the length field.
pub(crate) const HEADER: usize = 2;

/// A frame as long as a datagram can get.
pub(crate) const MAX_FRAME: usize = HEADER + MAX_DATAGRAM;

/// The stream cannot be followed any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a frame of {0} bytes is longer than a datagram may be; close the connection")]
pub(crate) struct FrameTooLong(pub(crate) usize);

/// Where the first frame's datagram lies in `bytes`; `None` when it is not complete.
pub(crate) fn first(bytes: &[u8]) -> Result<Option<Range<usize>>, FrameTooLong> {
    let [high, low, rest @ ..] = bytes else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    if len > MAX_DATAGRAM {
        return Err(FrameTooLong(len));
    }
    Ok((rest.len() >= len).then_some(HEADER..HEADER + len))
}

/// The length field of a datagram.
pub(crate) fn header(datagram: &[u8]) -> [u8; HEADER] {
    debug_assert!(datagram.len() <= MAX_DATAGRAM);
    (datagram.len() as u16).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_beyond_any_datagram_is_an_error_before_the_bytes_are_there() {
        assert_eq!(first(&[0xff, 0xff]), Err(FrameTooLong(65_535)));
        assert_eq!(first(&[0x05, 0xdd]), Err(FrameTooLong(1_501)));
        assert_eq!(first(&[0x05, 0xdc]), Ok(None));
    }

    proptest! {
        #[test]
        fn frames_survive_any_fragmentation(
            datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
            cuts in proptest::collection::vec(1_usize..200, 1..40),
        ) {
            let stream: Vec<u8> =
                datagrams.iter().flat_map(|d| header(d).into_iter().chain(d.iter().copied())).collect();
            let mut cuts = cuts.into_iter().cycle();
            let (mut buffer, mut fed, mut seen) = (Vec::new(), 0, Vec::new());
            while fed < stream.len() {
                let next = stream.len().min(fed + cuts.next().unwrap_or(1));
                buffer.extend_from_slice(&stream[fed..next]);
                fed = next;
                while let Some(range) = first(&buffer).unwrap() {
                    seen.push(buffer[range.clone()].to_vec());
                    buffer.drain(..range.end);
                }
            }
            prop_assert_eq!(seen, datagrams);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn garbage_never_yields_a_range_outside_of_it(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            if let Ok(Some(range)) = first(&bytes) {
                prop_assert!(range.end <= bytes.len());
            }
        }
    }
}
