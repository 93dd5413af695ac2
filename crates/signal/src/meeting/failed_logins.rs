//! A brake on guessing the administrator's password: after a few wrong logins an address must wait.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A person mistypes a few times; a guesser needs millions.
const MAX_FAILURES: u32 = 10;

/// After this long an address starts afresh.
const WINDOW: Duration = Duration::from_secs(60);

/// Addresses remembered at once: some 100 kB. When full, the oldest gives way.
const MAX_ADDRESSES: usize = 1024;

/// Wrong logins by address. Addresses are those of sockets: headers can be made up.
#[derive(Default)]
pub(crate) struct FailedLogins {
    seen: Mutex<HashMap<IpAddr, Failures>>,
}

struct Failures {
    since: Instant,
    count: u32,
}

impl FailedLogins {
    pub(super) fn may_try(&self, address: IpAddr, now: Instant) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&network_of(address))
            .is_none_or(|failures| failures.count < MAX_FAILURES || now >= failures.since + WINDOW)
    }

    pub(super) fn record(&self, address: IpAddr, now: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network_of(address);
        if seen.len() >= MAX_ADDRESSES && !seen.contains_key(&address) {
            seen.retain(|_, failures| now < failures.since + WINDOW);
            if seen.len() >= MAX_ADDRESSES
                && let Some(oldest) = seen.iter().min_by_key(|(_, failures)| failures.since).map(|(a, _)| *a)
            {
                seen.remove(&oldest);
            }
        }
        let failures = seen.entry(address).or_insert(Failures { since: now, count: 0 });
        if now >= failures.since + WINDOW {
            *failures = Failures { since: now, count: 0 };
        }
        failures.count += 1;
    }
}

/// A host with IPv6 has 2⁶⁴ addresses: its network counts.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guesser_is_slowed_down_and_others_are_not() {
        let (logins, now) = (FailedLogins::default(), Instant::now());
        let [guesser, other] = ["10.0.0.1", "10.0.0.2"].map(|a| a.parse::<IpAddr>().unwrap());
        for _ in 0..MAX_FAILURES {
            assert!(logins.may_try(guesser, now));
            logins.record(guesser, now);
        }
        assert!(!logins.may_try(guesser, now));
        assert!(logins.may_try(other, now));
        assert!(logins.may_try(guesser, now + WINDOW));
        logins.record(guesser, now + WINDOW);
        assert!(logins.may_try(guesser, now + WINDOW));
    }

    #[test]
    fn a_guesser_cannot_hop_within_its_ipv6_network() {
        let (logins, now) = (FailedLogins::default(), Instant::now());
        for i in 0..MAX_FAILURES {
            logins.record(format!("2001:db8::{i}").parse().unwrap(), now);
        }
        assert!(!logins.may_try("2001:db8::ffff".parse().unwrap(), now));
        assert!(logins.may_try("2001:db8:0:1::1".parse().unwrap(), now));
    }

    #[test]
    fn many_addresses_do_not_fill_memory() {
        let (logins, now) = (FailedLogins::default(), Instant::now());
        for i in 0..2 * MAX_ADDRESSES as u32 {
            logins.record(IpAddr::from(i.to_be_bytes()), now + Duration::from_micros(i.into()));
        }
        assert_eq!(logins.seen.lock().unwrap().len(), MAX_ADDRESSES);
    }
}
