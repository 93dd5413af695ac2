"""What runs on a simulated machine: its `systemctl`, and services that start, fail, hang and stop."""

import pathlib
import textwrap

import pytest

from sala_oci.simulator import wait_until

NOTIFY = """\
import os, signal, socket, sys, time
def say(text):
    address = os.environ["NOTIFY_SOCKET"]
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(text.encode(), address)
def log(text):
    with open(os.environ["SALA_ROOT"] + "/events", "a") as file: file.write(text + "\\n")
def stop(*_):
    log("stops")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
log("starts")
say("READY=1\\nSTATUS=serves")
while True:
    if not os.path.exists(os.environ["SALA_ROOT"] + "/hang"): say("WATCHDOG=1")
    time.sleep(0.05)
"""

UNITS = {
    "etcd.service": """
        [Service]
        ExecStartPre=/bin/sh -c 'echo etcd >> $SALA_ROOT/events'
        ExecStart=/bin/sleep 1000
        """,
    "sala.service": """
        [Unit]
        Requires=etcd.service
        After=etcd.service
        StartLimitBurst=100
        [Service]
        Type=notify
        EnvironmentFile=/etc/sala/sala.env
        ExecStart=/usr/bin/env python3 ${SALA_ROOT}/opt/notify.py ${GREETING}
        WatchdogSec=1
        Restart=on-failure
        RestartSec=100ms
        TimeoutStopSec=5
        [Install]
        WantedBy=multi-user.target
        """,
    "once.service": """
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/bin/sh -c 'test -e $SALA_ROOT/good'
        """,
    "early.service": """
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/bin/sh -c 'sleep 0.3; echo early >> $SALA_ROOT/events'
        [Install]
        WantedBy=multi-user.target
        """,
    "late.service": """
        [Unit]
        After=early.service
        [Service]
        ExecStart=/bin/sh -c 'echo late >> $SALA_ROOT/events; exec sleep 1000'
        ExecStopPost=/bin/sh -c 'echo ends >> $SALA_ROOT/events'
        [Install]
        WantedBy=multi-user.target
        """,
    "stubborn.service": """
        [Service]
        ExecStart=/bin/sh -c 'trap "" TERM; while :; do sleep 0.1; done'
        TimeoutStopSec=500ms
        """,
    "crashing.service": """
        [Service]
        ExecStart=/bin/false
        Restart=always
        RestartSec=10ms
        """,
}


@pytest.fixture
def machine(new_cloud):
    cloud = new_cloud(resources={"instances": [{"displayName": "m", "boot": ["true"]}]})
    root = pathlib.Path(wait_until(lambda: cloud.instance("m")["root"], of="the machine"))
    wait_until((root.parent / "ctl").exists, of="its init")
    for name, text in UNITS.items():
        (root / "etc/systemd/system" / name).write_text(textwrap.dedent(text))
    (root / "opt/notify.py").write_text(NOTIFY)
    (root / "etc/sala").mkdir()
    (root / "etc/sala/sala.env").write_text("GREETING=hello\n")
    cloud.root = root
    cloud.systemctl = lambda *words: cloud.run("m", "systemctl", *words)
    return cloud


def events(cloud) -> list:
    file = cloud.root / "events"
    return file.read_text().split() if file.exists() else []


def is_active(cloud, unit: str) -> str:
    return cloud.systemctl("is-active", unit)["stdout"].strip()


def shown(cloud, unit: str, what: str) -> str:
    return cloud.systemctl("show", "-p", what, "--value", unit)["stdout"].strip()


def test_a_service_starts_after_what_it_needs_when_it_says_that_it_is_ready(machine):
    assert machine.systemctl("enable", "--now", "sala")["code"] == 0
    assert events(machine) == ["etcd", "starts"]
    assert (is_active(machine, "sala"), is_active(machine, "etcd")) == ("active", "active")
    assert "Status: \"serves\"" in machine.systemctl("status", "sala")["stdout"]
    assert machine.systemctl("is-enabled", "sala.service")["code"] == 0
    assert machine.systemctl("stop", "sala")["code"] == 0
    assert events(machine) == ["etcd", "starts", "stops"]
    assert machine.systemctl("is-active", "sala")["code"] == 3
    assert is_active(machine, "etcd") == "active"


