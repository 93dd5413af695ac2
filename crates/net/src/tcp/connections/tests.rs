use std::net::{TcpListener, TcpStream as StdStream};

use mio::Poll;
use rtc::{MAX_DATAGRAM, Proto};

use super::*;

/// A connection as a shard has it, and the client's end.
fn connect(poll: &Poll, now: Instant) -> (Connections, usize, Path, StdStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let client = StdStream::connect(local).unwrap();
    let (stream, remote) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let path = Path { proto: Proto::Tcp, local, remote };
    let mut connections = Connections::new(poll.registry().try_clone().unwrap(), 100);
    let index = connections.open(now, TcpStream::from_std(stream), path, Vec::new()).unwrap();
    (connections, index, path, client)
}

fn wait(poll: &mut Poll) {
    poll.poll(&mut mio::Events::with_capacity(8), Some(Duration::from_secs(5))).unwrap();
}

#[test]
fn a_frame_cut_anywhere_is_put_together() {
    let mut poll = Poll::new().unwrap();
    let (mut connections, index, _, mut client) = connect(&poll, Instant::now());
    let mut scratch = vec![0; 4_096];
    let mut assembled = Vec::new();
    wait(&mut poll);
    for byte in [0, 3, b'a', b'b', b'c', 0, 1] {
        client.write_all(&[byte]).unwrap();
        wait(&mut poll);
        let (len, status) = connections.read(index, &mut scratch);
        assert_eq!(status, ReadStatus::Drained);
        let rest = match framing::first(&scratch[..len]).unwrap() {
            Some(range) => {
                assembled.push(scratch[range.clone()].to_vec());
                range.end..len
            }
            None => 0..len,
        };
        connections.keep(index, &scratch[rest]);
    }
    assert_eq!(assembled, [b"abc".to_vec()]);
}

#[test]
fn a_client_that_does_not_read_costs_bounded_memory() {
    let poll = Poll::new().unwrap();
    let (mut connections, _, path, _client) = connect(&poll, Instant::now());
    for _ in 0..20_000 {
        connections.queue(&path, &[0; 1_200]);
        connections.flush();
    }
    assert!(connections.dropped > 0);
    assert!(connections.backlog() <= MAX_BACKLOG + framing::HEADER * MAX_BACKLOG / 1_200);
}

#[test]
fn what_waits_is_written_when_the_client_reads_again() {
    let poll = Poll::new().unwrap();
    let (mut connections, index, path, mut client) = connect(&poll, Instant::now());
    while connections.backlog() < 100_000 {
        connections.queue(&path, &[9; MAX_DATAGRAM]);
        connections.flush();
    }
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut buffer = vec![0; 1 << 20];
    while connections.backlog() > 0 {
        assert!(client.read(&mut buffer).unwrap() > 0);
        connections.write(index);
    }
    assert_eq!(connections.dropped, 0);
}

#[test]
fn a_connection_that_ice_never_validates_is_closed() {
    let poll = Poll::new().unwrap();
    let now = Instant::now();
    let (mut connections, _, path, mut client) = connect(&poll, now);
    assert_eq!(connections.poll_timeout(), Some(now + VALIDATE_WITHIN));
    connections.expire(now + VALIDATE_WITHIN);
    assert_eq!((connections.len(), connections.poll_timeout()), (0, None));
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    connections.queue(&path, b"late");
    assert_eq!(connections.dropped, 1);
}

#[test]
fn a_validated_connection_stays() {
    let poll = Poll::new().unwrap();
    let now = Instant::now();
    let (mut connections, _, path, _client) = connect(&poll, now);
    connections.validated(&path);
    connections.expire(now + VALIDATE_WITHIN);
    assert_eq!(connections.len(), 1);
}

#[test]
fn a_port_used_again_replaces_its_stale_connection() {
    let poll = Poll::new().unwrap();
    let now = Instant::now();
    let (mut connections, old, path, _client) = connect(&poll, now);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _second = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let new = connections.open(now, TcpStream::from_std(stream), path, Vec::new()).unwrap();
    assert_eq!((connections.len(), connections.path(old)), (1, None));
    assert_eq!(connections.path(new), Some(path));
}
