"""A deployment in the simulated cloud, as `terraform apply` leaves it: everything that the module declares, real processes
on loopback addresses, and what an operator does and sees afterwards."""

import fcntl
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .simulator import COMPARTMENT, NAMESPACE, REGION, ROOT, TENANCY, AdminError, Simulator, wait_until
from .terraform import Deployment

SALA = Path(os.environ.get("SALA_BIN", ROOT / "target/release/sala"))
HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".pytest_cache"
# So many seconds of the cloud go into one: policies that take a minute there take three seconds here.
SCALE = 20.0
# Of a processor of the host, what counts as a whole machine: twenty callers of a load test keep it busy.
CPUS = 0.12
# Lines for `oci:` in the sala.yaml of masters, for scaled time.
PACE = "\\n  cycle: 10s\\n  lock_ttl: 10s\\n  orphan_after: 6s\\n  grace: 5s\\n  hold: 5s"
FUNCTION_PACE = {"GRACE_SECONDS": "5"}

BOOT_LIMIT_S = 240
ENV_LINE = re.compile(r"^(\w+)=(.*)$", re.M)


def ocid(kind: str, name: str) -> str:
    return f"ocid1.{kind}.oc1.fra.{name}"


@dataclass
class Page:
    status: int
    headers: dict
    body: str
    certificate: dict


