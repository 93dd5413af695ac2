//! One subscription's way through a track: which packets it gets, and the numbers they carry.
//!
//! A subscriber sees a single stream whose sequence numbers have no gaps of our making and whose timestamps
//! never go back, whatever layers and temporal layers it is switched through. A gap that the publisher's path
//! made stays a gap until retransmission fills it, so that the number of a late packet is always free.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::codec::dd::DependencyDescriptor;
use rtc::codec::vp8::{Vp8Descriptor, Vp8Ids};
use rtc::{Codec, ExtSeq, MediaKind, OutPacket};

use super::ring::{Packet, Slot};
use super::{Layer, TrackMedia};
use crate::snapshot::{ForwarderSnapshot, SourceSnapshot};

/// Sent packets that can be asked for again. At 300 packets/s more than three seconds.
const HISTORY: usize = 1024;
const AUDIO_HISTORY: usize = 256;

/// How often one packet is sent again at most, …
const MAX_RESENDS: u8 = 3;
/// … and how soon again at the earliest.
const RESEND_INTERVAL: Duration = Duration::from_millis(100);

/// Changes of numbering that late packets can be from.
const MAX_EPOCHS: usize = 64;

/// A timestamp that jumps further ahead than this on a switch is not believed.
const MAX_JUMP_S: u64 = 10;

/// Largest rewritten dependency descriptor.
const MAX_DD: usize = 255;

/// Numbers that the node before us may still have used after it was asked where it stood, when it could not say in the
/// end and they cannot be told from the source: five seconds of video, or of audio.
const SUCCESSION_VIDEO: u16 = 2_048;
const SUCCESSION_AUDIO: u16 = 512;

/// As far beyond the time that has passed may its timestamps have come then: what a publisher's path held back when it
/// was asked.
const SUCCESSION_TIME: Duration = Duration::from_secs(1);

/// A first packet so little behind the last that the node before us has forwarded is a late one of that.
const LATE: u16 = 64;

/// A stream does not begin this close before its first rollover, where a receiver that misses packets would
/// count wrong.
const ROLLOVER_MARGIN: u16 = 512;

/// What is subtracted from a source packet's numbers, from a sequence number on.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    from: u64,
    seq: u64,
    timestamp: u32,
    picture_id: u16,
    tl0: u8,
    key_idx: u8,
}

/// A packet that was sent.
#[derive(Clone, Copy)]
struct Sent {
    out: u64,
    source: u64,
    layer: u8,
    resends: u8,
    marker: bool,
    last: Option<Instant>,
    epoch: Epoch,
}

/// Where the node before us stood.
#[derive(Clone, Copy)]
struct Inherited {
    /// How it mapped the numbers of its source …
    source: Option<SourceSnapshot>,
    /// … and which number it had reached.
    reached: u16,
    /// It has stopped there; otherwise it may have gone on for a while.
    last: bool,
}

/// How a first packet here relates to what the node before us has forwarded.
enum Succession {
    /// It follows in the same stream, with this timestamp.
    Follows(u32),
    /// It was forwarded already, or is too late.
    Late,
    Unrelated,
}

/// Which layers the subscriber is to get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) spatial: u8,
    pub(crate) temporal: u8,
}

/// See the module.
pub(crate) struct Forwarder {
    codec: Codec,
    /// `None`: paused.
    target: Option<Target>,
    /// Another node goes on with our numbers as they are mapped now: nothing new begins here.
    held: bool,
    /// A layer has just begun.
    began: bool,
    /// The simulcast encoding that is being forwarded.
    layer: Option<u8>,
    /// The layer's numbering that is connected to ours.
    numbering: u32,
    /// Highest spatial layer within an SVC stream, and highest temporal layer, that are being forwarded.
    spatial: u8,
    temporal: u8,
    /// Frame that is being dropped, by timestamp and spatial layer.
    dropping: Option<(u32, u8)>,
    dropped_picture: Option<u16>,
    epochs: VecDeque<Epoch>,
    highest_source: u64,
    highest_out: u64,
    last_timestamp: u32,
    last_sent: Option<Instant>,
    last_ids: Vp8Ids,
    started: bool,
    /// The next packet with a dependency descriptor tells which decode targets are left.
    announce_targets: bool,
    history: Vec<Option<Sent>>,
    /// What the node before us has left, until a packet is forwarded here.
    inherited: Option<Inherited>,
    /// Scratch for the rewritten heads of one packet.
    head: [u8; Vp8Descriptor::MAX_LEN],
    dd: [u8; MAX_DD],
}

