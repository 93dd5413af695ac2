//! What clients and the server API say to a room that is on its way to another node.

use std::time::Instant;

use bytes::Bytes;
use livekit_protocol as proto;
use prost::Message as _;
use proto::DisconnectReason;
use proto::data_packet::Kind;
use proto::signal_request::Message as Ask;

use super::{MAX_SAID, Moving, Room};
use crate::api::*;
use crate::participant::ParticipantKey;
use crate::publication::TrackKey;
use crate::snapshot::{AdminTail, Tail};

impl Room {
    pub(in crate::room) fn pass_data(&mut self, from: ParticipantKey, packet: &Bytes) {
        self.pass(Tail::Data { from: from.0, packet: packet.to_vec() });
    }

    /// A reliable message of a channel of the application's own.
    pub(in crate::room) fn pass_raw(&mut self, from: ParticipantKey, message: &Bytes) {
        self.pass(Tail::Raw { from: from.0, message: message.to_vec() });
    }

    pub(in crate::room) fn pass_signal(&mut self, from: ParticipantKey, request: &proto::SignalRequest) {
        self.pass(Tail::Signal { from: from.0, request: request.encode_to_vec() });
    }

    /// A request of the server API, which has been found valid.
    pub(in crate::room) fn pass_admin(&mut self, request: AdminTail) {
        self.pass(Tail::Admin(request));
    }

    fn pass(&mut self, tail: Tail) {
        if let Some(Moving::Exported { said, .. }) = &mut self.moving
            && said.len() < MAX_SAID
        {
            said.push(tail.clone());
        }
        // What is about the connection as it is now means nothing to the successor.
        if !is_of_connection(&tail) {
            self.event(RoomEvent::Tail(tail));
        }
    }

    /// What was said to the room's former node after the export.
    pub fn tail(&mut self, now: Instant, tail: Tail) {
        if !is_of_connection(&tail) {
            self.carry_out(now, tail);
        }
    }

    pub(super) fn carry_out(&mut self, now: Instant, tail: Tail) {
        match tail {
            Tail::Data { from, packet } => {
                self.data_packet(now, ParticipantKey(from), &packet.into(), Kind::Reliable);
            }
            Tail::Raw { from, message } => {
                self.raw_message(now, ParticipantKey(from), &message.into(), Kind::Reliable)
            }
            Tail::Signal { from, request } => {
                let key = ParticipantKey(from);
                if let Ok(request) = proto::SignalRequest::decode(request.as_slice())
                    && self.participants.contains_key(&key)
                {
                    self.request(now, key, request);
                }
            }
            Tail::Stopped { receiver, streams } => {
                for (track, stopped) in streams {
                    let track = self.tracks.get_mut(&TrackKey(track));
                    let subscription = track.and_then(|track| {
                        track.subscriptions.iter_mut().find(|sub| sub.subscriber == ParticipantKey(receiver))
                    });
                    if let Some(subscription) = subscription {
                        subscription.forwarder.take_over(&stopped, now);
                    }
                }
            }
            Tail::Admin(request) => {
                if let Err(error) = self.carry_out_admin(now, request) {
                    tracing::info!(%error, "a request that came while the room moved had no effect");
                }
            }
        }
    }

    fn carry_out_admin(&mut self, now: Instant, request: AdminTail) -> Result<(), AdminError> {
        let unreadable = |error: prost::DecodeError| AdminError::InvalidArgument(error.to_string());
        match request {
            AdminTail::Remove { identity } => self.remove_participant(now, &identity),
            AdminTail::Mute { identity, sid, muted } => {
                self.mute_track(now, &identity, &sid, muted).map(drop)
            }
            AdminTail::Update { request } => {
                let request = proto::UpdateParticipantRequest::decode(&*request).map_err(unreadable)?;
                self.update_participant(now, request).map(drop)
            }
            AdminTail::Subscriptions { request } => {
                let request = proto::UpdateSubscriptionsRequest::decode(&*request).map_err(unreadable)?;
                self.update_subscriptions(now, request)
            }
            AdminTail::Metadata { metadata } => self.update_metadata(now, metadata).map(drop),
            AdminTail::Send { request } => {
                let request = proto::SendDataRequest::decode(&*request).map_err(unreadable)?;
                self.send_data(now, request)
            }
            AdminTail::Close { reason } => {
                self.close(now, DisconnectReason::try_from(reason).unwrap_or_default());
                Ok(())
            }
        }
    }
}

/// A connection is negotiated anew with the successor; what was said about the old one is void there.
fn is_of_connection(tail: &Tail) -> bool {
    let Tail::Signal { request, .. } = tail else { return false };
    let request = proto::SignalRequest::decode(request.as_slice()).unwrap_or_default();
    matches!(
        request.message,
        None | Some(
            Ask::Offer(_)
                | Ask::Answer(_)
                | Ask::Trickle(_)
                | Ask::SyncState(_)
                | Ask::Simulate(_)
                | Ask::Ping(_)
                | Ask::PingReq(_)
        )
    )
}