class Stack:
    """Has a loopback network of its own, whoever else rehearses on this host. `paced`: scaled time for scaling, and a processor of its own for each
    machine. `granted`: machines have their rights from the start. `authority`: root of the ACME authority. `variables`: those of
    Terraform."""

    def __init__(
        self, name: str, *, paced: bool, granted: bool = True, delays: dict | None = None, authority: Path | None = None, **variables
    ) -> None:
        self.name, self.paced, self.granted, self.authority = name, paced, granted, authority
        self._subnet = Subnet()
        subnet = self._subnet.prefix
        self.balancer_ip = f"{subnet}.0.5"
        self.master_ips = [f"{subnet}.0.{10 + n}" for n in range(1, 5)]
        self.deployment = Deployment(
            {"stackName": name, **variables}, region=REGION, tenancy=TENANCY, compartment=COMPARTMENT, namespace=NAMESPACE,
            vault=ocid("vault", name), balancer=ocid("networkloadbalancer", name), generation=f"{time.time_ns():x}",
            masters=[ocid("instance", f"{name}-master-{n}") for n in range(1, 5)], function=ocid("fnfunc", name),
        )
        self.document = self.deployment.iam()
        self.cloud = Simulator({
            "time": {"scale": SCALE}, "delays": delays or {}, "subnetPrefix": f"{subnet}.1",
            "iam": iam(self.document) if granted else {"dynamicGroups": [], "policies": []},
        })
        self.meter = None
        if paced:
            command = [sys.executable, HERE / "meter.py", self.cloud.directory, str(CPUS)]
            self.meter = subprocess.Popen(command)
        self._apply()

    def _apply(self) -> None:
        """What an apply makes before the machines."""
        names = self.deployment.names()
        self.cloud.create(
            buckets=[{"name": self.deployment.bucket(what)} for what in ("appdata", "clusterdata")],
            vaults=[{"displayName": f"{self.name}-vault", "id": self.deployment.vault}],
            networkLoadBalancers=[{
                "displayName": names["balancer"], "id": self.deployment.balancer, "address": self.balancer_ip,
                "listeners": [{"name": name, "port": port} for name, port in self.deployment.public_ports().items()],
                "healthCheck": self.deployment.health_check(),
                "backends": [self.master_name(n) for n in range(1, 5)],
            }],
        )
        for lock, content in self.deployment.locks().items():
            self.cloud.admin("PUT", f"objects/{self.deployment.bucket('clusterdata')}/{lock}", json.loads(content))

    def _machine(self, described: dict) -> dict:
        environment = {"SALA_BIN": str(SALA)}
        if self.paced:
            environment["REHEARSAL_PACE"] = PACE
        return {
            **described, "cpus": CPUS if self.paced else 1.0, "environment": environment,
            "boot": ["/bin/sh", str(HERE / "cloud_init.sh")],
        }

    # What Terraform makes of machines.

    def start_master(self, number: int, **overrides) -> dict:
        described = self.deployment.master(number)
        described["metadata"] |= overrides
        machine = {"id": self.deployment.masters[number - 1], "privateIp": self.master_ips[number - 1]}
        return self.cloud.create(instances=[self._machine({**described, **machine})])[0]

    def start_function(self) -> None:
        names = self.deployment.names()
        config = self.deployment.function_config() | (FUNCTION_PACE if self.paced else {})
        function = {
            "displayName": names["function"], "id": self.deployment.function, "config": config,
            "command": [str(SALA), "oci", "function"], "timeoutSeconds": 120,
        }
        self.cloud.create(applications=[{"displayName": names["application"], "functions": [function]}])

    def start_pool(self, size: int = 1, autoscaling: dict | None = None) -> None:
        pool = self.deployment.pool(self.master_ips)
        pool = {"displayName": pool["displayName"], "size": size, "instance": self._machine(pool["instance"])}
        if autoscaling:
            pool["autoscaling"] = autoscaling
        self.cloud.create(pools=[pool])

    # What is there.

    def master_name(self, number: int) -> str:
        return f"{self.name}-master-node-{number}"

    @property
    def masters(self) -> list[str]:
        return [self.master_name(n) for n in range(1, 5)]

    def pool(self) -> dict:
        return next(pool for pool in self.cloud.state()["pools"])

    def media(self) -> list[dict]:
        """Media instances that have not ended."""
        instances = self.cloud.state()["instances"]
        gone = {"TERMINATING", "TERMINATED"}
        tags = lambda one: one["freeformTags"].get("sala-role")  # noqa: E731
        return [one for one in instances if tags(one) == "media" and one["state"] not in gone]

    def healthy(self) -> list[str]:
        return self.cloud.state()["networkLoadBalancers"][0]["healthy"]

    def file(self, machine: str, path: str) -> Path:
        return Path(self.cloud.instance(machine)["root"] or "/nonexistent") / path.lstrip("/")

    def text(self, machine: str, path: str) -> str:
        file = self.file(machine, path)
        return file.read_text(errors="replace") if file.exists() else ""

    def log(self, machine: str, unit: str) -> str:
        return self.text(machine, f"/var/log/units/{unit}.service.log")

    def logs(self, unit: str, machines: list[str] | None = None) -> str:
        return "\n".join(self.log(machine, unit) for machine in machines or self.masters)

    def env(self, name: str, machine: str | None = None) -> dict:
        """Settings of /opt/openvidu/config/<name>."""
        return dict(ENV_LINE.findall(self.text(machine or self.masters[0], f"/opt/openvidu/config/{name}")))

    def secrets(self) -> dict:
        return self.cloud.admin("GET", "secrets")

    def set_secret(self, name: str, value: str) -> None:
        """As in the console, which waits while a former version is being made."""

        def is_set():
            try:
                self.cloud.admin("PUT", f"secrets/{name}", {"value": value})
            except AdminError as error:
                if error.status == 409:
                    return False
                raise
            return True

        wait_until(is_set, of=f"a new version of {name}")

    def lock(self, name: str = "scalein.lock") -> dict:
        content = self.cloud.admin("GET", f"objects/{self.deployment.bucket('clusterdata')}/{name}", raw=True)
        return json.loads(content)

    def calls_of_function(self) -> list[dict]:
        """Calls with their request and answer, read."""
        calls = self.cloud.admin("GET", "functions")["invoked"]
        for call in calls:
            call["ask"] = json.loads(call["request"])
            call["answer"] = json.loads(call["response"]) if call.get("response") else None
        return calls

    # What an operator does.

    def run(self, machine: str, *command: str, timeout: int = 120) -> dict:
        return self.cloud.run(machine, *command, timeout=timeout)

    def restart(self, machine: str) -> None:
        """As the guide has it."""
        outcome = self.run(machine, "systemctl", "restart", "openvidu")
        assert outcome["code"] == 0, outcome

    def without(self, *ids: str) -> None:
        """Takes policy statements of the present mode away."""
        self.cloud.admin("PUT", "iam", iam(self.document, leave_out=ids))

    def grant(self, fixed: int = 0) -> None:
        """The policies of an apply with so many fixed media nodes; the function is nobody's to call any more then."""
        self.document = self.deployment.iam(fixed)
        self.without()

    def get(self, url: str, *, cafile: Path | str | None = None, timeout: float = 10) -> Page:
        """A page by way of the balancer, whatever its name resolves to. Without `cafile` any certificate will do."""
        scheme, host, path = re.fullmatch(r"(https?)://([^/:]+)(/.*)", url).groups()
        port = 443 if scheme == "https" else 80
        stream = socket.create_connection((self.balancer_ip, port), timeout=timeout)
        certificate = {}
        try:
            if scheme == "https":
                context = ssl.create_default_context(cafile=cafile)
                if cafile is None:
                    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                stream = context.wrap_socket(stream, server_hostname=host)
                certificate = stream.getpeercert() or {}
            request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"  # as a browser
            stream.sendall(request.encode())
            answer = b""
            while part := stream.recv(1 << 16):
                answer += part
        finally:
            stream.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        return Page(int(status.split()[1]), headers, body.decode(errors="replace"), certificate)

    def certificate(self, host: str) -> str:
        """What the balancer shows, as PEM."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def shown() -> str | None:
            # A master that has just stopped resets what the balancer still sends it, and clients try again.
            try:
                with socket.create_connection((self.balancer_ip, 443), timeout=10) as raw:
                    with context.wrap_socket(raw, server_hostname=host) as stream:
                        return ssl.DER_cert_to_PEM_cert(stream.getpeercert(binary_form=True))
            except OSError:
                return None

        return wait_until(shown, of=f"a certificate of {host}")

    # Waiting.

    def await_line(self, machine: str, unit: str, line: str, seconds: float = 60, since: int = 0) -> str:
        """The line of a unit's log in which a text stands."""

        def found():
            return next((one for one in self.log(machine, unit)[since:].splitlines() if line in one), None)

        return wait_until(found, seconds, f"`{line}` in the log of {unit} on {machine}")

    def await_serving(self, seconds: float = BOOT_LIMIT_S, count: int = 4) -> None:
        wait_until(lambda: len(self.healthy()) >= count, seconds, f"{count} healthy masters behind the balancer")

    def await_trusted(self, seconds: float = 90) -> None:
        """The page has the authority's certificate, whichever master the balancer picks."""

        def trusted():
            try:
                url = self.env("openvidu.env")["OPENVIDU_URL"]
                return all(self.get(url, cafile=self.authority).status == 200 for _ in range(8))
            except (KeyError, OSError):
                return False

        wait_until(trusted, seconds, "the authority's certificate")

    def stop(self) -> None:
        self.keep_logs()
        if self.meter:
            self.meter.terminate()
            self.meter.wait(10)
        self.cloud.stop()
        self._subnet.give_back()

    def keep_logs(self) -> None:
        """All machines' logs, for who looks for the reason of a failure."""
        place = CACHE / self.name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        machines = self.cloud.directory / "machines"
        for file in [*machines.glob("*/root/var/log/**/*"), *machines.glob("*/root/var/lib/sala/boot.json")]:
            if file.is_file():
                machine = file.relative_to(machines).parts[0]
                shutil.copyfile(file, place / f"{machine}.{file.name}")
        for file in [self.cloud.log, self.cloud.directory / "functions" / "log"]:
            if file.exists():
                shutil.copyfile(file, place / f"cloud-{file.name}")


class Subnet:
    """127.N/16, locked for as long as this process has it."""

    def __init__(self) -> None:
        for number in range(20, 120):
            self._file = open(f"/tmp/sala-rehearsal-127.{number}.lock", "w")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                continue
            self.prefix = f"127.{number}"
            return
        raise RuntimeError("a hundred deployments are rehearsed on this host already")

    def give_back(self) -> None:
        self._file.close()


def iam(document: dict, leave_out: tuple[str, ...] = ()) -> dict:
    """As the simulator wants it."""
    known = {statement["id"] for policy in document["policies"] for statement in policy["statements"]}
    assert set(leave_out) <= known, f"{set(leave_out) - known} are no statements"
    return {
        "dynamicGroups": document["dynamicGroups"],
        "policies": [
            {
                "name": policy["name"],
                "statements": [s["text"] for s in policy["statements"] if s["id"] not in leave_out],
            }
            for policy in document["policies"]
        ],
    }