def test_a_service_that_hangs_is_started_again_by_its_watchdog(machine):
    machine.systemctl("start", "sala")
    (machine.root / "hang").touch()
    wait_until(lambda: int(shown(machine, "sala", "NRestarts")) >= 1, of="the restart")
    (machine.root / "hang").unlink()
    wait_until(lambda: is_active(machine, "sala") == "active")


def test_a_killed_service_is_started_again(machine):
    machine.systemctl("start", "sala")
    first = shown(machine, "sala", "MainPID")
    assert machine.admin("POST", "instances/m/signal", {"unit": "sala.service", "signal": "KILL"})["processes"] == 1
    wait_until(lambda: is_active(machine, "sala") == "active" and shown(machine, "sala", "MainPID") != first)


def test_a_oneshot_fails_and_then_does_not(machine):
    failed = machine.systemctl("start", "once")
    assert failed["code"] == 1 and "Job for once.service failed" in failed["stderr"]
    assert is_active(machine, "once") == "failed"
    (machine.root / "good").touch()
    assert machine.systemctl("restart", "once")["code"] == 0
    assert is_active(machine, "once") == "active"


def test_who_does_not_stop_is_killed(machine):
    machine.systemctl("start", "stubborn")
    assert machine.systemctl("stop", "stubborn")["code"] == 0
    assert machine.admin("POST", "instances/m/signal", {"unit": "stubborn.service", "signal": "KILL"})["processes"] == 0


def test_who_crashes_too_often_is_left_alone(machine):
    machine.systemctl("start", "--no-block", "crashing")
    wait_until(lambda: shown(machine, "crashing", "Result") == "start-limit-hit", of="the limit")
    assert "repeated too quickly" in machine.run("m", "journalctl", "-u", "crashing", "-n", "1")["stdout"]


def test_a_changed_unit_counts_after_a_reload(machine):
    machine.systemctl("start", "etcd")
    unit = machine.root / "etc/systemd/system/etcd.service"
    unit.write_text(unit.read_text().replace("echo etcd", "echo newer"))
    machine.systemctl("restart", "etcd")
    wait_until(lambda: events(machine) == ["etcd", "etcd"], of="the second start")
    machine.systemctl("daemon-reload")
    machine.systemctl("try-restart", "etcd")
    wait_until(lambda: events(machine) == ["etcd", "etcd", "newer"], of="the third start")


def test_what_is_not_there_is_not_found(machine):
    answer = machine.systemctl("start", "nothing")
    assert answer["code"] == 1 and "nothing.service not found" in answer["stderr"]
    assert machine.systemctl("is-active", "nothing")["code"] == 4


def test_a_machine_that_is_switched_off_stops_its_services_and_starts_those_enabled_again(machine):
    machine.systemctl("enable", "--now", "sala")
    machine.admin("POST", "instances/m/poweroff")
    wait_until(lambda: machine.instance("m")["state"] == "STOPPED")
    assert events(machine) == ["etcd", "starts", "stops"]
    machine.admin("POST", "instances/m/start")
    wait_until(lambda: machine.instance("m")["state"] == "RUNNING" and events(machine)[-1] == "starts")


def test_a_machine_can_switch_itself_off_and_boot_itself(machine):
    machine.systemctl("enable", "--now", "sala")
    machine.systemctl("reboot")
    wait_until(lambda: events(machine) == ["etcd", "starts", "stops", "etcd", "starts"], of="the second boot")
    machine.systemctl("poweroff")
    wait_until(lambda: machine.instance("m")["state"] == "STOPPED")


def test_services_that_start_together_keep_their_order_though_neither_needs_the_other(machine):
    for unit in ("late", "early"):
        assert machine.systemctl("enable", unit)["code"] == 0
    assert machine.systemctl("start", "late", "early")["code"] == 0
    wait_until(lambda: events(machine) == ["early", "late"], of="the start of both")
    # What comes last ends first.
    assert machine.systemctl("restart", "early", "late")["code"] == 0
    wait_until(lambda: events(machine) == ["early", "late", "ends", "early", "late"], of="the restart of both")
    machine.systemctl("reboot")
    wait_until(lambda: events(machine)[5:] == ["ends", "early", "late"], of="the second boot")
