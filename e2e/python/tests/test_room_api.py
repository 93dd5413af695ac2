"""livekit-api's room calls, and what the people in the room experience of them."""

import asyncio

import pytest
from livekit import api, rtc

from sala_e2e.media import silence, strongest_frequency
from sala_e2e.member import TONE
from sala_e2e.waiting import DEADLINE_S, until


@pytest.fixture
def room_api(backend):
    return backend.room


def in_room(room: str, identity: str) -> api.RoomParticipantIdentity:
    return api.RoomParticipantIdentity(room=room, identity=identity)


def described(person: rtc.Participant | None):
    return person and (person.metadata, person.name, dict(person.attributes))


async def rooms_named(room_api, name):
    return list((await room_api.list_rooms(api.ListRoomsRequest(names=[name]))).rooms)


async def test_a_room_is_created_listed_described_and_deleted(room_api, room_name):
    room = await room_api.create_room(api.CreateRoomRequest(name=room_name, empty_timeout=77, max_participants=5, metadata="m"))
    assert room.sid.startswith("RM_")
    assert (room.name, room.empty_timeout, room.max_participants, room.metadata) == (room_name, 77, 5, "m")
    again = await room_api.create_room(api.CreateRoomRequest(name=room_name, metadata="other"))
    assert (again.sid, again.metadata) == (room.sid, "m"), "creating a room that lives changes nothing"
    assert [listed.sid for listed in await rooms_named(room_api, room_name)] == [room.sid]
    described = await room_api.update_room_metadata(api.UpdateRoomMetadataRequest(room=room_name, metadata="new"))
    assert described.metadata == "new"
    await room_api.delete_room(api.DeleteRoomRequest(room=room_name))
    assert await rooms_named(room_api, room_name) == []
    with pytest.raises(api.TwirpError) as error:
        await room_api.delete_room(api.DeleteRoomRequest(room=room_name))
    assert (error.value.code, error.value.status) == ("not_found", 404)


async def test_participants_and_their_tracks_are_listed(room_api, room_name, enter):
    alice = await enter("alice", name="Alice", metadata="hi", attributes={"role": "host"})
    track = await alice.publish_tone(440)

    async def listed():
        people = (await room_api.list_participants(api.ListParticipantsRequest(room=room_name))).participants
        return people[0] if people and people[0].tracks and people[0].state == api.ParticipantInfo.State.ACTIVE else None

    person = await until("alice is listed as active with her track", listed)
    assert (person.identity, person.name, person.metadata, dict(person.attributes)) == ("alice", "Alice", "hi", {"role": "host"})
    assert person.sid.startswith("PA_") and person.sid == alice.local.sid
    assert (person.tracks[0].sid, person.tracks[0].name, person.tracks[0].source) == (track.sid, TONE, api.TrackSource.MICROPHONE)
    assert (await room_api.get_participant(in_room(room_name, "alice"))).sid == person.sid
    counted = await until(
        "the room counts her", lambda: rooms_named(room_api, room_name), lambda rooms: rooms[0].num_participants == 1
    )
    assert counted[0].num_publishers == 1


async def test_an_unknown_participant_is_not_found(room_api, room_name, enter):
    await enter("alice")
    for call in (room_api.get_participant, room_api.remove_participant):
        with pytest.raises(api.TwirpError) as error:
            await call(in_room(room_name, "ghost"))
        assert (error.value.code, error.value.status) == ("not_found", 404)


async def test_a_removed_participant_is_disconnected_and_no_longer_listed(room_api, room_name, enter):
    alice, bob = await enter("alice"), await enter("bob")
    await alice.experiences("participant_connected", lambda person: person.identity == "bob")
    await room_api.remove_participant(in_room(room_name, "bob"))
    (reason,) = await bob.experiences("disconnected")
    assert reason == rtc.DisconnectReason.PARTICIPANT_REMOVED
    await alice.experiences("participant_disconnected", lambda person: person.identity == "bob")
    people = (await room_api.list_participants(api.ListParticipantsRequest(room=room_name))).participants
    assert [person.identity for person in people] == ["alice"]


async def test_a_muted_track_is_muted_for_everybody_and_not_unmuted_remotely(room_api, room_name, enter):
    alice, bob = await enter("alice"), await enter("bob")
    track = await alice.publish_tone(440)
    await bob.track_of("alice", TONE)
    mute = api.MuteRoomTrackRequest(room=room_name, identity="alice", track_sid=track.sid, muted=True)
    assert (await room_api.mute_published_track(mute)).track.muted
    await bob.experiences("track_muted", lambda person, _: person.identity == "alice")
    await alice.experiences("track_muted")
    mute.muted = False
    with pytest.raises(api.TwirpError) as error:
        await room_api.mute_published_track(mute)
    assert error.value.code == "failed_precondition"


