"""Fixtures: one cluster for the run, made whole before each test, and calls whose members leave at its end."""

import itertools
import os
import sys

import pytest

from sala_cluster.cluster import NAMESPACES, cluster_up
from sala_cluster.guests import Guests
from sala_cluster.viewer import Call, Viewer

_rooms = itertools.count(1)

needs_namespaces = pytest.mark.skipif(not NAMESPACES, reason="cutting cables needs root, for network namespaces")


@pytest.fixture(scope="session")
async def running_cluster():
    async with cluster_up() as cluster:
        yield cluster


@pytest.fixture
async def cluster(running_cluster):
    await running_cluster.whole()
    return running_cluster


@pytest.fixture
def room_name():
    return f"cluster-{os.getpid()}-{next(_rooms)}"


@pytest.fixture
async def call(cluster, room_name):
    """`await call(4)`: so many members in a room, who all publish and all see each other."""
    viewers = []

    async def begin(count: int, room: str = room_name) -> Call:
        fresh = [Viewer(f"member-{len(viewers) + n}") for n in range(count)]
        viewers.extend(fresh)
        for viewer in fresh:
            await viewer.join(cluster.server, room)
            await viewer.publish()
        begun = Call(fresh)
        await begun.goes_on()
        return begun

    yield begin
    for viewer in viewers:
        await viewer.leave()


@pytest.fixture
async def mixed_call(cluster, call, room_name):
    """`await mixed_call()`: four Python members and two browsers in one room."""
    joined = []

    async def begin() -> tuple[Call, Guests]:
        meeting = await call(4)
        guests = await Guests.join(cluster, room_name, others=4)
        joined.append(guests)
        return meeting, guests

    yield begin
    for guests in joined:
        await guests.leave()


def pytest_sessionfinish(session, exitstatus):
    session.config.exit_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Ends the process without taking the interpreter apart: see e2e/python/conftest.py."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(getattr(config, "exit_status", 1))
