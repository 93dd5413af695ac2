//! The floor: one publisher's packets to many subscribers by a loop that does what no SFU can do without,
//! and nothing else. Per packet: 20 bytes of header with a transport-wide sequence number, the payload's copy,
//! AES-128-GCM in place; per 32 subscribers one `sendmmsg` of one GSO message each.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Instant;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use net::{UdpEgress, UdpPort};
use rtc::{Egress, Path, Proto};

use crate::measure::Costs;
use crate::receivers::Receivers;
use crate::sys;

const PAYLOAD: usize = 1_200;
const HEADER: usize = 20;
const TAG: usize = 16;
const PACKET: usize = HEADER + PAYLOAD + TAG;

/// Packets whose sending time is remembered for transport-cc.
const SENT_RING: usize = 1_024;

struct Subscriber {
    key: LessSafeKey,
    salt: [u8; 12],
    ssrc: u32,
    seq_offset: u16,
    timestamp_offset: u32,
    rollover: u32,
    transport_seq: u16,
    sent: Box<[(u16, u32)]>,
    packets: u64,
    octets: u64,
}

impl Subscriber {
    fn new(number: usize) -> Subscriber {
        let key = [number as u8; 16];
        let unbound =
            UnboundKey::new(&AES_128_GCM, &key).unwrap_or_else(|_| unreachable!("16 bytes are a key"));
        Subscriber {
            key: LessSafeKey::new(unbound),
            salt: [number as u8 ^ 0x5a; 12],
            ssrc: number as u32,
            seq_offset: number as u16 * 7,
            timestamp_offset: number as u32 * 90_000,
            rollover: 0,
            transport_seq: 0,
            sent: vec![(0, 0); SENT_RING].into_boxed_slice(),
            packets: 0,
            octets: 0,
        }
    }

    #[inline]
    fn write(&mut self, seq: u16, timestamp: u32, payload: &[u8; PAYLOAD], packet: &mut [u8]) {
        let seq = seq.wrapping_add(self.seq_offset);
        self.rollover += u32::from(seq == 0);
        self.transport_seq = self.transport_seq.wrapping_add(1);
        let (header, rest) = packet.split_at_mut(HEADER);
        header[..2].copy_from_slice(&[0x90, 96]);
        header[2..4].copy_from_slice(&seq.to_be_bytes());
        header[4..8].copy_from_slice(&timestamp.wrapping_add(self.timestamp_offset).to_be_bytes());
        header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        header[12..17].copy_from_slice(&[0xbe, 0xde, 0, 1, 0x31]);
        header[17..19].copy_from_slice(&self.transport_seq.to_be_bytes());
        header[19] = 0;
        let (body, tag) = rest.split_at_mut(PAYLOAD);
        body.copy_from_slice(payload);
        let nonce = self.nonce(seq);
        if let Ok(sealed) = self.key.seal_in_place_separate_tag(nonce, Aad::from(&*header), body) {
            tag.copy_from_slice(sealed.as_ref());
        }
        self.sent[usize::from(self.transport_seq) % SENT_RING] = (self.transport_seq, PACKET as u32);
        self.packets += 1;
        self.octets += PAYLOAD as u64;
    }

    /// RFC 7714 §8.1.
    fn nonce(&self, seq: u16) -> Nonce {
        let mut bytes = [0; 12];
        bytes[2..6].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes[6..10].copy_from_slice(&self.rollover.to_be_bytes());
        bytes[10..].copy_from_slice(&seq.to_be_bytes());
        bytes.iter_mut().zip(self.salt).for_each(|(byte, salt)| *byte ^= salt);
        Nonce::assume_unique_for_key(bytes)
    }
}

pub(crate) struct Floor {
    subscribers: Vec<Subscriber>,
    payload: [u8; PAYLOAD],
    seq: u16,
    timestamp: u32,
    buffer: Box<[u8]>,
}

