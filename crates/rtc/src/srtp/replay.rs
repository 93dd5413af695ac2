//! The replay window of one stream, and the guess of a packet's rollover counter.

use super::SrtpError;

/// Which of the last `64 * WORDS` packets were received (RFC 3711 §3.3.2).
///
/// The bits form a ring: the bit of index `i` is `i` modulo the size.
#[derive(Debug, Clone)]
pub(super) struct ReplayWindow<const WORDS: usize> {
    /// `None` before the first packet.
    highest: Option<u64>,
    seen: [u64; WORDS],
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    const SIZE: u64 = 64 * WORDS as u64;

    pub(super) fn new() -> Self {
        Self { highest: None, seen: [0; WORDS] }
    }

    /// The packet index nearest to the highest one received (RFC 3711 §3.3.1, appendix A); `None` for a
    /// packet from before the stream began.
    pub(super) fn index_of(&self, seq: u16) -> Option<u64> {
        let Some(highest) = self.highest else { return Some(u64::from(seq)) };
        let delta = i64::from(seq.wrapping_sub(highest as u16) as i16);
        highest.checked_add_signed(delta).filter(|index| index >> 48 == 0)
    }

    /// Whether a packet may still come.
    pub(super) fn check(&self, index: u64) -> Result<(), SrtpError> {
        match self.highest {
            Some(highest) if index + Self::SIZE <= highest => Err(SrtpError::TooOld),
            Some(highest) if index <= highest && self.is_marked(index) => Err(SrtpError::Replayed),
            _ => Ok(()),
        }
    }

    /// Notes an authenticated packet that passed [`Self::check`].
    pub(super) fn mark(&mut self, index: u64) {
        let from = match self.highest {
            Some(highest) if index <= highest => index,
            Some(highest) if index - highest < Self::SIZE => highest + 1,
            _ => {
                self.seen = [0; WORDS];
                index
            }
        };
        // The bits between were those of packets that have now left the window.
        for skipped in from..index {
            let (word, bit) = Self::place(skipped);
            self.seen[word] &= !bit;
        }
        let (word, bit) = Self::place(index);
        self.seen[word] |= bit;
        self.highest = self.highest.max(Some(index));
    }

    fn is_marked(&self, index: u64) -> bool {
        let (word, bit) = Self::place(index);
        self.seen[word] & bit != 0
    }

    fn place(index: u64) -> (usize, u64) {
        let at = index % Self::SIZE;
        ((at / 64) as usize, 1 << (at % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Window = ReplayWindow<16>;

    #[test]
    fn a_packet_is_accepted_once() {
        let mut window = Window::new();
        for index in [5, 3, 9, 4, 1000, 1002, 1001, 2025, 2026] {
            assert_eq!(window.check(index), Ok(()), "{index}");
            window.mark(index);
            assert_eq!(window.check(index), Err(SrtpError::Replayed), "{index}");
        }
    }

    #[test]
    fn bits_of_a_former_lap_do_not_look_like_replays() {
        let mut window = Window::new();
        (0..1024).for_each(|index| window.mark(index));
        window.mark(1500);
        assert_eq!(window.check(1100), Ok(()));
        assert_eq!(window.check(1000), Err(SrtpError::Replayed));
        assert_eq!(window.check(476), Err(SrtpError::TooOld));
        assert_eq!(window.check(477), Err(SrtpError::Replayed));
    }

    #[test]
    fn the_rollover_counter_follows_the_wrap_both_ways() {
        let mut window = Window::new();
        window.mark(65_530);
        assert_eq!(window.index_of(3), Some(0x1_0003));
        window.mark(0x1_0003);
        assert_eq!(window.index_of(65_531), Some(65_531));
        assert_eq!(window.index_of(4), Some(0x1_0004));
    }

    #[test]
    fn a_sequence_number_from_before_the_stream_has_no_index() {
        let mut window = Window::new();
        window.mark(3);
        assert_eq!(window.index_of(65_535), None);
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_a_set(steps in proptest::collection::vec(0u64..3000, 1..300)) {
            let (mut window, mut set, mut highest) = (Window::new(), std::collections::HashSet::new(), None);
            for index in steps {
                let want = match highest {
                    Some(highest) if index + 1024 <= highest => Err(SrtpError::TooOld),
                    _ if set.contains(&index) => Err(SrtpError::Replayed),
                    _ => Ok(()),
                };
                proptest::prop_assert_eq!(window.check(index), want);
                if want.is_ok() {
                    window.mark(index);
                    set.insert(index);
                    highest = highest.max(Some(index));
                }
            }
        }
    }
}
