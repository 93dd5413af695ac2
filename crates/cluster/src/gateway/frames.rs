//! Where WebSocket frames end in what a node sends (RFC 6455 §5.2), so that the gateway can add a frame of its
//! own between two, even when the node dies within one: an unfinished frame is held back until it is whole.

use bytes::{Bytes, BytesMut};

/// Frames up to this are forwarded whole or not at all. Signal messages are a few kilobytes; a longer one passes
/// as it comes, and a node that dies within it leaves the client to notice by itself.
const MAX_HELD_BYTES: u64 = 256 * 1024;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;

/// Follows one direction of a WebSocket.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes not yet forwarded: the beginning of a frame.
    held: BytesMut,
    /// Rest of a frame that is too long to be held.
    passing: u64,
    /// A fragmented message has begun and not ended.
    within_message: bool,
    /// The last message was text.
    text: bool,
    closed: bool,
}

impl Frames {
    /// Takes what was read and returns what can be forwarded: whole frames, or a part of a very long one.
    pub(super) fn forward(&mut self, read: &[u8]) -> Bytes {
        self.held.extend_from_slice(read);
        let mut ready: usize = 0;
        loop {
            let rest = &self.held[ready..];
            if self.passing > 0 {
                let part = rest.len().min(usize::try_from(self.passing).unwrap_or(usize::MAX));
                self.passing -= part as u64;
                ready += part;
                if self.passing > 0 {
                    break;
                }
                continue;
            }
            let Some(frame) = Frame::read(rest) else { break };
            if (rest.len() as u64) < frame.total && frame.total <= MAX_HELD_BYTES {
                break;
            }
            self.begin(&frame);
            self.passing = frame.total;
        }
        let ready = self.held.split_to(ready).freeze();
        if self.held.is_empty() {
            // A long message does not leave its room behind for the rest of the connection.
            self.held = BytesMut::new();
        }
        ready
    }

    fn begin(&mut self, frame: &Frame) {
        match frame.opcode {
            TEXT | BINARY => {
                self.text = frame.opcode == TEXT;
                self.within_message = !frame.is_final;
            }
            CONTINUATION => self.within_message = !frame.is_final,
            CLOSE => self.closed = true,
            _ => {}
        }
    }

    /// Whether a message of ours can follow what was forwarded.
    pub(super) fn can_insert(&self) -> bool {
        self.passing == 0 && !self.within_message && !self.closed
    }

    /// Whether the node has said its last.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the node writes JSON to this client.
    pub(super) fn is_text(&self) -> bool {
        self.text
    }
}

struct Frame {
    opcode: u8,
    is_final: bool,
    /// Header and payload.
    total: u64,
}

impl Frame {
    /// `None`: the header is not whole yet.
    fn read(bytes: &[u8]) -> Option<Frame> {
        let [first, second, rest @ ..] = bytes else { return None };
        let mask = if second & MASKED != 0 { 4 } else { 0 };
        let (header, payload) = match second & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
            short => (2, u64::from(short)),
        };
        let total = payload.saturating_add(header + mask);
        Some(Frame { opcode: first & 0x0f, is_final: first & FIN != 0, total })
    }
}

/// A whole message of a server, in one frame.
pub(super) fn message(payload: &[u8], text: bool) -> Vec<u8> {
    frame(if text { TEXT } else { BINARY }, payload)
}

/// A close frame with its code.
pub(super) fn close(code: u16) -> Vec<u8> {
    frame(CLOSE, &code.to_be_bytes())
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![FIN | opcode];
    match payload.len() {
        short @ 0..126 => bytes.push(short as u8),
        medium @ 126..=0xffff => {
            bytes.push(126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_unfinished_frame_is_held_back() {
        let (first, second) = (message(b"first", false), message(&[7; 300], false));
        let mut frames = Frames::default();
        let cut = [&first[..], &second[..100]].concat();
        assert_eq!(frames.forward(&cut), first);
        assert!(frames.can_insert());
        assert_eq!(frames.forward(&second[100..]), second);
    }

    #[test]
    fn nothing_is_inserted_into_a_long_frame_a_fragmented_message_or_after_a_close() {
        let mut frames = Frames::default();
        let long = message(&vec![0; 1 << 20], false);
        assert_eq!(frames.forward(&long[..5000]).len(), 5000);
        assert!(!frames.can_insert());
        frames.forward(&long[5000..]);
        assert!(frames.can_insert());

        frames.forward(&[TEXT, 1, b'a']);
        assert!(!frames.can_insert() && frames.is_text());
        frames.forward(&[0x89, 0]);
        assert!(!frames.can_insert(), "a ping in between does not end the message");
        frames.forward(&[FIN, 1, b'b']);
        assert!(frames.can_insert());

        frames.forward(&close(1000));
        assert!(!frames.can_insert() && frames.is_closed());
    }

    #[test]
    fn an_absurd_length_is_passed_on_and_not_held() {
        let mut frames = Frames::default();
        let absurd = [&[FIN | BINARY, 127][..], &[0xff; 8], b"payload"].concat();
        assert_eq!(frames.forward(&absurd).len(), absurd.len());
        assert!(!frames.can_insert());
    }

    proptest! {
        #[test]
        fn bytes_are_never_changed_and_small_frames_never_cut(
            payloads in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..400), any::<bool>()), 1..6),
            cut in 1usize..200,
        ) {
            let wire: Vec<Vec<u8>> = payloads.iter().map(|(payload, text)| message(payload, *text)).collect();
            let mut ends: Vec<usize> = vec![0];
            wire.iter().for_each(|frame| ends.push(ends[ends.len() - 1] + frame.len()));
            let (wire, mut out, mut frames) = (wire.concat(), Vec::new(), Frames::default());
            for piece in wire.chunks(cut) {
                out.extend_from_slice(&frames.forward(piece));
                prop_assert!(ends.contains(&out.len()) && frames.can_insert());
            }
            prop_assert_eq!(out, wire);
        }

        #[test]
        fn garbage_passes_unchanged_or_is_held(garbage in proptest::collection::vec(any::<u8>(), 0..600), cut in 1usize..50) {
            let (mut frames, mut out) = (Frames::default(), Vec::new());
            for piece in garbage.chunks(cut) {
                out.extend_from_slice(&frames.forward(piece));
            }
            prop_assert!(garbage.starts_with(&out));
        }
    }
}