async def test_metadata_name_and_attributes_are_updated_for_everybody(room_api, room_name, enter):
    alice = await enter("alice")
    bob = await enter("bob", attributes={"keep": "1", "drop": "1"})
    change = api.UpdateParticipantRequest(
        room=room_name, identity="bob", metadata="m2", name="Robert", attributes={"drop": "", "new": "2"}
    )
    updated = await room_api.update_participant(change)
    assert (updated.metadata, updated.name, dict(updated.attributes)) == ("m2", "Robert", {"keep": "1", "new": "2"})
    expected = ("m2", "Robert", {"keep": "1", "new": "2"})
    await until("bob knows", lambda: described(bob.local), lambda seen: seen == expected)
    await until("alice knows", lambda: described(alice.room.remote_participants.get("bob")), lambda seen: seen == expected)


async def test_a_permission_update_replaces_all_permissions(room_api, room_name, enter):
    alice = await enter("alice")
    permission = api.ParticipantPermission(can_subscribe=True)
    await room_api.update_participant(api.UpdateParticipantRequest(room=room_name, identity="alice", permission=permission))
    await alice.experiences("participant_permissions_changed")
    seen = (await room_api.get_participant(in_room(room_name, "alice"))).permission
    assert (seen.can_subscribe, seen.can_publish, seen.can_publish_data) == (True, False, False)


async def test_room_metadata_reaches_who_is_in_and_who_joins_later(room_api, room_name, enter):
    alice = await enter("alice")
    await room_api.update_room_metadata(api.UpdateRoomMetadataRequest(room=room_name, metadata="agenda"))
    await until("alice reads it", lambda: alice.room.metadata, lambda text: text == "agenda")
    assert (await enter("bob")).room.metadata == "agenda"


async def test_a_subscription_can_be_changed_from_the_backend(room_api, room_name, enter):
    alice, bob = await enter("alice"), await enter("bob")
    track = await alice.publish_tone(440)
    heard = await bob.track_of("alice", TONE)
    await asyncio.wait_for(strongest_frequency(heard, 440), DEADLINE_S)
    change = api.UpdateSubscriptionsRequest(room=room_name, identity="bob", track_sids=[track.sid], subscribe=False)
    await room_api.update_subscriptions(change)
    await asyncio.wait_for(silence(heard), DEADLINE_S)
    bob.events.clear()
    change.subscribe = True
    await room_api.update_subscriptions(change)
    # The SDK takes the track that comes back for a new one, and only then notices that the old one was gone.
    heard_again, *_ = await bob.experiences("track_subscribed")
    await asyncio.wait_for(strongest_frequency(heard_again, 440), DEADLINE_S)


async def test_a_deleted_room_ends_for_everybody_with_the_reason(room_api, room_name, enter):
    alice = await enter("alice")
    await room_api.delete_room(api.DeleteRoomRequest(room=room_name))
    (reason,) = await alice.experiences("disconnected")
    assert reason == rtc.DisconnectReason.ROOM_DELETED


async def test_a_full_room_turns_the_next_away(room_api, room_name, enter):
    await room_api.create_room(api.CreateRoomRequest(name=room_name, max_participants=1))
    await enter("alice")
    with pytest.raises(rtc.ConnectError):
        await enter("bob")
    people = (await room_api.list_participants(api.ListParticipantsRequest(room=room_name))).participants
    assert [person.identity for person in people] == ["alice"]


async def test_the_same_identity_replaces_the_older_connection(room_api, room_name, enter):
    first = await enter("alice")
    second = await enter("alice")
    (reason,) = await first.experiences("disconnected")
    assert reason == rtc.DisconnectReason.DUPLICATE_IDENTITY
    people = (await room_api.list_participants(api.ListParticipantsRequest(room=room_name))).participants
    assert [person.sid for person in people] == [second.local.sid]


async def test_a_participant_changes_its_own_state_if_its_token_allows(enter):
    alice, bob = await enter("alice"), await enter("bob", grants={"canUpdateOwnMetadata": True})
    await bob.local.set_name("Bobby")
    await bob.local.set_metadata("mine")
    await bob.local.set_attributes({"hand": "up"})
    person = await until("alice knows bob", lambda: alice.room.remote_participants.get("bob"))
    await until(
        "the change arrives",
        lambda: (person.name, person.metadata, dict(person.attributes)),
        lambda now: now == ("Bobby", "mine", {"hand": "up"}),
    )
