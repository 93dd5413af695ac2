"""A media node is emptied: its meetings move, and nobody in them notices."""

import asyncio
import time

from sala_cluster.limits import within
from sala_e2e.waiting import until

# Pictures come every 33 ms; the move itself may cost this.
GAP_LIMIT_S = within(0.3)
EMPTY_LIMIT_S = 60


async def test_a_drain_moves_the_call_and_nobody_leaves(cluster, call, room_name):
    meeting = await call(3)
    owner = await cluster.owner(room_name)
    sids = {viewer.identity: viewer.local.sid for viewer in meeting.viewers}
    numbers = Counter(meeting.viewers[0])
    began = time.monotonic()
    await cluster.drain(owner)
    status = await cluster.wait(
        f"{owner} is empty",
        lambda status: all(line["node"] != owner for line in status["rooms"]),
        EMPTY_LIMIT_S,
    )
    await meeting.goes_on()
    gap = meeting.longest_gap(began, time.monotonic())
    sent = await numbers.stop()
    print(f"drained: {status['rooms_total']} rooms, longest gap {gap * 1000:.0f} ms, {sent} messages")
    assert gap <= GAP_LIMIT_S
    for viewer in meeting.viewers:
        assert viewer.local.sid == sids[viewer.identity], f"{viewer.identity} has another sid"
        assert not viewer.experienced("participant_disconnected"), f"{viewer.identity} saw somebody leave"
    for viewer in meeting.viewers[1:]:
        numbers_of = lambda: [int(packet.data) for packet in viewer.messages("count")]  # noqa: B023, E731
        missing = lambda: sorted(set(range(sent)) - set(numbers_of()))  # noqa: B023, E731
        await until(f"{viewer.identity} has all {sent} messages", missing, lambda absent: not absent)
        assert numbers_of() == list(range(sent)), f"{viewer.identity} has them twice or out of order"


async def test_a_cancelled_drain_leaves_a_node_that_serves(cluster, call, room_name):
    meeting = await call(2)
    owner = await cluster.owner(room_name)
    await cluster.drain(owner)
    await cluster.drain_cancel(owner)
    await until(f"{owner} serves", lambda: cluster.media(owner), lambda node: node["state"] == "serving")
    await meeting.goes_on()


async def test_a_drain_survives_the_death_of_its_node(cluster, call, room_name):
    await call(2)
    owner = await cluster.owner(room_name)
    await cluster.drain(owner, deadline_s=300)
    await cluster.kill(owner)
    await cluster.restart(owner)
    await until(f"{owner} drains again", lambda: cluster.media(owner), lambda node: node["state"] == "draining")


class Counter:
    """Sends numbers in order, until it is stopped."""

    def __init__(self, viewer) -> None:
        self.sent = 0
        self._viewer = viewer
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self._stop.is_set():
            await self._viewer.local.publish_data(str(self.sent), reliable=True, topic="count")
            self.sent += 1
            await asyncio.sleep(0.02)

    async def stop(self) -> int:
        self._stop.set()
        await self._task
        return self.sent
