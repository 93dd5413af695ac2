"""A full node is emptied, and a full cluster is upgraded, while everybody talks."""

import asyncio
import time

from sala_cluster.guests import Guests
from sala_cluster.limits import within
from sala_cluster.load import load
from sala_e2e.waiting import until

# What people may notice of a move, and how long a node of 50 rooms may take.
GAP_P95_S = within(0.3)
EMPTY_S = 60
ROOMS = 50


async def test_a_node_of_fifty_rooms_is_drained(cluster, room_name):
    nodes = [node["name"] for node in (await cluster.status())["media"]]
    full, *others = nodes
    for node in others:
        await cluster.drain(node, deadline_s=600)
    told_before = len(cluster.webhooks.of("participant_left"))
    async with load(cluster, rooms=ROOMS, publishers=1, subscribers=3) as running:
        guests = await Guests.join(cluster, room_name, others=0)
        for node in others:
            await cluster.drain_cancel(node)
        # A publisher has two tracks, each of the two browsers has one.
        await cluster.wait(
            "the load is told as it is",
            lambda status: sum(node["tracks_in"] for node in status["media"]) == 2 * ROOMS + 2
            and sum(node["tracks_out"] for node in status["media"]) == 2 * ROOMS * 3 + 2,
        )
        everywhere = {room["node"] for room in (await cluster.status())["rooms"]}
        assert everywhere == {full}, "all rooms are on one node"
        began = time.monotonic()
        await cluster.drain(full)
        await cluster.wait(f"{full} is empty", lambda status: all(room["node"] != full for room in status["rooms"]), EMPTY_S)
        took = time.monotonic() - began
        browsers = await guests.noticed(began, time.monotonic())
        # Not those of earlier tests, some of whom end without a farewell and are given up meanwhile.
        left = [event.room.name for event in cluster.webhooks.of("participant_left")[told_before:]]
        assert [room for room in left if room.startswith((f"{running.prefix}-", room_name))] == []
        await guests.leave()
    print(f"{ROOMS} rooms moved in {took:.1f} s; {running.summary()}; browsers {browsers.longest_gap_s * 1000:.0f} ms")
    running.assert_nobody_was_lost()
    assert running.rooms_gap_p95_s <= GAP_P95_S
    assert browsers.left == []


async def test_all_nodes_are_upgraded_in_turn_and_nobody_notices(cluster):
    """As `sala upgrade-plan` says: masters first, then media nodes, each stopped by SIGTERM and started again."""
    status = await cluster.status()
    masters = [node["name"] for node in status["masters"]]
    nodes = [node["name"] for node in status["media"]]
    async with load(cluster, rooms=15, publishers=1, subscribers=2, churn_per_s=2) as running:
        for node in [f"{master}.sala" for master in masters] + nodes:
            await cluster.term(node)
            await until(f"{node} has ended", lambda: _state(cluster, node), lambda state: state == "ended", 60)
            await cluster.restart(node)
            await cluster.whole()
        # What happens to the last of them shows in the figures of those who stay.
        await asyncio.sleep(1)
    print(f"{len(masters) + len(nodes)} nodes restarted: {running.summary()}")
    running.assert_nobody_was_lost()


async def _state(cluster, node: str) -> str:
    status = await cluster.status()
    name = node.split(".")[0]
    return next(host for host in status["masters"] + status["media"] if host["name"] == name)["sala"]["state"]