impl Forwarder {
    /// `first_seq` < 2¹⁵ and `first_timestamp` are where the subscription's numbers begin.
    pub(crate) fn new(codec: Codec, first_seq: u16, first_timestamp: u32) -> Forwarder {
        let history = if codec.kind() == MediaKind::Video { HISTORY } else { AUDIO_HISTORY };
        Forwarder {
            codec,
            target: None,
            held: false,
            began: false,
            layer: None,
            numbering: 0,
            spatial: 0,
            temporal: super::MAX_TEMPORAL,
            dropping: None,
            dropped_picture: None,
            epochs: VecDeque::new(),
            highest_source: 0,
            highest_out: u64::from(first_seq),
            last_timestamp: first_timestamp,
            last_sent: None,
            last_ids: Vp8Ids { picture_id: first_seq, tl0_pic_idx: first_seq as u8, key_idx: 0 },
            started: false,
            announce_targets: false,
            history: vec![None; history],
            inherited: None,
            head: [0; Vp8Descriptor::MAX_LEN],
            dd: [0; MAX_DD],
        }
    }

    /// Where the numbers stand, for the node that goes on.
    pub(crate) fn export(&self, now: Instant) -> ForwarderSnapshot {
        let source = self.layer.zip(self.epochs.back()).map(|(layer, epoch)| SourceSnapshot {
            layer,
            seq_offset: epoch.seq as u16,
            timestamp_offset: epoch.timestamp,
        });
        ForwarderSnapshot {
            seq: self.highest_out as u16,
            timestamp: self.last_timestamp,
            idle_ms: self.last_sent.map(|at| now.duration_since(at).as_millis() as u64),
            picture_id: self.last_ids.picture_id,
            tl0_pic_idx: self.last_ids.tl0_pic_idx,
            key_idx: self.last_ids.key_idx,
            source: source.or(self.inherited.and_then(|inherited| inherited.source)),
        }
    }

    /// Goes on where another node stopped, with the next key frame. That node may forward for a while yet.
    pub(crate) fn import(codec: Codec, snapshot: &ForwarderSnapshot, now: Instant) -> Forwarder {
        let mut forwarder = Forwarder::new(codec, snapshot.seq, snapshot.timestamp);
        forwarder.inherit(snapshot, now, false);
        let headroom = if codec.kind() == MediaKind::Video { SUCCESSION_VIDEO } else { SUCCESSION_AUDIO };
        if forwarder.started {
            forwarder.highest_out = u64::from(before_rollover(snapshot.seq.wrapping_add(headroom)));
        }
        forwarder
    }

    /// The node before us has stopped, and says where. Too late once we have begun.
    pub(crate) fn take_over(&mut self, snapshot: &ForwarderSnapshot, now: Instant) {
        if self.inherited.is_some_and(|inherited| !inherited.last) {
            self.inherit(snapshot, now, true);
        }
    }

    fn inherit(&mut self, snapshot: &ForwarderSnapshot, now: Instant, last: bool) {
        self.highest_out = u64::from(before_rollover(snapshot.seq));
        self.last_timestamp = snapshot.timestamp;
        self.last_ids = Vp8Ids {
            picture_id: snapshot.picture_id,
            tl0_pic_idx: snapshot.tl0_pic_idx,
            key_idx: snapshot.key_idx,
        };
        self.inherited = Some(Inherited { source: snapshot.source, reached: snapshot.seq, last });
        if let Some(idle_ms) = snapshot.idle_ms {
            self.started = true;
            self.last_sent = now.checked_sub(Duration::from_millis(idle_ms)).or(Some(now));
        }
    }