impl Floor {
    pub(crate) fn new(subscribers: usize) -> Floor {
        Floor {
            subscribers: (0..subscribers).map(Subscriber::new).collect(),
            payload: std::array::from_fn(|index| index as u8),
            seq: 0,
            timestamp: 0,
            buffer: vec![0; sys::MAX_MESSAGES * 64 * PACKET].into_boxed_slice(),
        }
    }

    /// Forwards frames of `packets` packets to all subscribers; without sockets only builds and seals.
    pub(crate) fn run(
        &mut self,
        frames: usize,
        packets: usize,
        mut network: Option<(&UdpSocket, &mut Receivers)>,
    ) -> io::Result<Costs> {
        let addresses = match &network {
            Some((_, receivers)) => sys::raw_addresses(receivers.addresses()),
            None => Vec::new(),
        };
        let mut costs = Costs::default();
        for _ in 0..frames {
            for (number, group) in self.subscribers.chunks_mut(sys::MAX_MESSAGES).enumerate() {
                let batch = &mut self.buffer[..group.len() * packets * PACKET];
                let begin = Instant::now();
                for (subscriber, share) in group.iter_mut().zip(batch.chunks_exact_mut(packets * PACKET)) {
                    for (index, packet) in share.chunks_exact_mut(PACKET).enumerate() {
                        let seq = self.seq.wrapping_add(index as u16);
                        subscriber.write(seq, self.timestamp, &self.payload, packet);
                    }
                }
                let sealed = Instant::now();
                costs.seal += sealed - begin;
                costs.packets += (group.len() * packets) as u64;
                if let Some((socket, _)) = &network {
                    let to = &addresses[number * sys::MAX_MESSAGES..][..group.len()];
                    let sent = sys::send_runs(socket, batch, PACKET, to)?;
                    assert_eq!(sent, group.len(), "the send buffer is too small for this measurement");
                    costs.send += sealed.elapsed();
                    costs.calls += 1;
                }
            }
            self.seq = self.seq.wrapping_add(packets as u16);
            self.timestamp = self.timestamp.wrapping_add(3_000);
            if let Some((_, receivers)) = &mut network {
                let expected = receivers.addresses().len() * packets * PACKET;
                assert_eq!(
                    receivers.drain()?,
                    expected,
                    "receive buffers are too small for this measurement"
                );
            }
        }
        Ok(costs)
    }
}

/// What pays for our own `sendmmsg`: the product's egress as it is, and made to call the kernel once per run.
pub(crate) fn send_calls(frames: usize, receivers: &mut Receivers) -> io::Result<Vec<(&'static str, Costs)>> {
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let mut egress = UdpEgress::new(vec![UdpPort::bind((loopback, 0).into(), &[loopback])?]);
    let local = egress.ports()[0].advertised()[0];
    let addresses = receivers.addresses().to_vec();
    let mut rows = Vec::new();
    for (name, packets, per_run) in [
        ("net egress k=10, sendmmsg", 10, false),
        ("net egress k=10, sendmsg per run", 10, true),
        ("net egress k=1, sendmmsg", 1, false),
        ("net egress k=1, sendmsg per run", 1, true),
    ] {
        let mut costs = Costs::default();
        let before = egress.stats();
        for _ in 0..frames {
            let begin = Instant::now();
            for remote in &addresses {
                let path = Path { proto: Proto::Udp, local, remote: *remote };
                for _ in 0..packets {
                    egress.slot(&path, PACKET);
                    egress.commit(PACKET);
                }
                if per_run {
                    egress.flush();
                }
            }
            egress.flush();
            costs.send += begin.elapsed();
            costs.packets += (addresses.len() * packets) as u64;
            receivers.drain()?;
        }
        let after = egress.stats();
        assert_eq!(after.packets - before.packets, costs.packets, "packets were dropped on the way out");
        costs.calls = after.calls - before.calls;
        rows.push((name, costs));
    }
    Ok(rows)
}
