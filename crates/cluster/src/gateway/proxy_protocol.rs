//! PROXY protocol v2: how a layer-4 balancer tells whose connection it carries, ahead of the first byte. Version
//! 1 is refused: it is text, and what a client writes first could be taken for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first bytes, chosen by the specification to be no other protocol's.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// Addresses and whatever else a balancer adds (TLS details, VPC ids): a few hundred bytes in practice.
pub(super) const MAX_HEADER_BYTES: usize = 4 * 1024;

const VERSION_AND_PROXY: u8 = 0x21;
const VERSION_AND_LOCAL: u8 = 0x20;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyHeader {
    /// The connection's true ends.
    Proxied { source: SocketAddr, destination: SocketAddr },
    /// The balancer itself, for its health checks, or a family that has no address for us.
    Local,
}

/// Why the start of a connection is no header of PROXY protocol v2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("PROXY protocol version 1 is not accepted; set the balancer to version 2")]
    Version1,
    #[error(
        "no PROXY protocol header; switch it on at the balancer, or take this address out of the trusted ones"
    )]
    Missing,
    #[error("PROXY protocol header with unknown version or command {0:#04x}; set the balancer to version 2")]
    BadCommand(u8),
    #[error(
        "PROXY protocol header of {0} bytes, over the limit of {MAX_HEADER_BYTES}; switch off extra fields at the balancer"
    )]
    TooLong(usize),
    #[error("PROXY protocol header too short for its addresses; the balancer is broken")]
    TooShort,
}

/// Reads the header at the start of `bytes`. The number is its length; `None`: read more.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes[..seen] != SIGNATURE[..seen] {
        let v1 = b"PROXY ";
        return match bytes.len() < v1.len() && v1.starts_with(bytes) {
            true => Ok(None),
            false if bytes.starts_with(v1) => Err(ProxyError::Version1),
            false => Err(ProxyError::Missing),
        };
    }
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    if command != VERSION_AND_PROXY && command != VERSION_AND_LOCAL {
        return Err(ProxyError::BadCommand(command));
    }
    let total = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if total > MAX_HEADER_BYTES {
        return Err(ProxyError::TooLong(total));
    }
    let Some(rest) = bytes.get(FIXED_BYTES..total) else { return Ok(None) };
    let header = match (command, family) {
        (VERSION_AND_PROXY, TCP_OVER_IPV4) => {
            let addresses = rest.first_chunk::<12>().ok_or(ProxyError::TooShort)?;
            let ip = |at: usize| {
                let [a, b, c, d] = [addresses[at], addresses[at + 1], addresses[at + 2], addresses[at + 3]];
                IpAddr::from(Ipv4Addr::new(a, b, c, d))
            };
            proxied(ip(0), ip(4), &addresses[8..])
        }
        (VERSION_AND_PROXY, TCP_OVER_IPV6) => {
            let addresses = rest.first_chunk::<36>().ok_or(ProxyError::TooShort)?;
            let ip = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&addresses[at..at + 16]);
                IpAddr::from(Ipv6Addr::from(octets))
            };
            proxied(ip(0), ip(16), &addresses[32..])
        }
        _ => ProxyHeader::Local,
    };
    Ok(Some((header, total)))
}

fn proxied(source: IpAddr, destination: IpAddr, ports: &[u8]) -> ProxyHeader {
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    ProxyHeader::Proxied {
        source: SocketAddr::new(source.to_canonical(), port(0)),
        destination: SocketAddr::new(destination.to_canonical(), port(2)),
    }
}

/// Writes a header. Addresses of different families are both written as IPv6.
pub(super) fn write(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.push(VERSION_AND_PROXY);
    match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            bytes.extend([TCP_OVER_IPV4, 0, 12]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
        }
        (source, destination) => {
            bytes.extend([TCP_OVER_IPV6, 0, 36]);
            for address in [source, destination] {
                bytes.extend(match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    IpAddr::V6(v6) => v6.octets(),
                });
            }
        }
    }
    bytes.extend(source.port().to_be_bytes());
    bytes.extend(destination.port().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn version_1_and_plain_clients_are_told_apart() {
        assert_eq!(parse(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), Err(ProxyError::Version1));
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Err(ProxyError::Missing));
        assert_eq!(parse(b"P"), Ok(None));
        assert_eq!(parse(b"POST"), Err(ProxyError::Missing));
    }

    #[test]
    fn health_checks_unknown_families_and_bad_headers() {
        let header = |command: u8, family: u8, length: u16| {
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend([command, family]);
            bytes.extend(length.to_be_bytes());
            bytes.extend(std::iter::repeat_n(0, length.into()));
            bytes
        };
        assert_eq!(parse(&header(0x20, 0, 0)), Ok(Some((ProxyHeader::Local, 16))));
        assert_eq!(parse(&header(0x21, 0x31, 40)), Ok(Some((ProxyHeader::Local, 56))));
        assert_eq!(parse(&header(0x11, 0x11, 12)), Err(ProxyError::BadCommand(0x11)));
        assert_eq!(parse(&header(0x21, 0x11, 11)), Err(ProxyError::TooShort));
        assert_eq!(parse(&header(0x21, 0x21, 35)), Err(ProxyError::TooShort));
        assert!(matches!(parse(&header(0x21, 0x11, u16::MAX)), Err(ProxyError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_at_any_cut(source: SocketAddr, destination: SocketAddr, more in proptest::collection::vec(any::<u8>(), 0..20)) {
            let header = write(source, destination);
            for cut in 0..header.len() {
                prop_assert_eq!(parse(&header[..cut]), Ok(None));
            }
            let with_more: Vec<u8> = header.iter().copied().chain(more).collect();
            let (parsed, length) = parse(&with_more).unwrap().unwrap();
            prop_assert_eq!(length, header.len());
            let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
            prop_assert_eq!(parsed, ProxyHeader::Proxied { source: plain(source), destination: plain(destination) });
        }

        #[test]
        fn no_bytes_make_it_panic_or_read_past_the_end(tail in proptest::collection::vec(any::<u8>(), 0..80), signed: bool) {
            let mut bytes = if signed { SIGNATURE.to_vec() } else { Vec::new() };
            bytes.extend(tail);
            if let Ok(Some((_, length))) = parse(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