    /// Whether the last packet was the first of a layer: what came before it, of the same frame, is to be forwarded
    /// now.
    pub(crate) fn take_began(&mut self) -> bool {
        std::mem::take(&mut self.began)
    }

    /// Another node takes the subscription over, or not after all.
    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    pub(crate) fn set_target(&mut self, target: Option<Target>) {
        if target.is_none() {
            // What follows a pause begins with a key frame.
            self.layer = None;
        }
        self.target = target;
    }

    /// The spatial layer that is being forwarded, of whichever kind.
    pub(crate) fn current_spatial(&self, svc: bool) -> Option<u8> {
        if svc { self.layer.map(|_| self.spatial) } else { self.layer }
    }

    /// The encoding whose key frame would bring the subscription forward.
    pub(crate) fn wants_keyframe(&self, now: Instant, media: &TrackMedia) -> Option<usize> {
        let target = self.target?;
        if self.codec.kind() == MediaKind::Audio {
            return None;
        }
        let wanted = if media.svc { 0 } else { usize::from(target.spatial) };
        let best = media.best_layer(now, wanted)?;
        match self.layer {
            Some(layer) if usize::from(layer) == best => {
                (media.svc && self.spatial < target.spatial && self.spatial < media_spatial(media))
                    .then_some(0)
            }
            _ => Some(best),
        }
    }

