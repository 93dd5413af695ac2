"""The server under test: the one named by SALA_E2E_URL, or a Sala started on free loopback ports for this run."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt

REPOSITORY = Path(__file__).resolve().parents[3]
START_LIMIT_S = 20
STOP_LIMIT_S = 5


@dataclass(frozen=True)
class Server:
    """Where the server is and the key pair it accepts."""

    url: str
    key: str
    secret: str

    @property
    def http(self) -> str:
        return self.url.replace("ws", "http", 1)

    def token(self, identity: str = "backend", *, grants: dict | None = None, ttl_s: int = 600, **claims) -> str:
        """A token written claim by claim, so that a test can also write wrong ones. A claim set to None is left out."""
        now = int(time.time())
        content = {"iss": self.key, "sub": identity, "nbf": now - 10, "exp": now + ttl_s, "video": grants}
        secret = claims.pop("signed_with", self.secret)
        content.update(claims)
        return jwt.encode({name: value for name, value in content.items() if value is not None}, secret, "HS256")

    def join_token(self, room: str, identity: str, *, grants: dict | None = None, **claims) -> str:
        return self.token(identity, grants={"roomJoin": True, "room": room, **(grants or {})}, **claims)


@contextmanager
def server_under_test() -> Iterator[Server]:
    key = os.environ.get("SALA_E2E_API_KEY", "devkey")
    secret = os.environ.get("SALA_E2E_API_SECRET", "secret")
    if named := os.environ.get("SALA_E2E_URL"):
        yield Server(named, key, secret)
        return
    port, udp, tcp = _free_ports(3)
    sala = os.environ.get("SALA_BIN", str(REPOSITORY / "target/release/sala"))
    if not Path(sala).exists():
        raise RuntimeError(f"there is no {sala}: build it with `cargo build --release`, or set SALA_BIN or SALA_E2E_URL")
    command = [sala, "dev", "--port", str(port), "--rtc-udp-port", str(udp), "--rtc-tcp-port", str(tcp)]
    log = (Path(__file__).parents[1] / ".pytest_cache" / "server.log").resolve()
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            _wait_until_healthy(port, process, log)
            yield Server(f"ws://127.0.0.1:{port}", key, secret)
        finally:
            process.terminate()
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_healthy(port: int, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server exited with {process.returncode}; see {log}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the server did not answer 200 on / within {START_LIMIT_S} s; see {log}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in sockets]
    for probe in sockets:
        probe.close()
    return ports
