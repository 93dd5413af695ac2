//! The client's time and media: frames out, packets in, and what must hold for each stream that comes.

use std::time::Instant;

use rtc::{ExtSeq, MediaKind, Path, PeerEvent};

use super::{Client, Side};
use crate::source::{AUDIO_INTERVAL, Encoding, VIDEO_INTERVAL, recognise};

/// What arrived of one subscribed stream.
#[derive(Debug)]
pub struct Received {
    pub publisher: u32,
    pub kind: MediaKind,
    pub last: Instant,
    pub packets: u64,
    first_seq: ExtSeq,
    highest_seq: ExtSeq,
    newest_timestamp: u32,
    newest_frame: u32,
    /// The layer that came last.
    pub layer: u8,
}

impl Client {
    /// When something is due.
    pub fn next_due(&self) -> Option<Instant> {
        let peers = std::iter::once(&self.publisher).chain(self.subscriber.as_ref());
        let timers = peers.filter_map(|side| side.peer.poll_timeout());
        let frames = self.published.iter().map(|published| published.next_frame);
        timers.chain(frames).chain(self.settles).min()
    }

    /// Timers and media.
    pub fn tick(&mut self, now: Instant) {
        if self.settles.is_some_and(|at| at <= now) {
            self.settled();
        }
        for published in &mut self.published {
            if published.next_frame > now {
                continue;
            }
            let interval = if published.kind == MediaKind::Audio { AUDIO_INTERVAL } else { VIDEO_INTERVAL };
            published.next_frame = now + interval;
            if published.muted {
                continue;
            }
            published.frame += 1;
            let Side { peer, out } = &mut self.publisher;
            for encoding in &mut published.encodings {
                encoding.send_frame(now, published.kind, self.number, published.frame, peer, out);
            }
        }
        for side in self.sides() {
            if side.peer.poll_timeout().is_some_and(|due| due <= now) {
                side.peer.handle_timeout(now, &mut side.out);
            }
        }
        self.drain_events(now);
    }

    /// A datagram for one of the client's addresses.
    pub fn datagram(&mut self, now: Instant, path: &Path, mut bytes: Vec<u8>) {
        let subscriber = path.local.port() == 2;
        let side = match (&mut self.subscriber, subscriber) {
            (Some(side), true) => side,
            (_, false) => &mut self.publisher,
            (None, true) => return,
        };
        if let Some(media) = side.peer.handle_datagram(now, path, &mut bytes, &mut side.out) {
            let ssrc = side.peer.stream(media.stream).map(|stream| stream.ssrc.0).unwrap_or_default();
            let payload = bytes[media.payload.clone()].to_vec();
            self.media(now, ssrc, &media, &payload);
        }
        self.drain_events(now);
    }

    fn media(&mut self, now: Instant, ssrc: u32, media: &rtc::MediaPacket, payload: &[u8]) {
        if payload.is_empty() {
            return;
        }
        let Some(stamp) = recognise(payload) else {
            return self.violations.push("media that nobody sent".into());
        };
        let publisher = stamp.publisher;
        if self.forbidden.contains(&publisher) {
            self.violations.push(format!("media of client {publisher} without permission"));
        }
        let received = self.received.entry(ssrc).or_insert(Received {
            publisher,
            kind: media.codec.kind(),
            last: now,
            packets: 0,
            first_seq: media.seq,
            highest_seq: media.seq,
            newest_timestamp: media.timestamp,
            newest_frame: stamp.frame,
            layer: stamp.layer,
        });
        if received.publisher != publisher {
            self.violations.push(format!("stream {ssrc} changed its publisher"));
            return;
        }
        received.last = now;
        received.packets += 1;
        received.first_seq = received.first_seq.min(media.seq);
        if media.seq > received.highest_seq {
            let before = received.highest_seq;
            received.highest_seq = media.seq;
            if (media.timestamp.wrapping_sub(received.newest_timestamp) as i32) < 0 {
                let back = received.newest_timestamp.wrapping_sub(media.timestamp);
                self.violations.push(format!(
                    "timestamp of {:?} stream {ssrc} went back by {back} at {:?} after {:?}",
                    received.kind, media.seq, before
                ));
            }
            // Another encoding may lag behind the one before.
            if stamp.frame < received.newest_frame && stamp.layer == received.layer {
                self.violations.push(format!(
                    "{:?} stream {ssrc} went back from frame {} to {} at {:?} after {:?}",
                    received.kind, received.newest_frame, stamp.frame, media.seq, before
                ));
            }
            received.newest_timestamp = media.timestamp;
            received.newest_frame = stamp.frame;
            received.layer = stamp.layer;
        }
    }

    fn drain_events(&mut self, now: Instant) {
        while let Some(event) = self.publisher.peer.poll_event() {
            self.event(now, event, true);
        }
        while let Some(event) = self.subscriber.as_mut().and_then(|side| side.peer.poll_event()) {
            self.event(now, event, false);
        }
        self.data.give(&mut self.publisher);
    }

    fn event(&mut self, now: Instant, event: PeerEvent, publisher: bool) {
        match event {
            PeerEvent::KeyframeWanted(key) => {
                let all = self.published.iter_mut().flat_map(|published| &mut published.encodings);
                all.filter(|encoding| encoding.sender == key).for_each(Encoding::request_key);
            }
            PeerEvent::Nack(key, seqs) => {
                let Side { peer, out } = &mut self.publisher;
                for published in &mut self.published {
                    for encoding in published.encodings.iter_mut().filter(|encoding| encoding.sender == key) {
                        encoding.resend(now, &seqs, peer, out);
                    }
                }
            }
            PeerEvent::StreamBroken(stream) => {
                let side = self.subscriber.as_mut().unwrap_or(&mut self.publisher);
                side.peer.request_keyframe(stream);
            }
            PeerEvent::ChannelOpened(channel, config) if publisher && config.label == "_reliable" => {
                self.data.opened(channel);
            }
            PeerEvent::ChannelMessage(_, message) => self.message(&message),
            PeerEvent::Connected => self.connected_once |= publisher == self.single,
            PeerEvent::DtlsFailed => self.violations.push("DTLS failed".into()),
            _ => {}
        }
    }
}

impl Received {
    /// Share of the numbers between first and highest that arrived, 0.0..=1.0.
    pub fn completeness(&self) -> f64 {
        self.packets as f64 / (self.highest_seq.0 - self.first_seq.0 + 1) as f64
    }

    /// Whether something came within the last `time`.
    pub fn is_live(&self, now: Instant, time: std::time::Duration) -> bool {
        now.duration_since(self.last) <= time
    }
}