    /// The packet in the ring as this subscription is to get it; `None` when it is not to.
    pub(crate) fn forward<'a>(
        &'a mut self,
        now: Instant,
        media: &'a TrackMedia,
        layer: u8,
        seq: ExtSeq,
    ) -> Option<OutPacket<'a>> {
        let target = self.target?;
        let source = &media.layers[usize::from(layer)];
        if self.layer == Some(layer) && self.numbering != source.numbering {
            // What went before has no connection to what comes now, and can no longer be repeated.
            self.layer = None;
            self.history.fill(None);
        }
        match source.ring.get(seq)? {
            Slot::Padding => {
                if self.layer == Some(layer) && seq.0 > self.highest_source {
                    self.skip(seq.0);
                }
                None
            }
            Slot::Packet(packet) => {
                if self.layer != Some(layer) && !self.switch(now, media, target, layer, seq, &packet) {
                    return None;
                }
                let epoch = self.admit(target, media.svc, seq, &packet)?;
                Some(self.emit(now, media, layer, seq, packet, epoch))
            }
        }
    }

    /// Whether the subscription changes over to `layer` with this packet; if so its numbers are connected.
    fn switch(
        &mut self,
        now: Instant,
        media: &TrackMedia,
        target: Target,
        layer: u8,
        seq: ExtSeq,
        packet: &Packet<'_>,
    ) -> bool {
        if self.held {
            return false;
        }
        let info = &packet.stored.info;
        let video = self.codec.kind() == MediaKind::Video;
        // Nor does a stream begin with a frame that others have overtaken: they would be missing.
        let late = media.layers[usize::from(layer)].has_passed(packet.stored.timestamp);
        if video && (!(info.keyframe && info.frame_start) || late) {
            return false;
        }
        let wanted = if media.svc { 0 } else { usize::from(target.spatial) };
        // Whatever comes first is shown; from then on only the layer that is wanted and there.
        if self.layer.is_some() && media.best_layer(now, wanted) != Some(usize::from(layer)) {
            return false;
        }
        let timestamp = match self.inherited {
            None => self.timestamp_after_switch(now, media, layer, packet.stored.timestamp),
            Some(inherited) => match self.succeed(inherited, layer, seq, packet.stored.timestamp) {
                Succession::Late => return false,
                Succession::Follows(timestamp) => timestamp,
                Succession::Unrelated => {
                    let margin =
                        if inherited.last || !self.started { Duration::ZERO } else { SUCCESSION_TIME };
                    let estimate = self.timestamp_after_switch(now, media, layer, packet.stored.timestamp);
                    estimate.wrapping_add(self.ticks(margin))
                }
            },
        };
        self.inherited = None;
        let ids = packet.stored.vp8.map(|vp8| vp8.ids());
        let next = |last: u16| last.wrapping_add(1);
        self.epochs.clear();
        self.epochs.push_back(Epoch {
            from: seq.0,
            seq: seq.0.wrapping_sub(self.highest_out + 1),
            timestamp: packet.stored.timestamp.wrapping_sub(timestamp),
            picture_id: ids.map_or(0, |ids| ids.picture_id.wrapping_sub(next(self.last_ids.picture_id))),
            tl0: ids.map_or(0, |ids| ids.tl0_pic_idx.wrapping_sub(self.last_ids.tl0_pic_idx.wrapping_add(1))),
            key_idx: ids.map_or(0, |ids| ids.key_idx.wrapping_sub(self.last_ids.key_idx.wrapping_add(1))),
        });
        self.began = true;
        self.layer = Some(layer);
        self.numbering = media.layers[usize::from(layer)].numbering;
        self.highest_source = seq.0 - 1;
        self.dropping = None;
        self.dropped_picture = None;
        self.temporal = target.temporal;
        self.spatial = target.spatial;
        self.announce_targets = true;
        true
    }

    /// The source is the one that the node before us forwarded: its numbers are mapped as they were, so that
    /// the subscriber sees no more of a gap than there was.
    fn succeed(&mut self, inherited: Inherited, layer: u8, seq: ExtSeq, timestamp: u32) -> Succession {
        let Some(source) = inherited.source.filter(|source| source.layer == layer && self.started) else {
            return Succession::Unrelated;
        };
        let out = seq.wire().wrapping_sub(source.seq_offset);
        let timestamp = timestamp.wrapping_sub(source.timestamp_offset);
        let ahead = out.wrapping_sub(inherited.reached);
        let later = (timestamp.wrapping_sub(self.last_timestamp) as i32) > 0;
        if (1..=2 * SUCCESSION_VIDEO).contains(&ahead) && later {
            self.highest_out = u64::from(before_rollover(out.wrapping_sub(1)));
            return Succession::Follows(timestamp);
        }
        let behind = inherited.reached.wrapping_sub(out);
        if behind < LATE && !later { Succession::Late } else { Succession::Unrelated }
    }

    /// A time in ticks of the stream's clock.
    fn ticks(&self, time: Duration) -> u32 {
        (time.as_nanos() * u128::from(self.codec.clock_rate_hz()) / 1_000_000_000) as u32
    }

    /// The first timestamp on a new source. Both sources' sender reports tell how their clocks relate; failing
    /// that, as much time has passed for the subscriber as for us.
    fn timestamp_after_switch(&self, now: Instant, media: &TrackMedia, to: u8, source: u32) -> u32 {
        if !self.started {
            return self.last_timestamp;
        }
        let rate_hz = u64::from(self.codec.clock_rate_hz());
        let elapsed = self.last_sent.map_or(Duration::ZERO, |at| now.duration_since(at));
        let expected = self.last_timestamp.wrapping_add(self.ticks(elapsed).max(1));
        let clock_of = |layer: &Layer| layer.clock;
        let from = self.layer.and_then(|from| clock_of(&media.layers[usize::from(from)]));
        let (Some((from_ntp, from_rtp)), Some((to_ntp, to_rtp)), Some(epoch)) =
            (from, clock_of(&media.layers[usize::from(to)]), self.epochs.back())
        else {
            return expected;
        };
        // Where the new source's packet lies on the old source's time line.
        let ntp_delta = to_ntp.wrapping_sub(from_ntp) as i64;
        let ticks = ((i128::from(ntp_delta) * i128::from(rate_hz)) >> 32) as i64;
        let on_old = from_rtp.wrapping_add(source.wrapping_sub(to_rtp)).wrapping_add(ticks as u32);
        let reference = on_old.wrapping_sub(epoch.timestamp);
        let ahead = reference.wrapping_sub(self.last_timestamp) as i32;
        if ahead <= 0 {
            self.last_timestamp.wrapping_add(1)
        } else if u64::from(ahead as u32) > MAX_JUMP_S * rate_hz {
            expected
        } else {
            reference
        }
    }

    /// Decides on a packet of the current source; accounts for it when it is dropped.
    fn admit(&mut self, target: Target, svc: bool, seq: ExtSeq, packet: &Packet<'_>) -> Option<Epoch> {
        if seq.0 <= self.highest_source {
            // Late: its number was left free, if it was not dropped before its time.
            return self.epoch_of(seq.0);
        }
        let stored = packet.stored;
        let info = &stored.info;
        if self.codec.kind() == MediaKind::Video {
            let new_picture = info.frame_start && (info.spatial == 0 || !svc);
            if new_picture {
                self.at_picture(target, svc, packet);
            }
            let frame = (stored.timestamp, info.spatial);
            let too_high = info.temporal > self.temporal || (svc && info.spatial > self.spatial);
            let gap = seq.0 > self.highest_source + 1;
            if too_high && !gap || self.dropping == Some(frame) {
                self.dropping = Some(frame);
                self.drop_picture(stored.vp8);
                self.skip(seq.0);
                return None;
            }
        }
        self.highest_source = seq.0;
        self.epochs.back().copied()
    }

    /// A picture begins: the time to change what is forwarded of the stream.
    fn at_picture(&mut self, target: Target, svc: bool, packet: &Packet<'_>) {
        let info = &packet.stored.info;
        if target.temporal < self.temporal {
            self.temporal = target.temporal;
        } else if info.temporal > self.temporal && info.temporal <= target.temporal && info.switching_up {
            self.temporal = info.temporal;
        } else if info.keyframe {
            self.temporal = target.temporal;
        }
        if svc && (target.spatial < self.spatial || (info.keyframe && target.spatial != self.spatial)) {
            self.spatial = target.spatial;
            self.announce_targets = true;
        }
    }

    /// A whole picture is left out: the ids of those after it close up.
    fn drop_picture(&mut self, vp8: Option<Vp8Descriptor>) {
        let Some(picture) = vp8.and_then(|vp8| vp8.picture_id).map(|id| id.value) else { return };
        if self.dropped_picture != Some(picture)
            && let Some(epoch) = self.epochs.back_mut()
        {
            self.dropped_picture = Some(picture);
            epoch.picture_id = epoch.picture_id.wrapping_add(1);
        }
    }

    /// A source number that the subscriber does not get.
    fn skip(&mut self, seq: u64) {
        self.highest_source = seq;
        let Some(mut epoch) = self.epochs.back().copied() else { return };
        epoch.seq = epoch.seq.wrapping_add(1);
        epoch.from = seq + 1;
        if self.epochs.len() == MAX_EPOCHS {
            self.epochs.pop_front();
        }
        self.epochs.push_back(epoch);
    }

    /// The numbering that was in force for a late packet.
    fn epoch_of(&self, seq: u64) -> Option<Epoch> {
        self.epochs.iter().rev().find(|epoch| epoch.from <= seq).copied()
    }

    fn emit<'a>(
        &'a mut self,
        now: Instant,
        media: &'a TrackMedia,
        layer: u8,
        seq: ExtSeq,
        packet: Packet<'a>,
        epoch: Epoch,
    ) -> OutPacket<'a> {
        let out = seq.0.wrapping_sub(epoch.seq);
        let stored = packet.stored;
        let last_of_picture = media.svc && stored.info.frame_end && stored.info.spatial == self.spatial;
        let marker = stored.marker || last_of_picture;
        let sent = Sent { out, source: seq.0, layer, resends: 0, marker, last: None, epoch };
        let index = out as usize & (self.history.len() - 1);
        self.history[index] = Some(sent);
        if out > self.highest_out || !self.started {
            self.highest_out = out;
            self.last_timestamp = stored.timestamp.wrapping_sub(epoch.timestamp);
            self.last_sent = Some(now);
            self.started = true;
            if let Some(vp8) = stored.vp8 {
                self.last_ids = munged(vp8.ids(), &epoch);
            }
        }
        self.write(media, sent, packet)
    }

    /// The packet with its numbers. Used for the first time and for each repetition alike.
    fn write<'a>(&'a mut self, media: &'a TrackMedia, sent: Sent, packet: Packet<'a>) -> OutPacket<'a> {
        let stored = packet.stored;
        let (mut head_len, mut body) = (0, packet.payload);
        if let Some(vp8) = stored.vp8 {
            head_len = vp8.write(munged(vp8.ids(), &sent.epoch), &mut self.head);
            body = &packet.payload[usize::from(vp8.header_len)..];
        }
        let mut descriptor = (!packet.dd.is_empty()).then_some(packet.dd);
        if let Some(dd) = descriptor
            && media.svc
            && (self.announce_targets || stored.info.keyframe)
            && let Some(len) = self.write_targets(&media.layers[usize::from(sent.layer)], dd)
        {
            self.announce_targets = false;
            descriptor = Some(&self.dd[..len]);
        }
        OutPacket {
            seq: ExtSeq(sent.out),
            timestamp: stored.timestamp.wrapping_sub(sent.epoch.timestamp),
            marker: sent.marker,
            red: stored.red,
            head: &self.head[..head_len],
            body,
            dependency_descriptor: descriptor,
            abs_capture_time: stored.abs_capture_time,
            playout_delay: stored.playout_delay,
        }
    }

    /// Rewrites a dependency descriptor to name only the decode targets that are forwarded.
    fn write_targets(&mut self, layer: &Layer, dd: &[u8]) -> Option<usize> {
        let structure = layer.structure()?;
        let parsed = DependencyDescriptor::parse(dd, Some(structure)).ok()?;
        let mut active = 0;
        for target in 0..structure.target_count() {
            let id = structure.target_layer(target)?;
            if id.spatial <= self.spatial && id.temporal <= self.temporal {
                active |= 1 << target;
            }
        }
        let active = active & parsed.active_targets.unwrap_or_else(|| structure.all_targets());
        if active == structure.all_targets() {
            return None;
        }
        parsed.write_active_targets(dd, structure, active, &mut self.dd)
    }

    /// A packet that the subscriber lacks, as it was sent; `None` when it is gone, was never sent, or was
    /// repeated enough.
    pub(crate) fn resend<'a>(
        &'a mut self,
        now: Instant,
        media: &'a TrackMedia,
        seq: u16,
        rtt: Duration,
    ) -> Option<OutPacket<'a>> {
        let out = ExtSeq(self.highest_out).nearest(seq).0;
        let index = out as usize & (self.history.len() - 1);
        let sent = self.history[index].as_mut().filter(|sent| sent.out == out)?;
        let interval = RESEND_INTERVAL.min(rtt * 2);
        if sent.resends >= MAX_RESENDS || sent.last.is_some_and(|last| now.duration_since(last) < interval) {
            return None;
        }
        sent.resends += 1;
        sent.last = Some(now);
        let sent = *sent;
        match media.layers.get(usize::from(sent.layer))?.ring.get(ExtSeq(sent.source))? {
            Slot::Packet(packet) => Some(self.write(media, sent, packet)),
            Slot::Padding => None,
        }
    }

    /// The publisher's clock on the subscription's time line.
    pub(crate) fn translate_clock(&self, layer: u8, rtp_time: u32) -> Option<u32> {
        (self.started && self.layer == Some(layer))
            .then(|| self.epochs.back().map(|epoch| rtp_time.wrapping_sub(epoch.timestamp)))
            .flatten()
    }
}

/// `seq`, or the first number after the rollover that is near.
fn before_rollover(seq: u16) -> u16 {
    if seq > u16::MAX - ROLLOVER_MARGIN { 0 } else { seq }
}

fn munged(ids: Vp8Ids, epoch: &Epoch) -> Vp8Ids {
    Vp8Ids {
        picture_id: ids.picture_id.wrapping_sub(epoch.picture_id),
        tl0_pic_idx: ids.tl0_pic_idx.wrapping_sub(epoch.tl0),
        key_idx: ids.key_idx.wrapping_sub(epoch.key_idx),
    }
}

/// Highest spatial layer that an SVC stream has been seen to have.
fn media_spatial(media: &TrackMedia) -> u8 {
    let structure = media.layers.first().and_then(Layer::structure);
    structure
        .map_or(crate::publication::MAX_SPATIAL_LAYERS as u8 - 1, |structure| structure.max_layer().spatial)
}
