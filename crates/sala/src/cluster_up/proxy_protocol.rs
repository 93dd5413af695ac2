//! The header that a load balancer puts before a connection, so that the server knows the client's true address:
//! PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt §2.2).

use std::net::{IpAddr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and what follows is a client's connection.
const PROXY: u8 = 0x21;
/// Version 2, and the balancer speaks for itself: a health check.
const LOCAL: u8 = 0x20;

/// For a client's connection. Addresses of different families are not told: the server then sees ours.
pub(crate) fn header(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let mut addresses = Vec::new();
    let family = match (client.ip(), server.ip()) {
        (IpAddr::V4(client), IpAddr::V4(server)) => {
            addresses.extend(client.octets());
            addresses.extend(server.octets());
            0x11
        }
        (IpAddr::V6(client), IpAddr::V6(server)) => {
            addresses.extend(client.octets());
            addresses.extend(server.octets());
            0x21
        }
        _ => return local(),
    };
    addresses.extend(client.port().to_be_bytes());
    addresses.extend(server.port().to_be_bytes());
    let mut header = SIGNATURE.to_vec();
    header.extend([PROXY, family]);
    header.extend((addresses.len() as u16).to_be_bytes());
    header.extend(addresses);
    header
}

/// For a health check.
pub(crate) fn local() -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([LOCAL, 0, 0, 0]);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_the_specification() {
        let header = header("192.0.2.1:4660".parse().unwrap(), "198.51.100.2:443".parse().unwrap());
        assert_eq!(header[..12], [0x0D, 0x0A, 0x0D, 0x0A, 0, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]);
        assert_eq!(header[12..16], [0x21, 0x11, 0, 12]);
        assert_eq!(header[16..], [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xBB]);
        assert_eq!(local()[12..], [0x20, 0, 0, 0]);
    }
}
