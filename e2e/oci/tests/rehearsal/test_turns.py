"""All four masters race for the lock; whoever has it may die at any step."""

import time

import pytest

from sala_oci.scaling import once_per_cycle, scale_in_calls
from sala_oci.simulator import wait_until


LOCK = "scalein.lock"
# Where the holder dies: an operation, whether it was done, and how many such pass before.
STEPS = {
    "before the lock": ("PutObject", False, 0),
    "after the lock": ("PutObject", True, 0),
    "before the call": ("PutObject", True, 1),
    "after the call": ("InvokeFunction", True, 0),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_holder_that_dies_is_followed_and_no_cycle_has_two_calls(elastic, step, measure):
    stack = elastic
    stack.await_serving(120)
    operation, is_done, skip = STEPS[step]
    before = len(scale_in_calls(stack))
    fault = {"kind": "killCaller", "isDone": is_done}
    where = {"path": LOCK} if operation == "PutObject" else {}
    number = stack.cloud.fault(operation, fault, caller="master", skip=skip, times=1, **where)
    try:
        dead = wait_until(lambda: the_dead(stack), 60, f"a master that dies {step}")
    finally:
        stack.cloud.admin("DELETE", f"faults/{number}")
    died = time.monotonic()
    holder = stack.lock()
    wait_until(lambda: follower(stack, dead, before), 60, "another master's call")
    measure(f"turn: master dies {step}, until another calls", time.monotonic() - died)
    assert holder["holder"] in [*stack.masters, ""]
    once_per_cycle(stack)
    stack.cloud.admin("POST", f"instances/{dead}/reset")
    stack.await_serving(180)


def the_dead(stack) -> str | None:
    return next((one["id"] for one in stack.cloud.state()["instances"] if one["power"] == "dead"), None)


def follower(stack, dead: str, before: int) -> bool:
    return any(one["caller"] != dead for one in scale_in_calls(stack)[before:])
