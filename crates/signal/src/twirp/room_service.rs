//! The methods of `livekit.RoomService` (livekit.md §3.2): grant, limits, then the room's own shard.

use axum::body::Body;
use axum::http::Response;
use livekit_protocol as proto;
use sfu::{AdminError, Room};

use super::Call;
use super::error::{Code, TwirpError};
use crate::Limits;

/// Every method of the service, served or not.
pub(super) const METHODS: [&str; 14] = [
    "CreateRoom",
    "ListRooms",
    "DeleteRoom",
    "ListParticipants",
    "GetParticipant",
    "RemoveParticipant",
    "MutePublishedTrack",
    "UpdateParticipant",
    "UpdateSubscriptions",
    "SendData",
    "UpdateRoomMetadata",
    "ForwardParticipant",
    "MoveParticipant",
    "PerformRpc",
];

/// Length of a nonce that guards `SendData` against delivering twice: a UUID.
const NONCE_BYTES: usize = 16;

/// Runs one of [`METHODS`].
pub(super) async fn dispatch(method: &str, call: &Call<'_>) -> Response<Body> {
    match method {
        "CreateRoom" => call.answer(create_room).await,
        "ListRooms" => call.answer(list_rooms).await,
        "DeleteRoom" => call.answer(delete_room).await,
        "ListParticipants" => call.answer(list_participants).await,
        "GetParticipant" => call.answer(get_participant).await,
        "RemoveParticipant" => call.answer(remove_participant).await,
        "MutePublishedTrack" => call.answer(mute_published_track).await,
        "UpdateParticipant" => call.answer(update_participant).await,
        "UpdateSubscriptions" => call.answer(update_subscriptions).await,
        "SendData" => call.answer(send_data).await,
        "UpdateRoomMetadata" => call.answer(update_room_metadata).await,
        "ForwardParticipant" => call.answer(forward_participant).await,
        "MoveParticipant" => call.answer(move_participant).await,
        _ => call.answer(perform_rpc).await,
    }
}

async fn create_room(call: &Call<'_>, request: proto::CreateRoomRequest) -> Result<proto::Room, TwirpError> {
    call.ensure(call.claims.is_some_and(|claims| claims.may_create_rooms()))?;
    let limits = &call.server.config.limits;
    limits.check_room_name(&request.name).map_err(|text| TwirpError::relayed(Code::InvalidArgument, text))?;
    check_metadata(limits, &request.metadata)?;
    if !request.room_preset.is_empty() {
        let text = "unknown room configuration in create room request";
        return Err(TwirpError::relayed(Code::InvalidArgument, text));
    }
    let options = call.server.config.room_options(Some(&crate::config::room_configuration(&request)));
    let room = call.server.shards.create_room(&request.name.as_str().into(), options).await;
    room.map_err(|error| TwirpError::new(Code::Unavailable, error.to_string()))
}

async fn list_rooms(
    call: &Call<'_>,
    request: proto::ListRoomsRequest,
) -> Result<proto::ListRoomsResponse, TwirpError> {
    call.ensure(call.claims.is_some_and(|claims| claims.may_list_rooms()))?;
    let mut rooms = call.server.shards.rooms().await;
    if !request.names.is_empty() {
        rooms.retain(|room| request.names.contains(&room.name));
    }
    Ok(proto::ListRoomsResponse { rooms })
}

async fn delete_room(
    call: &Call<'_>,
    request: proto::DeleteRoomRequest,
) -> Result<proto::DeleteRoomResponse, TwirpError> {
    call.ensure(call.claims.is_some_and(|claims| claims.may_create_rooms()))?;
    let closed = call.in_room(&request.room, |room, now| {
        room.close(now, proto::DisconnectReason::RoomDeleted);
    });
    closed.await.ok_or_else(TwirpError::room_not_found)?;
    Ok(proto::DeleteRoomResponse {})
}

async fn list_participants(
    call: &Call<'_>,
    request: proto::ListParticipantsRequest,
) -> Result<proto::ListParticipantsResponse, TwirpError> {
    call.ensure_admin(&request.room)?;
    let participants = call.in_room(&request.room, |room, _| room.participants()).await;
    Ok(proto::ListParticipantsResponse { participants: participants.unwrap_or_default() })
}

async fn get_participant(
    call: &Call<'_>,
    request: proto::RoomParticipantIdentity,
) -> Result<proto::ParticipantInfo, TwirpError> {
    call.ensure_admin(&request.room)?;
    call.of_participant(&request.room, move |room, _| room.participant(&request.identity)).await
}

async fn remove_participant(
    call: &Call<'_>,
    request: proto::RoomParticipantIdentity,
) -> Result<proto::RemoveParticipantResponse, TwirpError> {
    call.ensure_admin(&request.room)?;
    let removed =
        call.of_participant(&request.room, move |room, now| room.remove_participant(now, &request.identity));
    removed.await?;
    Ok(proto::RemoveParticipantResponse {})
}

async fn mute_published_track(
    call: &Call<'_>,
    request: proto::MuteRoomTrackRequest,
) -> Result<proto::MuteRoomTrackResponse, TwirpError> {
    call.ensure_admin(&request.room)?;
    let proto::MuteRoomTrackRequest { room, identity, track_sid, muted } = request;
    let track =
        call.of_participant(&room, move |room, now| room.mute_track(now, &identity, &track_sid, muted));
    Ok(proto::MuteRoomTrackResponse { track: Some(track.await?) })
}

