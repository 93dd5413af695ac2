use std::io::Write;
use std::net::{Ipv4Addr, TcpStream as StdStream};

use is::stun::{StunMessage, TransId};
use mio::Poll;

use super::*;
use crate::mailbox::{Inbox, mailbox};

struct Rig {
    address: SocketAddr,
    _acceptor: Acceptor,
    /// Per shard.
    inboxes: Vec<(Inbox, Poll)>,
}

fn rig(limits: Limits) -> Rig {
    let loopback = Ipv4Addr::LOCALHOST.into();
    let listener = Listener::bind(SocketAddr::new(loopback, 0), loopback).unwrap();
    let address = listener.advertised();
    let mut inboxes = Vec::new();
    let mut mailboxes = Vec::new();
    for _ in 0..2 {
        let poll = Poll::new().unwrap();
        let (sender, inbox) = mailbox(Waker::new(poll.registry(), Token(0)).unwrap());
        mailboxes.push(Arc::new(sender));
        inboxes.push((inbox, poll));
    }
    let acceptor = Acceptor::with_limits(vec![listener], mailboxes, limits).unwrap();
    Rig { address, _acceptor: acceptor, inboxes }
}

impl Rig {
    fn connect(&self) -> StdStream {
        let stream = StdStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn handed_over(&mut self, shard: usize) -> TcpHandover {
        let (inbox, poll) = &mut self.inboxes[shard];
        poll.poll(&mut Events::with_capacity(4), Some(Duration::from_secs(5))).unwrap();
        match inbox.take() {
            Some(Command::Tcp(handover)) => *handover,
            _ => panic!("nothing was handed over to shard {shard}"),
        }
    }
}

fn closed(mut stream: StdStream) -> bool {
    match stream.read(&mut [0; 16]) {
        Ok(len) => len == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn stun(username: &str) -> Vec<u8> {
    let message = StunMessage::binding_request(username, TransId::new(), false, 1, 1, false);
    let mut bytes = vec![0; 512];
    let len = message.to_bytes(Some(b"password"), &mut bytes, |_, _| [0; 20]).unwrap();
    let frame = &bytes[..len];
    [&framing::header(frame)[..], frame].concat()
}

#[test]
fn the_first_frame_finds_its_shard_even_byte_by_byte() {
    let mut rig = rig(LIMITS);
    let mut client = rig.connect();
    let frame = stun("01abcdef:remote");
    for byte in &frame {
        client.write_all(&[*byte]).unwrap();
    }
    let handover = rig.handed_over(1);
    assert_eq!(handover.received, frame);
    assert_eq!((handover.local, handover.remote), (rig.address, client.local_addr().unwrap()));
}

#[test]
fn what_is_no_ice_request_is_closed() {
    let rig = rig(LIMITS);
    let openings: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\n\r\n", &[0, 0], &[0, 4, 1, 2, 3, 4], &[0xff, 0xff], &stun("zzabcdef:remote")];
    for opening in openings {
        let mut client = rig.connect();
        client.write_all(opening).unwrap();
        assert!(closed(client), "{opening:?}");
    }
}

#[test]
fn a_request_for_a_shard_that_does_not_exist_is_closed() {
    let rig = rig(LIMITS);
    let mut client = rig.connect();
    client.write_all(&stun("77abcdef:remote")).unwrap();
    assert!(closed(client));
}

#[test]
fn a_silent_client_is_closed_after_its_time() {
    let rig = rig(Limits { first_frame_within: Duration::from_millis(20), ..LIMITS });
    assert!(closed(rig.connect()));
}

#[test]
fn a_crowd_of_half_open_connections_does_not_lock_others_out() {
    let mut rig = rig(Limits { pending: 4, ..LIMITS });
    let mut crowd: Vec<_> = (0..8).map(|_| rig.connect()).collect();
    let mut honest = rig.connect();
    honest.write_all(&stun("00abcdef:remote")).unwrap();
    rig.handed_over(0);
    assert!(closed(crowd.remove(0)));
}
