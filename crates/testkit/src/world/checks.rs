//! What must always hold in a world, and what must hold when it has come to rest.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use rtc::MediaKind;
use sfu::RoomEvent;

use super::{GIVEN_UP_AFTER, Member, World};

impl World {
    /// Members that are in the room and mean to stay.
    pub fn present(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.client.left && !member.closed)
    }

    /// Whether the server may have lost patience with a client.
    pub(super) fn may_be_given_up(&self, index: usize) -> bool {
        let member = &self.members[index];
        let cut = |since: Instant| self.now.duration_since(since) >= GIVEN_UP_AFTER;
        member.given_up || member.cut_since.is_some_and(cut)
    }

    /// Nobody may be said to have left who has not.
    pub(super) fn check_event(&mut self, node: usize, event: &RoomEvent) {
        if node != self.current {
            self.violations.push(format!("a room that is not in charge said {event:?}"));
        }
        let (RoomEvent::ParticipantLeft(info) | RoomEvent::ParticipantConnectionAborted(info)) = event else {
            return;
        };
        let index = self.members.iter().position(|member| member.client.identity == info.identity);
        let Some(index) = index else { return };
        if !self.members[index].client.left && !self.may_be_given_up(index) {
            let reason = info.disconnect_reason();
            self.violations.push(format!("{} is said to have left: {reason:?}", info.identity));
        }
        self.members[index].given_up = true;
    }

    /// Everything that must never happen, of room and clients.
    pub fn all_violations(&self) -> Vec<String> {
        let of_clients = self.members.iter().flat_map(|member| {
            member
                .client
                .violations
                .iter()
                .map(|violation| format!("{}: {violation}", member.client.identity))
        });
        self.violations.iter().cloned().chain(of_clients).collect()
    }

    /// Pairs of publisher and subscriber between whom media should flow and did not within `time`.
    pub fn silent_pairs(&self, kind: MediaKind, time: Duration) -> Vec<(u32, u32)> {
        let mut silent = Vec::new();
        for publisher in self.present().filter(|member| member.client.publishes(kind)) {
            for subscriber in self.present().filter(|member| member.client.number != publisher.client.number)
            {
                let number = publisher.client.number;
                if subscriber.client.forbidden.contains(&number) {
                    continue;
                }
                let live = subscriber.client.received.values().any(|received| {
                    received.publisher == number && received.kind == kind && received.is_live(self.now, time)
                });
                if !live {
                    silent.push((number, subscriber.client.number));
                }
            }
        }
        silent
    }

    /// Reliable data that has not arrived, when the world has come to rest: who lacks what of whom.
    pub fn missing_data(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for from in self.present() {
            let sent = from.client.data.next();
            for to in self.present().filter(|to| to.client.number != from.client.number) {
                let owed_from = to.owed.get(&from.client.number).copied().unwrap_or(1);
                let received = to.client.data.last_of(from.client.number);
                if owed_from < sent && received + 1 != sent {
                    missing.push(format!(
                        "{} has {received} of {}'s {} messages, owed since {owed_from}; {:?}",
                        to.client.identity,
                        from.client.identity,
                        sent - 1,
                        from.client.data,
                    ));
                }
            }
        }
        missing
    }

    /// Where a client's picture of the room is not how the room is, when the world has come to rest.
    pub fn wrong_views(&mut self) -> Vec<String> {
        let truth: BTreeMap<String, proto::ParticipantInfo> =
            self.room().participants().into_iter().map(|info| (info.identity.clone(), info)).collect();
        let mut wrong = Vec::new();
        for member in self.present() {
            let own = &member.client.identity;
            let others = truth.iter().filter(|(identity, _)| *identity != own);
            let expected: Vec<_> = others.map(|(_, info)| picture(info)).collect();
            let others = member.client.participants.iter().filter(|(identity, _)| *identity != own);
            let seen: Vec<_> = others.map(|(_, info)| picture(info)).collect();
            if seen != expected {
                wrong.push(format!("{own} sees {seen:?} instead of {expected:?}"));
            }
        }
        wrong
    }

    /// Members whose sids are not those that they had, or whom the room does not know any more.
    pub fn lost_identities(&mut self) -> Vec<String> {
        let room = self.room().participants();
        let mut lost = Vec::new();
        for member in self.present() {
            let identity = &member.client.identity;
            let Some(info) = room.iter().find(|info| info.identity == *identity) else {
                lost.push(format!("{identity} is not in the room"));
                continue;
            };
            if member.client.sid.as_deref().is_some_and(|sid| sid != info.sid) {
                lost.push(format!("{identity} has another sid"));
            }
            for sid in member.client.track_sids() {
                if !info.tracks.iter().any(|track| track.sid == sid) {
                    lost.push(format!("{identity}'s track {sid} is gone"));
                }
            }
        }
        lost
    }

    /// Transports that the rooms have opened and not closed.
    pub fn transports_left(&self) -> usize {
        self.nodes.iter().map(|node| node.open_transports.len()).sum()
    }
}

/// What a client sees of somebody.
fn picture(info: &proto::ParticipantInfo) -> (String, Vec<(String, bool)>) {
    let mut tracks: Vec<_> = info.tracks.iter().map(|track| (track.sid.clone(), track.muted)).collect();
    tracks.sort();
    (info.sid.clone(), tracks)
}