async fn update_participant(
    call: &Call<'_>,
    request: proto::UpdateParticipantRequest,
) -> Result<proto::ParticipantInfo, TwirpError> {
    let limits = &call.server.config.limits;
    if request.name.len() > limits.max_participant_name_bytes {
        let limit = limits.max_participant_name_bytes;
        return Err(TwirpError::invalid_argument("name length exceeds limits", limit));
    }
    check_metadata(limits, &request.metadata)?;
    let attributes: usize = request.attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    if attributes > limits.max_attributes_bytes {
        let limit = limits.max_attributes_bytes;
        return Err(TwirpError::invalid_argument("attribute size exceeds limits", limit));
    }
    call.ensure_admin(&request.room)?;
    let room = request.room.clone();
    call.of_participant(&room, move |room, now| room.update_participant(now, request)).await
}

async fn update_subscriptions(
    call: &Call<'_>,
    request: proto::UpdateSubscriptionsRequest,
) -> Result<proto::UpdateSubscriptionsResponse, TwirpError> {
    call.ensure_admin(&request.room)?;
    let room = request.room.clone();
    call.of_participant(&room, move |room, now| room.update_subscriptions(now, request)).await?;
    Ok(proto::UpdateSubscriptionsResponse {})
}

async fn send_data(
    call: &Call<'_>,
    request: proto::SendDataRequest,
) -> Result<proto::SendDataResponse, TwirpError> {
    call.ensure_admin(&request.room)?;
    if !request.nonce.is_empty() && request.nonce.len() != NONCE_BYTES {
        let got = request.nonce.len();
        let text = format!("nonce should be {NONCE_BYTES}-bytes or not present, got: {got} bytes");
        return Err(TwirpError::new(Code::InvalidArgument, text));
    }
    let room = request.room.clone();
    let sent = call.in_room(&room, move |room, now| room.send_data(now, request)).await;
    sent.ok_or_else(TwirpError::room_not_found)??;
    Ok(proto::SendDataResponse {})
}

async fn update_room_metadata(
    call: &Call<'_>,
    request: proto::UpdateRoomMetadataRequest,
) -> Result<proto::Room, TwirpError> {
    check_metadata(&call.server.config.limits, &request.metadata)?;
    call.ensure_admin(&request.room)?;
    let proto::UpdateRoomMetadataRequest { room, metadata } = request;
    let updated = call.in_room(&room, move |room, now| room.update_metadata(now, metadata)).await;
    Ok(updated.ok_or_else(TwirpError::room_not_found)??)
}

async fn forward_participant(
    call: &Call<'_>,
    request: proto::ForwardParticipantRequest,
) -> Result<proto::DeleteRoomResponse, TwirpError> {
    call.ensure_can_move(&request.room, &request.destination_room)?;
    Err(not_implemented("ForwardParticipant"))
}

async fn move_participant(
    call: &Call<'_>,
    request: proto::MoveParticipantRequest,
) -> Result<proto::DeleteRoomResponse, TwirpError> {
    call.ensure_can_move(&request.room, &request.destination_room)?;
    Err(not_implemented("MoveParticipant"))
}

async fn perform_rpc(
    call: &Call<'_>,
    request: proto::PerformRpcRequest,
) -> Result<proto::DeleteRoomResponse, TwirpError> {
    call.ensure_admin(&request.room)?;
    if request.destination_identity.is_empty() {
        return Err(TwirpError::relayed(Code::InvalidArgument, "destination identity is required"));
    }
    Err(not_implemented("PerformRpc"))
}

fn not_implemented(method: &str) -> TwirpError {
    TwirpError::new(Code::Unimplemented, format!("{method} is not served by this version of Sala"))
}

fn check_metadata(limits: &Limits, metadata: &str) -> Result<(), TwirpError> {
    if metadata.len() > limits.max_metadata_bytes {
        let limit = limits.max_metadata_bytes;
        return Err(TwirpError::invalid_argument("metadata size exceeds limits", limit));
    }
    Ok(())
}

impl Call<'_> {
    fn ensure(&self, granted: bool) -> Result<(), TwirpError> {
        if granted { Ok(()) } else { Err(TwirpError::permission_denied()) }
    }

    fn ensure_admin(&self, room: &str) -> Result<(), TwirpError> {
        self.ensure(self.claims.is_some_and(|claims| claims.may_administer(room)))
    }

    fn ensure_can_move(&self, from: &str, to: &str) -> Result<(), TwirpError> {
        self.ensure(self.claims.is_some_and(|claims| claims.may_move(from, to)))?;
        if from == to {
            return Err(TwirpError::invalid_argument(
                "destination room cannot be the same as source room",
                "",
            ));
        }
        Ok(())
    }

    /// Runs on the room's shard; `None` when there is no such room.
    async fn in_room<T: Send + 'static>(
        &self,
        room: &str,
        f: impl FnOnce(&mut Room, std::time::Instant) -> T + Send + 'static,
    ) -> Option<T> {
        self.server.shards.with_room(&room.into(), f).await
    }

    /// The same for one participant: a room that is not there has no such participant either.
    async fn of_participant<T: Send + 'static>(
        &self,
        room: &str,
        f: impl FnOnce(&mut Room, std::time::Instant) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, TwirpError> {
        let outcome = self.in_room(room, f).await.ok_or_else(TwirpError::participant_not_found)?;
        Ok(outcome?)
    }
}
