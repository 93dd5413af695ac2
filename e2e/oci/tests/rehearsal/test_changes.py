"""What an operator changes while the cluster runs: secrets, the mode, and machines that stop."""

import time

import pytest

from sala_oci.scaling import assert_uncut, eventually, resize, serving, tag
from sala_oci.simulator import wait_until


pytestmark = pytest.mark.unseen

CYCLE_S = 10


class TestSecrets:
    async def test_a_changed_secret_applies_when_machines_start_again(self, plain, call):
        stack = plain
        secret = "a-new-secret-of-the-operator-0123456789"
        stack.set_secret("LIVEKIT_API_SECRET", secret)
        # One by the power button, the others as the guide has it.
        stack.cloud.admin("POST", f"instances/{stack.masters[0]}/reset")
        wait_until(lambda: stack.env("openvidu.env")["LIVEKIT_API_SECRET"] == secret, 120, "the new secret on master 1")
        stack.await_serving(120)
        for machine in [*stack.masters[1:], *(node["id"] for node in stack.media())]:
            stack.restart(machine)
        for master in stack.masters[1:]:
            wait_until(lambda: stack.env("openvidu.env", master)["LIVEKIT_API_SECRET"] == secret, 120, f"the secret on {master}")
        for machine in [*stack.masters, *(node["id"] for node in stack.media())]:
            wait_until(lambda: secret in stack.text(machine, "/etc/sala/keys.yaml"), 120, f"the key on {machine}")
        stack.await_serving(120)
        talk = await call(stack)
        await talk.messages_pass("with the new secret")

    async def test_nonsense_stops_the_boot_by_name_and_the_last_good_configuration_runs_on(self, plain, call):
        stack = plain
        good, master = stack.secrets()["LIVEKIT_API_SECRET"], stack.masters[2]
        files = lambda: [stack.text(master, path) for path in ("/etc/sala/sala.yaml", "/etc/sala/keys.yaml")]  # noqa: E731
        before, since = files(), len(stack.log(master, "sala-boot"))
        stack.set_secret("LIVEKIT_API_SECRET", "short")
        try:
            stack.restart(master)
            line = stack.await_line(master, "sala-boot", "LIVEKIT_API_SECRET", since=since)
            assert "has a value of another form" in line and "short" not in line.replace("shorter", "")
            stack.await_line(master, "sala-boot", "the last good configuration stays as it is", since=since)
            assert files() == before
            stack.await_serving(60)
            talk = await call(stack)
            await talk.messages_pass("as before")
        finally:
            stack.set_secret("LIVEKIT_API_SECRET", good)
        stack.restart(master)
        stack.await_serving(120)

    def test_initial_meet_values_only_seed(self, plain):
        stack = plain
        stack.set_secret("MEET_INITIAL_ADMIN_PASSWORD", "Another-Password_2")
        stack.restart(stack.masters[1])
        stack.await_line(stack.masters[1], "sala-boot", "sala.service", since=0)
        stack.await_serving(120)
        assert stack.env("meet.env", stack.masters[1])["MEET_INITIAL_ADMIN_PASSWORD"] == "First-Password_1"


class TestMode:
    def test_fixed_stops_all_calls_and_elastic_begins_them_again(self, elastic, measure):
        stack = elastic
        stack.await_serving(120)
        tag(stack, fixedNumberOfMediaNodes=2)
        # A turn that was being taken may end.
        quiet_from = wait_until(lambda: settled(stack, 2.5 * CYCLE_S), 90, "cycles without a call")
        count = len(stack.calls_of_function())
        assert count == quiet_from
        tag(stack)
        began = time.monotonic()
        wait_until(lambda: len(stack.calls_of_function()) > count, 60, "a call in elastic mode")
        measure("toggle: elastic again until the first call", time.monotonic() - began)

    async def test_a_machine_that_is_told_to_stop_moves_its_meetings_first(self, elastic, call, measure):
        stack = elastic
        stack.await_serving(120)
        tag(stack, fixedNumberOfMediaNodes=2)
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
        resize(stack, 1)
        tag(stack)


def settled(stack, seconds: float, _seen={}) -> int | None:
    """The number of calls, once it has not changed for so long."""
    count = len(stack.calls_of_function())
    if _seen.get("count") != count:
        _seen.update(count=count, since=time.monotonic())
    return count if time.monotonic() - _seen["since"] > seconds else None
