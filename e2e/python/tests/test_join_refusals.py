"""Joins that must fail do so before the WebSocket upgrade, with the status and text clients classify them by."""

import base64
import gzip

import aiohttp
import pytest
from livekit import rtc
from livekit.protocol import rtc as signal

ROOM = {"roomJoin": True, "room": "door"}
NO_PERMISSION = (401, "no permissions to access the room")
BAD_SIGNATURE = (401, "invalid authorization token: token signature is invalid: signature is invalid")
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
}


def packed(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode()


def join_request(inner: bytes | None = None, compression: int = 0, **fields) -> str:
    if inner is None:
        inner = signal.JoinRequest(
            connection_settings=signal.ConnectionSettings(auto_subscribe=True), **fields
        ).SerializeToString()
    return packed(signal.WrappedJoinRequest(compression=compression, join_request=inner).SerializeToString())


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def answer(http, url, headers, query) -> tuple[int, str]:
    async with http.get(url, headers=headers, params=query) as response:
        if response.status == 101:
            response.close()
            return 101, ""
        return response.status, (await response.text()).strip()


async def answers(http, server, path, token, query=None, scheme="Bearer"):
    """What the upgrade and the validate endpoint of the path answer."""
    headers = {"Authorization": f"{scheme} {token}"} if token else {}
    url = f"{server.http}{path}"
    upgrade = await answer(http, url, {**headers, **WEBSOCKET}, query or {})
    return upgrade, await answer(http, f"{url}/validate", headers, query or {})


BOTH_PATHS = [("/rtc", {}), ("/rtc/v1", {"join_request": join_request()})]
both_paths = pytest.mark.parametrize(("path", "query"), BOTH_PATHS, ids=["rtc", "rtc-v1"])


@both_paths
async def test_a_good_token_is_upgraded_and_validated(http, server, path, query):
    assert await answers(http, server, path, server.token("u", grants=ROOM), query) == ((101, ""), (200, "success"))


@both_paths
async def test_the_token_may_come_in_the_query(http, server, path, query):
    query = {**query, "access_token": server.token("u", grants=ROOM)}
    assert await answers(http, server, path, None, query) == ((101, ""), (200, "success"))


@both_paths
@pytest.mark.parametrize(
    ("refused", "claims"),
    [
        (NO_PERMISSION, {"grants": None}),
        ((401, "permissions denied"), {"grants": {"room": "door"}}),
        ((400, "no room name"), {"grants": {"roomJoin": True}}),
        ((400, "identity cannot be empty"), {"grants": ROOM, "sub": ""}),
        ((400, "participant identity length exceeds limits: max length 256"), {"grants": ROOM, "sub": "i" * 257}),
        ((400, "room name length exceeds limits: max length 256"), {"grants": {"roomJoin": True, "room": "r" * 257}}),
        ((401, "invalid API key"), {"grants": ROOM, "iss": "nobody"}),
        (BAD_SIGNATURE, {"grants": ROOM, "signed_with": "wrong"}),
        ((401, "invalid authorization token: token has invalid claims: token is expired"), {"grants": ROOM, "ttl_s": -120}),
        (
            (
                401,
                "invalid authorization token: token has invalid claims: token is missing required claim: exp claim is required",
            ),
            {"grants": ROOM, "exp": None},
        ),
    ],
    ids=lambda value: value[1][:40] if isinstance(value, tuple) else "",
)
async def test_a_token_is_refused_with_its_reason(http, server, path, query, refused, claims):
    assert await answers(http, server, path, server.token("u", **claims), query) == (refused, refused)


@both_paths
async def test_an_expiry_within_the_minute_of_leeway_is_forgiven(http, server, path, query):
    upgrade, validate = await answers(http, server, path, server.token("u", grants=ROOM, ttl_s=-30), query)
    assert (upgrade[0], validate) == (101, (200, "success"))


@both_paths
async def test_no_token_and_broken_tokens(http, server, path, query):
    assert await answers(http, server, path, None, query) == (NO_PERMISSION, NO_PERMISSION)
    garbage = (401, "invalid authorization token")
    assert await answers(http, server, path, "garbage", query) == (garbage, garbage)
    prefix = (401, "invalid authorization header. Must start with Bearer")
    assert await answers(http, server, path, server.token("u", grants=ROOM), query, scheme="bearer") == (prefix, prefix)


async def test_the_room_parameter_does_not_replace_the_tokens_room(http, server):
    refused = (400, "no room name")
    assert await answers(http, server, "/rtc", server.token("u", grants={"roomJoin": True}), {"room": "door"}) == (
        refused,
        refused,
    )


@both_paths
async def test_a_request_that_is_no_websocket_is_not_found(http, server, path, query):
    headers = {"Authorization": f"Bearer {server.token('u', grants=ROOM)}"}
    assert await answer(http, f"{server.http}{path}", headers, query) == (404, "")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({}, "join_request is required"),
        ({"join_request": "%%%"}, "cannot base64 decode wrapped join request"),
        ({"join_request": packed(b"\xff\xff")}, "cannot unmarshal wrapped join request"),
        ({"join_request": join_request(b"\xff\xff\xff")}, "cannot unmarshal join request"),
        ({"join_request": join_request(b"no gzip", 1)}, "cannot read decompressed join request"),
        ({"join_request": join_request(gzip.compress(bytes(2 << 20)), 1)}, "join request too large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_broken_join_request_is_refused_with_its_reason(http, server, query, reason):
    refused = (400, reason)
    assert await answers(http, server, "/rtc/v1", server.token("u", grants=ROOM), query) == (refused, refused)


async def test_a_join_request_is_also_accepted_on_the_older_path(http, server):
    query = {"join_request": join_request(gzip.compress(signal.JoinRequest().SerializeToString()), 1)}
    assert await answers(http, server, "/rtc", server.token("u", grants=ROOM), query) == ((101, ""), (200, "success"))


async def test_attributes_and_publishing_need_their_permissions(http, server):
    token = server.token("u", grants={**ROOM, "canPublish": False})
    attributes = {"attributes": packed(b'{"a":"b"}')}
    assert await answers(http, server, "/rtc", token, attributes) == (NO_PERMISSION, NO_PERMISSION)
    assert await answers(http, server, "/rtc", token, {"publish": "x"}) == (NO_PERMISSION, NO_PERMISSION)
    v1 = {"join_request": join_request(participant_attributes={"a": "b"})}
    assert await answers(http, server, "/rtc/v1", token, v1) == (NO_PERMISSION, NO_PERMISSION)


async def test_undecodable_attributes_fail_validation_but_not_the_join(http, server):
    token = server.token("u", grants={**ROOM, "canUpdateOwnMetadata": True})
    assert await answers(http, server, "/rtc", token, {"attributes": "%%%"}) == ((101, ""), (400, "cannot decode attributes"))


async def test_the_sdk_reports_a_refused_join(server):
    room = rtc.Room()
    with pytest.raises(rtc.ConnectError, match="401|permission|Unauthorized"):
        await room.connect(server.url, server.token("u", grants=ROOM, signed_with="wrong"))
