"""What the scaling of a deployment has done so far."""

import asyncio
import collections
import re
import time

from .stack import Stack

TURN = re.compile(r"it is this master's turn to call the scale-in function.*?cycle\S*?=\S*?(\d+)")
CUT = ("participant_disconnected", "disconnected")


def serving(stack: Stack) -> list[str]:
    """Media nodes whose unit runs."""
    active = lambda id: stack.run(id, "systemctl", "is-active", "sala")["stdout"].strip() == "active"  # noqa: E731
    return [node["displayName"] for node in stack.media() if node["state"] == "RUNNING" and active(node["id"])]


def tag(stack: Stack, **variables) -> None:
    """As `terraform apply` with other variables tags the masters."""
    for number in range(1, 5):
        tags = stack.deployment.master(number)["freeformTags"] | stack.deployment.scaling_tags(**variables)
        stack.cloud.admin("PUT", f"instances/{stack.master_name(number)}/tags", tags)


def toggle(stack: Stack, fixed: int = 0) -> None:
    """As `terraform apply` with so many fixed media nodes, 0 for elastic: tags and policies."""
    tag(stack, fixedNumberOfMediaNodes=fixed)
    stack.grant(fixed)


def resize(stack: Stack, size: int) -> None:
    stack.cloud.admin("PUT", f"pools/{stack.pool()['id']}", {"size": size})


def scale_in_calls(stack: Stack) -> list[dict]:
    return [one for one in stack.calls_of_function() if one["ask"]["action"] == "scale-in"]


def is_gone(stack: Stack, id: str) -> bool:
    return stack.cloud.instance(id)["state"] in ("TERMINATING", "TERMINATED")


def marked(stack: Stack) -> set[str]:
    """Instances that were taken out of the pool, ever."""
    instances = stack.cloud.state()["instances"]
    return {one["id"] for one in instances if one["freeformTags"].get("sala-draining") and one["pool"] is None}


def once_per_cycle(stack: Stack) -> int:
    """Each cycle had one call at most, by the masters' logs and by the function's own. Returns how many cycles."""
    turns = collections.Counter(cycle for master in stack.masters for cycle in TURN.findall(stack.log(master, "sala")))
    assert turns and max(turns.values()) == 1, turns
    calls = scale_in_calls(stack)
    assert 0 < len(calls) <= len(turns)
    assert {one["caller"] for one in calls} <= set(stack.deployment.masters)
    return len(turns)


def assert_uncut(call) -> None:
    cut = [(viewer.identity, name) for viewer in call.viewers for name, _ in viewer.events if name in CUT]
    assert not cut, cut


async def eventually(story: str, probe, seconds: float):
    """The first true value of `probe()`, which asks in a thread of its own: calls of the SDK go on meanwhile."""
    deadline = time.monotonic() + seconds
    while True:
        value = await asyncio.to_thread(probe)
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {story}"
        await asyncio.sleep(0.3)
