//! What is heard of a client's handshakes: with a peer that was carried here from another process, some of them are meant
//! for that one.

/// Content type of a DTLS handshake record (RFC 6347 §4.1).
pub(super) const HANDSHAKE: u8 = 22;

/// Datagrams of a handshake's first message that are kept for later: a ClientHello with post-quantum keys takes two …
const MAX_EARLY: usize = 4;
/// … each at most so long: more than fits into one on any path.
const MAX_EARLY_LEN: usize = 2_048;

/// See the module.
#[derive(Debug)]
pub(super) enum Ear {
    Open,
    /// Carried here from another process with which the client had a session: it will begin another when it has
    /// negotiated with us. Once it has our offer that may be a moment before its answer comes: the last first message of
    /// a handshake is kept.
    UntilNegotiated(Vec<Vec<u8>>),
    /// Carried here from a process with which the client's handshake was under way. What comes may be of that one until
    /// the client checks a way to us, which it cannot before it has our description.
    UntilChecked,
}

impl Ear {
    /// Whether a datagram is heard now.
    pub(super) fn hears(&mut self, datagram: &[u8], is_hello: bool) -> bool {
        let early = match self {
            Ear::Open => return true,
            Ear::UntilChecked => return false,
            Ear::UntilNegotiated(early) => early,
        };
        if is_hello {
            early.clear();
        }
        let belongs = is_hello || !early.is_empty() && datagram.first() == Some(&HANDSHAKE);
        if belongs && early.len() < MAX_EARLY && datagram.len() <= MAX_EARLY_LEN {
            early.push(datagram.to_vec());
        }
        false
    }

    /// The client has negotiated with us: returns what it said before that, and was meant for us.
    pub(super) fn negotiated(&mut self) -> Vec<Vec<u8>> {
        let Ear::UntilNegotiated(early) = self else { return Vec::new() };
        let early = std::mem::take(early);
        *self = Ear::Open;
        early
    }

    /// The client has checked a way to us.
    pub(super) fn checked(&mut self) {
        if matches!(self, Ear::UntilChecked) {
            *self = Ear::Open;
        }
    }
}

/// The random number of the ClientHello with which a datagram begins, if it does (RFC 6347 §4.1, §4.2). Not: a later
/// fragment of one, or an encrypted message, whose bytes say nothing.
pub(super) fn client_hello(datagram: &[u8]) -> Option<[u8; 32]> {
    const EPOCH: std::ops::Range<usize> = 3..5;
    const RECORD_HEADER: usize = 13;
    const FRAGMENT_OFFSET: std::ops::Range<usize> = RECORD_HEADER + 6..RECORD_HEADER + 9;
    const BODY: usize = RECORD_HEADER + 12;
    const VERSION: usize = 2;
    let is_hello = datagram.first() == Some(&HANDSHAKE) && datagram.get(RECORD_HEADER) == Some(&1);
    let in_clear = datagram.get(EPOCH)? == [0; 2];
    let begins = datagram.get(FRAGMENT_OFFSET)? == [0; 3];
    let random = datagram.get(BODY + VERSION..)?.first_chunk()?;
    (is_hello && in_clear && begins).then_some(*random)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of one handshake message, or of a part of it from `offset` on.
    fn record(epoch: u8, message: u8, offset: u8) -> Vec<u8> {
        let mut datagram = vec![HANDSHAKE, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 0, 0, 80];
        datagram.extend([message, 0, 0, 120, 0, 0, 0, 0, offset, 0, 0, 68]);
        datagram.extend([7; 68]);
        datagram
    }

    /// Taken for a hello of its own it would have the handshake begin anew with every part.
    #[test]
    fn a_later_part_of_a_hello_is_none() {
        assert_eq!(client_hello(&record(0, 1, 0)), Some([7; 32]));
        assert_eq!(client_hello(&record(0, 1, 60)), None);
    }

    /// One in 256 began with a byte that looked like it: that client's handshake never ended.
    #[test]
    fn an_encrypted_message_is_no_hello() {
        assert_eq!(client_hello(&record(1, 1, 0)), None);
    }

    #[test]
    fn what_is_cut_off_is_no_hello() {
        let whole = record(0, 1, 0);
        assert!((0..whole.len()).all(|len| client_hello(&whole[..len]).is_none_or(|hello| hello == [7; 32])));
        assert_eq!(client_hello(&record(0, 2, 0)), None, "a hello of a server");
    }

    #[test]
    fn the_last_hello_is_kept_with_all_its_parts() {
        let (whole, part) = (record(0, 1, 0), record(0, 1, 60));
        let mut ear = Ear::UntilNegotiated(Vec::new());
        let mut told = vec![&part, &whole, &part, &whole];
        told.extend([&part; 20]);
        for datagram in told {
            assert!(!ear.hears(datagram, client_hello(datagram).is_some()));
        }
        let kept = ear.negotiated();
        assert_eq!(kept.len(), MAX_EARLY, "a flood is not kept");
        assert!(kept[0] == whole && kept[1..].iter().all(|kept| *kept == part));
        assert!(ear.hears(&part, false));
    }
}
