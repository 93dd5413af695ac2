"""The container's image, without its registries: what its last stage puts together is put together here of this
machine's files, and run as the image says, as its user and with nothing else in sight.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BINARY = Path(os.environ["SALA_BIN"])
PATIENCE = 60

# What gcr.io/distroless/cc-debian12 has of libraries (packages libc6, libgcc-s1, libgomp1, libstdc++6, libssl3).
IN_THE_BASE = re.compile(r"(libc|libm|libdl|librt|libpthread|libgcc_s|ld-linux[-a-z0-9_]*)\.so")


def stages():
    """The Containerfile's instructions, by stage."""
    text = re.sub(r"\\\n\s*", "", (HERE / "Containerfile").read_text())
    found = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        instruction, rest = line.split(maxsplit=1)
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, rest))
    return found


def the(instruction):
    return [rest for name, rest in stages()[-1] if name == instruction]


def test_what_is_copied_from_the_repository_is_there():
    for stage in stages():
        for instruction, rest in stage:
            if instruction == "COPY" and "--from" not in rest:
                for source in rest.split()[:-1]:
                    assert (ROOT / source).exists(), source


def libraries():
    listed = subprocess.run(["ldd", BINARY], capture_output=True, text=True, check=True).stdout
    return [Path(path) for path in re.findall(r"(/\S+\.so\S*)", listed)]


def test_the_binary_needs_no_library_that_the_base_image_lacks():
    assert libraries()
    for library in libraries():
        assert IN_THE_BASE.match(library.name), library


@pytest.mark.skipif(os.geteuid() != 0, reason="a root directory of its own needs root")
def test_the_image_serves_as_its_user_with_the_configuration_beside_it(tmp_path):
    image = tmp_path / "image"
    shutil.copytree(HERE, image / "etc/sala", ignore=shutil.ignore_patterns("*.py", "Containerfile*", "README*", "__pycache__"))
    for library in libraries():
        target = image / str(library).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    (image / "usr/bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(BINARY, image / "usr/bin/sala")
    user = the("USER")[0]
    uid, gid = map(int, user.split(":"))
    state = image / the("WORKDIR")[0].lstrip("/")
    state.mkdir(parents=True)
    shutil.chown(state, uid, gid)

    held = [socket.socket() for _ in range(3)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    config = (image / "etc/sala/sala.yaml").read_text()
    for exposed, port in zip(re.findall(r"(\d+)/(?:tcp|udp)", the("EXPOSE")[0]), ports, strict=True):
        assert exposed in config, "what is exposed is what is configured"
        config = config.replace(exposed, str(port))
    (image / "etc/sala/sala.yaml").write_text(config)
    keys = subprocess.run([BINARY, "keys", "generate"], capture_output=True, text=True, check=True).stdout
    for name, text in (("keys.yaml", keys), ("admin-password", "a long password")):
        path = image / "etc/sala" / name
        path.write_text(text)
        path.chmod(0o640)
        shutil.chown(path, 0, gid)
    (image / "run").mkdir()
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(image / "run/notify"))
    (image / "run/notify").chmod(0o777)
    notify.settimeout(PATIENCE)

    command = json.loads(the("ENTRYPOINT")[0]) + json.loads(the("CMD")[0])
    server = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "chroot", f"--userspec={user}", image, *command],
        env={"NOTIFY_SOCKET": "/run/notify", "PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    try:
        assert "READY=1" in notify.recv(4096).decode()
        page = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=PATIENCE)
        page.request("GET", "/", headers={"Accept": "text/html"})
        answer = page.getresponse()
        assert answer.status == 200 and b"<html" in answer.read().lower()
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE) == 0
    finally:
        server.kill()
