"""The server API on the wire: JSON shapes, error bodies and statuses, and the headers browsers need."""

import json

import aiohttp
import pytest

from sala_e2e.waiting import until

ADMIN = {"roomCreate": True, "roomList": True, "roomAdmin": True}
DENIED = (401, {"code": "unauthenticated", "msg": "permissions denied"})


@pytest.fixture
async def call(server):
    async with aiohttp.ClientSession() as session:

        async def post(
            method,
            body,
            grants=None,
            *,
            service="RoomService",
            headers=None,
            token=None,
            prefix="",
            content_type="application/json",
        ):
            token = token or (server.token(grants=grants) if grants else None)
            sent = {"Content-Type": content_type, **({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
            data = body if isinstance(body, str) else json.dumps(body)
            async with session.post(
                f"{server.http}{prefix}/twirp/livekit.{service}/{method}", data=data, headers=sent
            ) as response:
                text = await response.text()
                post.headers = response.headers
                return response.status, json.loads(text) if response.content_type == "application/json" else text.strip()

        yield post


async def test_room_json_has_snake_case_names_zero_values_and_64_bit_numbers_as_strings(call, room_name):
    status, room = await call("CreateRoom", {"name": room_name, "emptyTimeout": 100, "bogus": 1}, ADMIN)
    assert status == 200
    assert call.headers["Content-Type"] == "application/json"
    names = {
        "sid",
        "name",
        "empty_timeout",
        "departure_timeout",
        "max_participants",
        "creation_time",
        "creation_time_ms",
        "turn_password",
        "enabled_codecs",
        "metadata",
        "num_participants",
        "num_publishers",
        "active_recording",
        "version",
    }
    assert set(room) >= names
    assert (room["name"], room["empty_timeout"], room["departure_timeout"], room["max_participants"]) == (room_name, 100, 20, 0)
    assert (room["metadata"], room["num_participants"], room["active_recording"], room["version"]) == ("", 0, False, None)
    assert isinstance(room["creation_time"], str) and room["creation_time_ms"].startswith(room["creation_time"])
    mimes = {codec["mime"].lower() for codec in room["enabled_codecs"]}
    assert mimes >= {"audio/opus", "audio/red", "video/vp8", "video/h264", "video/vp9", "video/av1"}
    assert await call("DeleteRoom", {"room": room_name}, ADMIN) == (200, {})


async def test_a_request_may_use_snake_case(call, room_name):
    _, room = await call("CreateRoom", {"name": room_name, "empty_timeout": 33, "max_participants": 4}, ADMIN)
    assert (room["empty_timeout"], room["max_participants"]) == (33, 4)


async def test_empty_lists_are_written_out(call, room_name):
    assert await call("ListRooms", {"names": [room_name]}, ADMIN) == (200, {"rooms": []})
    admin = {**ADMIN, "room": room_name}
    assert await call("ListParticipants", {"room": room_name}, admin) == (200, {"participants": []})


async def test_participant_json(call, room_name, enter):
    alice = await enter("alice", attributes={"a": "1"})
    await alice.publish_tone(440)

    async def listed():
        _, person = await call("GetParticipant", {"room": room_name, "identity": "alice"}, {**ADMIN, "room": room_name})
        return person

    person = await until("alice is active with her track", listed, lambda seen: seen["state"] == "ACTIVE" and seen["tracks"])
    assert (person["identity"], person["state"], person["kind"], person["attributes"]) == (
        "alice",
        "ACTIVE",
        "STANDARD",
        {"a": "1"},
    )
    assert person["permission"]["can_publish"] is True and person["permission"]["can_publish_sources"] == []
    assert isinstance(person["joined_at"], str) and isinstance(person["version"], int)
    track = person["tracks"][0]
    assert (track["type"], track["source"], track["muted"], track["encryption"], track["layers"]) == (
        "AUDIO",
        "MICROPHONE",
        False,
        "NONE",
        [],
    )


@pytest.mark.parametrize(
    ("method", "body", "grants"),
    [
        ("ListRooms", {}, None),
        ("ListRooms", {}, {"roomAdmin": True, "room": "x"}),
        ("CreateRoom", {"name": "x"}, {"roomList": True}),
        ("DeleteRoom", {"room": "x"}, {"roomList": True}),
        ("ListParticipants", {"room": "x"}, {"roomList": True}),
        ("ListParticipants", {"room": "x"}, {"roomAdmin": True, "room": "other"}),
        ("UpdateRoomMetadata", {"room": "x", "metadata": "m"}, {"roomAdmin": True, "room": "other"}),
    ],
)
async def test_a_missing_grant_is_unauthenticated(call, method, body, grants):
    assert await call(method, body, grants) == DENIED


async def test_a_broken_token_is_refused_before_the_api(call, server):
    assert await call("ListRooms", {}, token="garbage") == (401, "invalid authorization token")
    unknown = server.token(grants=ADMIN, iss="nobody")
    assert await call("ListRooms", {}, token=unknown) == (401, "invalid API key")


@pytest.mark.parametrize("method", ["GetParticipant", "RemoveParticipant", "UpdateParticipant"])
async def test_an_unknown_participant_is_not_found(call, room_name, method):
    admin = {**ADMIN, "room": room_name}
    await call("CreateRoom", {"name": room_name}, admin)
    status, error = await call(method, {"room": room_name, "identity": "ghost", "metadata": "m"}, admin)
    assert (status, error["code"]) == (404, "not_found")
    assert "participant does not exist" in error["msg"]


@pytest.mark.parametrize(("method", "extra"), [("DeleteRoom", {}), ("UpdateRoomMetadata", {"metadata": "m"})])
async def test_an_unknown_room_is_not_found(call, room_name, method, extra):
    status, error = await call(method, {"room": room_name, **extra}, {**ADMIN, "room": room_name})
    assert (status, error["code"]) == (404, "not_found")
    assert "requested room does not exist" in error["msg"]


async def test_arguments_out_of_bounds_are_invalid(call, room_name):
    status, error = await call("CreateRoom", {"name": "r" * 257}, ADMIN)
    assert (status, error["code"]) == (400, "invalid_argument")
    admin = {**ADMIN, "room": room_name, "destinationRoom": room_name}
    status, error = await call("SendData", {"room": room_name, "data": "aGk=", "nonce": "aGk="}, admin)
    assert (status, error["code"]) == (400, "invalid_argument")
    status, error = await call("MoveParticipant", {"room": room_name, "identity": "a", "destinationRoom": room_name}, admin)
    assert (status, error["code"]) == (400, "invalid_argument")


@pytest.mark.parametrize("body", ["{nope", '{"name": 5}'])
async def test_a_body_that_is_no_request_is_malformed(call, body):
    assert await call("CreateRoom", body, ADMIN) == (400, {"code": "malformed", "msg": "the json request could not be decoded"})


async def test_a_bad_route_says_what_was_wrong(call):
    status, error = await call("ListRooms", {}, ADMIN, content_type="text/plain")
    assert (status, error["code"], error["msg"]) == (404, "bad_route", 'unexpected Content-Type: "text/plain"')
    assert error["meta"] == {"twirp_invalid_route": "POST /twirp/livekit.RoomService/ListRooms"}
    status, error = await call("Bogus", {}, ADMIN)
    assert (status, error["code"], error["msg"]) == (404, "bad_route", 'no handler for path "/twirp/livekit.RoomService/Bogus"')


async def test_a_double_slash_before_the_path_is_forgiven(call, room_name):
    assert await call("ListRooms", {"names": [room_name]}, ADMIN, prefix="/") == (200, {"rooms": []})


async def test_a_browser_may_read_even_a_refusal(call, server):
    origin = {"Origin": "http://example.com"}
    assert await call("ListRooms", {}, headers=origin) == DENIED
    assert call.headers["Access-Control-Allow-Origin"] == "http://example.com"
    assert (await call("ListRooms", {}, headers={**origin, "Authorization": "bearer x"}))[0] == 401
    assert call.headers["Access-Control-Allow-Origin"] == "http://example.com"
    preflight = {
        **origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with aiohttp.ClientSession() as session:
        async with session.options(f"{server.http}/twirp/livekit.RoomService/ListRooms", headers=preflight) as response:
            assert response.status in (200, 204)
            assert response.headers["Access-Control-Allow-Origin"] == "http://example.com"
            assert response.headers["Access-Control-Max-Age"] == "86400"
            assert "authorization" in response.headers["Access-Control-Allow-Headers"].lower()


@pytest.mark.parametrize("method", ["get", "head"])
async def test_the_root_says_ok(server, method):
    async with aiohttp.ClientSession() as session:
        async with session.request(method, f"{server.http}/") as response:
            assert (response.status, await response.text()) == (200, "OK" if method == "get" else "")
