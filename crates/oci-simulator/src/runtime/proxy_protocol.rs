//! PROXY protocol version 2, as a network load balancer with `isPpv2Enabled` sends it.

use std::net::{IpAddr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The header that says who the client is.
pub(super) fn header(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    out.push(0x21);
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from_ip), IpAddr::V4(to_ip)) => {
            out.extend_from_slice(&[0x11, 0, 12]);
            out.extend_from_slice(&from_ip.octets());
            out.extend_from_slice(&to_ip.octets());
        }
        (from_ip, to_ip) => {
            let v6 = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            out.extend_from_slice(&[0x21, 0, 36]);
            out.extend_from_slice(&v6(from_ip).octets());
            out.extend_from_slice(&v6(to_ip).octets());
        }
    }
    out.extend_from_slice(&from.port().to_be_bytes());
    out.extend_from_slice(&to.port().to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_both_ends() {
        let header = header("127.0.0.9:5000".parse().unwrap(), "127.20.0.2:443".parse().unwrap());
        assert_eq!(header.len(), 28);
        assert_eq!(&header[12..16], [0x21, 0x11, 0, 12]);
        assert_eq!(&header[16..24], [127, 0, 0, 9, 127, 20, 0, 2]);
        assert_eq!(&header[24..], [0x13, 0x88, 0x01, 0xbb]);
    }
}
