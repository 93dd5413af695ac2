"""The coordination store fails: no meeting notices, and nothing that was acknowledged is lost."""

import asyncio
import time

from livekit import api

from sala_cluster.limits import OUTAGE_S, within
from sala_cluster.viewer import Viewer

FULL_SERVICE_S = within(10)
GAP_LIMIT_S = within(0.3)


async def test_an_outage_of_the_store_is_not_noticed(cluster, call, room_name):
    meeting = await call(3)
    owner = await cluster.owner(room_name)
    stopped = time.monotonic()
    await cluster.stop("etcd")
    await asyncio.sleep(OUTAGE_S / 2)
    guest = Viewer("guest")
    await asyncio.wait_for(guest.join(cluster.server, room_name), 10)
    await guest.leave()
    await asyncio.sleep(OUTAGE_S / 2)
    await cluster.cont("etcd")
    back = time.monotonic()
    await cluster.wait("the store is back", lambda status: status["store_quorum"], FULL_SERVICE_S)
    new = await call(2, f"{room_name}-new")
    print(f"store away for {OUTAGE_S:.0f} s, full service {time.monotonic() - back:.1f} s after it returned")
    assert time.monotonic() - back <= FULL_SERVICE_S
    await meeting.goes_on()
    await new.goes_on()
    assert meeting.longest_gap(stopped, time.monotonic()) <= GAP_LIMIT_S
    assert await cluster.owner(room_name) == owner, "the room stayed where it was"


async def test_a_leader_that_hangs_again_and_again_is_not_noticed(cluster, call):
    meeting = await call(3)
    began = time.monotonic()
    for _ in range(4):
        leader = (await cluster.wait("the store has a leader", lambda status: status["store_leader"]))["store_leader"]
        await cluster.stop(f"{leader}.etcd")
        await asyncio.sleep(5)
        await cluster.cont(f"{leader}.etcd")
    await meeting.messages_pass("after four leaders")
    assert meeting.longest_gap(began, time.monotonic()) <= GAP_LIMIT_S


async def test_an_acknowledged_room_outlives_the_store_and_its_node(cluster, room_name):
    """A room that the API has made keeps its metadata through an outage and the death of its node."""
    backend = api.LiveKitAPI(cluster.server.http, cluster.server.key, cluster.server.secret)
    try:
        request = api.CreateRoomRequest(name=room_name, metadata="minutes of the year", empty_timeout=600)
        await backend.room.create_room(request)
        await cluster.stop("etcd")
        await asyncio.sleep(3)
        await cluster.cont("etcd")
        await cluster.wait("the store is back", lambda status: status["store_quorum"], FULL_SERVICE_S)
        await cluster.kill(await cluster.owner(room_name))
        guest = Viewer("guest")
        await asyncio.wait_for(guest.join(cluster.server, room_name), 10)
        assert guest.room.metadata == "minutes of the year"
        await guest.leave()
    finally:
        await backend.aclose()
