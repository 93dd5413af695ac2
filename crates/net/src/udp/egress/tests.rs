use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::*;

const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn egress() -> UdpEgress {
    UdpEgress::new(vec![UdpPort::bind((LOOPBACK, 0).into(), &[LOOPBACK]).unwrap()])
}

fn path(egress: &UdpEgress, remote: SocketAddr) -> Path {
    Path { proto: Proto::Udp, local: egress.ports()[0].advertised()[0], remote }
}

fn receiver() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2_000];
    let len = socket.recv(&mut buffer).unwrap();
    buffer[..len].to_vec()
}

/// Sizes to one destination, and how many messages they make.
fn runs(sizes: &[usize]) -> Vec<Vec<usize>> {
    let mut egress = egress();
    let path = path(&egress, SocketAddr::from(([127, 0, 0, 1], 9)));
    for size in sizes {
        egress.send(&path, &vec![0; *size]);
    }
    let lens = |message: &Message| split(message).map(|single| single.bytes.len()).collect();
    egress.waiting[0].iter().map(lens).collect()
}

#[test]
fn a_frame_of_equal_packets_is_one_run() {
    assert_eq!(runs(&[1200, 1200, 1200]), [[1200, 1200, 1200]]);
}

#[test]
fn a_shorter_packet_ends_a_run_and_a_longer_one_begins_another() {
    assert_eq!(runs(&[1000, 1000, 400, 400]), vec![vec![1000, 1000, 400], vec![400]]);
    assert_eq!(runs(&[1000, 1000, 1001, 1001]), vec![vec![1000, 1000], vec![1001, 1001]]);
}

#[test]
fn no_run_exceeds_what_the_kernel_takes() {
    assert_eq!(runs(&[10; 65]).iter().map(Vec::len).collect::<Vec<_>>(), [64, 1]);
    let long = runs(&[1500; 50]);
    assert!(long.iter().all(|run| run.iter().sum::<usize>() <= MAX_GSO_BYTES));
    assert_eq!(long.iter().map(Vec::len).collect::<Vec<_>>(), [43, 7]);
}

#[test]
fn packets_to_two_destinations_never_share_a_run() {
    let mut egress = egress();
    let [a, b] = [1, 2].map(|port| path(&egress, SocketAddr::from(([127, 0, 0, 1], port))));
    for path in [a, b, a] {
        egress.send(&path, &[0; 100]);
    }
    assert_eq!(egress.waiting[0].len(), 3);
}

#[test]
fn a_slot_that_is_not_committed_leaves_no_hole() {
    let mut egress = egress();
    let (socket, remote) = receiver();
    let path = path(&egress, remote);
    egress.slot(&path, 1200).fill(1);
    egress.slot(&path, 1200)[..3].copy_from_slice(b"abc");
    egress.commit(3);
    egress.flush();
    assert_eq!(receive(&socket), b"abc");
    assert_eq!(egress.stats().packets, 1);
}

#[test]
fn runs_arrive_whole_in_order_and_in_few_calls() {
    let mut egress = egress();
    let receivers: Vec<_> = (0..20).map(|_| receiver()).collect();
    for (number, (_, remote)) in receivers.iter().enumerate() {
        let path = path(&egress, *remote);
        for packet in 0..10_u8 {
            // As libwebrtc splits a frame: the last packets are one byte longer.
            let size = if packet < 5 { 900 } else { 901 };
            egress.send(&path, &vec![number as u8 * 10 + packet; size]);
        }
    }
    egress.flush();
    for (number, (socket, _)) in receivers.iter().enumerate() {
        for packet in 0..10_u8 {
            let datagram = receive(socket);
            assert_eq!(datagram.len(), if packet < 5 { 900 } else { 901 });
            assert!(datagram.iter().all(|byte| *byte == number as u8 * 10 + packet));
        }
    }
    let stats = egress.stats();
    assert_eq!((stats.packets, stats.dropped_full + stats.dropped_error), (200, 0));
    assert!(stats.calls * 16 <= stats.packets, "{} calls for 200 packets", stats.calls);
}

#[test]
fn without_gso_every_datagram_still_arrives() {
    let mut egress = egress();
    egress.gso[0] = false;
    let (socket, remote) = receiver();
    let path = path(&egress, remote);
    for size in [700, 700, 600] {
        egress.send(&path, &vec![7; size]);
    }
    assert_eq!(egress.waiting[0].len(), 3);
    egress.flush();
    assert_eq!([receive(&socket).len(), receive(&socket).len(), receive(&socket).len()], [700, 700, 600]);
}

#[test]
fn more_than_the_buffer_holds_is_sent_in_parts() {
    let mut egress = egress();
    let (socket, remote) = receiver();
    let path = path(&egress, remote);
    for number in 0..1_000_u32 {
        let mut datagram = vec![0; 1_000];
        datagram[..4].copy_from_slice(&number.to_be_bytes());
        egress.send(&path, &datagram);
        if number % 50 == 0 {
            egress.flush();
        }
        if number % 50 == 49 {
            egress.flush();
            for _ in 0..50 {
                receive(&socket);
            }
        }
    }
    assert_eq!(egress.stats().packets, 1_000);
}

#[test]
fn an_unreachable_destination_does_not_keep_the_others_from_theirs() {
    let mut egress = egress();
    let (socket, remote) = receiver();
    // Broadcast needs a permission that this socket has not.
    let forbidden = path(&egress, SocketAddr::from(([255, 255, 255, 255], 9)));
    let path = path(&egress, remote);
    egress.send(&path, b"before");
    egress.send(&forbidden, b"refused");
    egress.send(&path, b"after");
    egress.flush();
    assert_eq!([receive(&socket), receive(&socket)], [b"before".to_vec(), b"after".to_vec()]);
    assert_eq!(egress.stats().dropped_error, 1);
}

#[test]
fn a_path_from_an_address_that_is_not_ours_is_dropped() {
    let mut egress = egress();
    let (_, remote) = receiver();
    let path = Path { proto: Proto::Udp, local: ([127, 0, 0, 9], 1).into(), remote };
    egress.send(&path, b"x");
    egress.flush();
    assert_eq!((egress.stats().packets, egress.stats().dropped_error), (0, 1));
}

#[test]
fn errors_have_the_right_remedy() {
    let remedy = |errno, run| Remedy::of(&io::Error::from_raw_os_error(errno), run);
    assert_eq!(remedy(libc::EAGAIN, true), Remedy::DropAll);
    assert_eq!(remedy(libc::EIO, true), Remedy::Split { for_good: true });
    assert_eq!(remedy(libc::EMSGSIZE, true), Remedy::Split { for_good: false });
    assert_eq!(remedy(libc::EMSGSIZE, false), Remedy::DropOne);
    assert_eq!(remedy(libc::EINTR, false), Remedy::Again);
}
