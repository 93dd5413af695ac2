"""What an operator changes while media nodes come and go: the mode, and machines that stop."""

import time

from sala_oci.scaling import assert_uncut, eventually, is_gone, marked, resize, serving, tag, toggle
from sala_oci.simulator import wait_until


CYCLE_S = 10


def test_fixed_stops_all_calls_and_elastic_begins_them_again(elastic, measure):
    stack = elastic
    stack.await_serving(120)
    toggle(stack, fixed=2)
    # A turn that was being taken may end.
    quiet_from = wait_until(lambda: settled(stack, 2.5 * CYCLE_S), 90, "cycles without a call")
    count = len(stack.calls_of_function())
    assert count == quiet_from
    toggle(stack)
    began = time.monotonic()
    wait_until(lambda: len(stack.calls_of_function()) > count, 60, "a call in elastic mode")
    measure("toggle: elastic again until the first call", time.monotonic() - began)


def test_a_node_that_drains_when_the_function_goes_is_ended_by_the_masters(elastic, measure):
    stack = elastic
    stack.await_serving(120)
    # No node can end itself from here on.
    refuse = {"kind": "error", "status": 502, "code": "FunctionInvokeContainerInitFail"}
    number = stack.cloud.fault("InvokeFunction", refuse, caller="inst-")
    former = marked(stack)
    resize(stack, 2)
    leaving = wait_until(lambda: marked(stack) - former, 120, "a node that leaves").pop()
    toggle(stack, fixed=1)
    began, calls = time.monotonic(), len(stack.calls_of_function())
    try:
        wait_until(lambda: is_gone(stack, leaving), 90, "the end of the node")
        measure("toggle: a draining node is ended without the function", time.monotonic() - began)
        assert all(call["ask"]["action"] == "scale-in" for call in stack.calls_of_function()[calls:])
        ended = [call for call in stack.cloud.calls("TerminateInstance") if leaving in call["path"]]
        assert [call["callerId"] in stack.deployment.masters for call in ended] == [True]
        assert "an orphan is ended" in stack.logs("sala")
        assert stack.pool()["size"] == 1 and len(serving(stack)) == 1
    finally:
        stack.cloud.admin("DELETE", f"faults/{number}")
        toggle(stack)


async def test_a_machine_that_is_told_to_stop_moves_its_meetings_first(elastic, call, measure):
    stack = elastic
    stack.await_serving(120)
    toggle(stack, fixed=2)
    resize(stack, 2)
    await eventually("two media nodes serve", lambda: len(serving(stack)) == 2, 180)
    talk = await call(stack)
    await talk.goes_on()
    stopped = []
    began = time.monotonic()
    for node in stack.media():
        # One of the two has the room. When the first is gone the room is on the other.
        stack.cloud.admin("POST", f"instances/{node['id']}/poweroff")
        await eventually("it is off", lambda: stack.cloud.instance(node["id"])["state"] == "STOPPED", 120)
        stopped.append(node["id"])
        await talk.goes_on()
        stack.cloud.admin("POST", f"instances/{node['id']}/start")
        await eventually("it serves again", lambda: len(serving(stack)) == 2, 120)
    gap = talk.longest_gap(began, time.monotonic())
    measure("ACPI stop of both media nodes in turn: longest time without a picture", gap)
    assert_uncut(talk)
    toggle(stack)
    await eventually("one node is enough again", lambda: len(stack.media()) == 1, 120)


def settled(stack, seconds: float, _seen={}) -> int | None:
    """The number of calls, once it has not changed for so long."""
    count = len(stack.calls_of_function())
    if _seen.get("count") != count:
        _seen.update(count=count, since=time.monotonic())
    return count if time.monotonic() - _seen["since"] > seconds else None
