"""What an operator changes in the Vault while the cluster runs."""

from sala_oci.scaling import serving
from sala_oci.simulator import wait_until


async def test_a_changed_secret_applies_when_machines_start_again(plain, call):
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
    wait_until(lambda: serving(stack), 120, "the media node serves")
    for machine in [*stack.masters, *(node["id"] for node in stack.media())]:
        assert "former configuration" not in stack.log(machine, "sala-boot")
    talk = await call(stack)
    await talk.messages_pass("with the new secret")


async def test_nonsense_stops_the_boot_by_name_and_the_last_good_configuration_runs_on(plain, call):
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


def test_initial_meet_values_only_seed(plain):
    stack = plain
    stack.set_secret("MEET_INITIAL_ADMIN_PASSWORD", "Another-Password_2")
    stack.restart(stack.masters[1])
    stack.await_line(stack.masters[1], "sala-boot", "sala.service", since=0)
    stack.await_serving(120)
    assert stack.env("meet.env", stack.masters[1])["MEET_INITIAL_ADMIN_PASSWORD"] == "First-Password_1"
