"""A reader's dry run: docs/deploy/oracle-ha.md from "After the deployment" on, with its own names, files and commands."""

import re

from sala_oci import guide
from sala_oci.simulator import wait_until


def test_after_the_deployment_url_opens_the_page(plain):
    text = guide.section("After the deployment")
    assert "`url`" in text and "Then `url` opens the meeting page" in text.replace("\n", " ")
    page = plain.get(f"https://{plain.balancer_ip}/")
    assert page.status == 200 and page.headers["content-type"].startswith("text/html")


def test_credentials_are_where_the_guide_says_and_as_it_says(plain):
    secrets = plain.secrets()
    settings = guide.settings()
    assert len(settings) == 7, settings
    for master in plain.masters:
        found: dict[str, str] = {}
        for path in guide.files():
            shown = plain.run(master, "cat", str(plain.file(master, path)))
            assert shown["code"] == 0, shown
            found |= dict(re.findall(r"^(\w+)=(.*)$", shown["stdout"], re.M))
        assert settings.keys() <= found.keys(), settings.keys() - found.keys()
        domain = found["OPENVIDU_URL"].removeprefix("https://").removesuffix("/")
        for name, meaning in settings.items():
            if shape := guide.CODE.search(meaning):
                assert found[name] == shape[1].replace("<domain>", domain), (name, meaning)
    # In the Vault, a secret per setting.
    assert settings.keys() <= secrets.keys()
    assert secrets["OPENVIDU_URL"] == found["OPENVIDU_URL"]


def test_the_machines_have_the_names_of_the_guide(plain):
    named = guide.CODE.findall(guide.GUIDE.read_text().split("## Prerequisites")[0])
    names = {name.replace("<stackName>", plain.name) for name in named}
    assert {"plain-master-node-1", "plain-media-pool"} <= names
    assert plain.cloud.instance("plain-master-node-1")["state"] == "RUNNING"
    assert plain.pool()["displayName"] in names


def test_every_place_to_look_at_shows_something(plain):
    plain.await_serving()
    media = wait_until(lambda: plain.media(), of="a media node")[0]["id"]
    looks = guide.looks()
    assert len(looks) == 5, looks
    for program, *arguments in looks:
        machine = media if "sala-drain-watch" in arguments else plain.masters[0]
        there = [str(plain.file(machine, word)) if word.startswith("/") else word for word in arguments]
        shown = lambda: plain.run(machine, program, *there)["stdout"].strip()  # noqa: E731
        text = wait_until(lambda: (seen := shown()) and seen != "-- No entries --" and seen, 90, f"{program} {arguments}")
        assert text


def test_the_checks_of_an_upgrade_answer(plain):
    text = guide.section("Upgrades")
    assert "`curl https://<domain>/healthz`" in text and "`systemctl is-active sala`" in text
    plain.await_serving()
    assert plain.get(f"https://{plain.balancer_ip}/healthz").status == 200
    for master in plain.masters:
        assert plain.run(master, "systemctl", "is-active", "sala")["stdout"].strip() == "active"


def test_the_command_to_apply_a_change_starts_the_boot_again(plain):
    command = re.search(r"`sudo (systemctl restart \w+)`", guide.section("Changing the configuration"))[1]
    master = plain.masters[3]
    since = len(plain.log(master, "sala-boot"))
    assert plain.run(master, *command.split())["code"] == 0
    plain.await_line(master, "sala-boot", "deployment", since=since)
    plain.await_serving(120)


def test_a_flag_that_is_not_known_is_refused_with_the_line_of_the_guide(plain):
    master = plain.masters[3]
    metadata = plain.cloud.instance(master)["metadata"]
    since = len(plain.log(master, "sala-boot"))
    plain.cloud.admin("PUT", f"instances/{master}/metadata", metadata | {"additionalInstallFlags": "--turn-domain-name=x.org"})
    try:
        plain.restart(master)
        line = plain.await_line(master, "sala-boot", "is not known; known are", since=since)
        assert guide.is_promised("sala-boot", line)
        assert plain.run(master, "systemctl", "is-active", "sala")["stdout"].strip() in ("active", "activating")
        plain.await_serving(60)
    finally:
        plain.cloud.admin("PUT", f"instances/{master}/metadata", metadata)
    plain.restart(master)
    plain.await_serving(120)
