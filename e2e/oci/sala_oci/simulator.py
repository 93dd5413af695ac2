"""The simulated cloud as a process, and its admin API."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = pathlib.Path(os.environ.get("OCI_SIMULATOR_BIN", ROOT / "target/debug/oci-simulator"))

TENANCY = "ocid1.tenancy.oc1..sala"
COMPARTMENT = "ocid1.compartment.oc1..stack"
NAMESPACE = "salans"
REGION = "eu-frankfurt-1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, seconds: float = 20.0, of: str = "it"):
    """The first true value of `what()`. Polls, because the cloud cannot call."""
    deadline = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, f"{of} has not come about within {seconds} s"
        time.sleep(0.02)


class AdminError(Exception):
    def __init__(self, status: int, text: str):
        super().__init__(f"{status}: {text}")
        self.status = status


class Simulator:
    """A running cloud. `config` is the document of crates/oci-simulator/src/config.rs, without addresses."""

    def __init__(self, config: dict):
        self.port, self.admin_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # Short, for the sockets below it.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="oci-", dir="/tmp"))
        self.log = self.directory.with_suffix(".log")
        document = {
            "listen": f"127.0.0.1:{self.port}",
            "adminListen": f"127.0.0.1:{self.admin_port}",
            "stateDir": str(self.directory),
            "region": REGION,
            "tenancy": {"id": TENANCY, "namespace": NAMESPACE},
            "compartments": [{"id": COMPARTMENT, "name": "stack"}],
        } | config
        file = self.directory.with_suffix(".json")
        file.write_text(json.dumps(document))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([BINARY, "serve", "--config", file], stderr=log)
        file_gone = contextlib.suppress(FileNotFoundError)
        wait_until(self._is_up, of="the simulator's start")
        with file_gone:
            file.unlink()

    def _is_up(self) -> bool:
        assert self.process.poll() is None, f"the simulator has ended:\n{self.log.read_text()}"
        with contextlib.suppress(OSError):
            self.admin("GET", "state")
            return True
        return False

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.directory, ignore_errors=True)

    def admin(self, method: str, path: str, body=None, raw: bool = False):
        """Calls `/sim/<path>`."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin_port}/sim/{path}", data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            raise AdminError(error.code, error.read().decode()) from None
        return content if raw else json.loads(content)

    def state(self) -> dict:
        return self.admin("GET", "state")

    def instance(self, name: str) -> dict:
        """The newest instance of that name or OCID."""
        found = [one for one in self.state()["instances"] if name in (one["displayName"], one["id"])]
        assert found, f"there is no instance {name}"
        return found[-1]

    def create(self, **resources) -> list:
        return self.admin("POST", "resources", resources)["created"]

    def run(self, instance: str, *argv: str, timeout: int = 60) -> dict:
        return self.admin("POST", f"instances/{instance}/run", {"argv": list(argv), "timeoutSeconds": timeout})

    def calls(self, operation: str | None = None, since: int = 0) -> list:
        query = f"calls?since={since}" + (f"&operation={operation}" if operation else "")
        return self.admin("GET", query)["calls"]

    def fault(self, operation: str, fault: dict, **conditions) -> int:
        return self.admin("POST", "faults", {"operation": operation, "fault": fault, **conditions})["id"]

    def advance(self, seconds: float):
        self.admin("PUT", "time", {"advanceSeconds": seconds})
