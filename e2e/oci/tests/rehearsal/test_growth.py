"""The media pool follows the load, up and down, and no meeting is cut."""

import time

import pytest

from sala_oci.load import Load
from sala_oci.scaling import assert_uncut, eventually, is_gone, marked, once_per_cycle, serving, tag
from sala_oci.stack import SCALE

# Without a picture, while rooms move between nodes of a busy host.
LONGEST_GAP_S = 15


async def size_is(stack, size: int, seconds: float) -> None:
    """The pool has the size, and as many instances."""
    is_so = lambda: stack.pool()["size"] == size and len(stack.media()) == size  # noqa: E731
    await eventually(f"the pool has {size} nodes", is_so, seconds)


@pytest.fixture
def load(elastic):
    running = []

    def begin(prefix: str, **size) -> Load:
        running.append(Load(elastic, prefix, **size))
        return running[-1]

    yield begin
    for one in running:
        one.abort()


async def test_the_pool_grows_under_load_and_shrinks_after_it_and_a_call_lives_on(elastic, call, load, measure):
    stack = elastic
    await eventually("the first media node serves", lambda: serving(stack), 120)
    talk = await call(stack)
    begun = time.monotonic()

    # The masters see it within seconds; the pool's own rule is off.
    first = load("first", rooms=6, publishers=3)
    await size_is(stack, 2, 90)
    measure("growth: load to the masters' scale-out, 1 to 2", time.monotonic() - begun)
    assert any("scale-out: the media pool grows" in stack.log(master, "sala") for master in stack.masters)
    await eventually("two media nodes serve", lambda: len(serving(stack)) == 2, 120)

    # The pool's own rule; the masters' scale-out is off, as `scaleOutByMasters = false` has it.
    tag(stack, scaleOutByMasters=False)
    second = load("second", rooms=6, publishers=3)
    rule = {"isEnabled": True, "max": 3, "threshold": 40, "pendingSeconds": 180, "coolDownSeconds": 300}
    began = time.monotonic()
    stack.cloud.admin("PUT", f"pools/{stack.pool()['id']}", {"autoscaling": rule})
    await size_is(stack, 3, 120)
    measure(f"growth: rule on to its scale-out, 2 to 3 (cloud at {SCALE:.0f} times)", time.monotonic() - began)
    await eventually("three media nodes serve", lambda: len(serving(stack)) == 3, 120)
    await talk.goes_on()

    # Quiet again.
    stack.cloud.admin("PUT", f"pools/{stack.pool()['id']}", {"autoscaling": rule | {"isEnabled": False}})
    for report in (first.end(), second.end()):
        assert report["joins_failed"] == 0, report
    ended = time.monotonic()
    await size_is(stack, 1, 240)
    measure("shrinking: end of the load to one media node, 3 to 1", time.monotonic() - ended)
    tag(stack)

    await talk.goes_on()
    await talk.messages_pass("after all")
    gap = talk.longest_gap(begun, time.monotonic())
    measure("call through growth and shrinking: longest time without a picture", gap)
    assert_uncut(talk)
    assert gap < LONGEST_GAP_S
    assert len(marked(stack)) == 2
    await eventually("both have ended", lambda: all(is_gone(stack, one) for one in marked(stack)), 60)
    measure("growth and shrinking: cycles, each with one call at most", once_per_cycle(stack))

