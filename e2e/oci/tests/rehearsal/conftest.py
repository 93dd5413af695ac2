"""Fixtures: whole deployments, and calls of the stock SDK in them. A deployment is made when a test first wants it and
serves all tests that can share it."""

import itertools
import os
import random
import time

import pytest

from sala_cluster.viewer import Call, Viewer
from sala_e2e.server import Server
from sala_oci.pebble import Pebble
from sala_oci.report import note
from sala_oci.simulator import wait_until
from sala_oci.stack import CACHE, Stack

_rooms = itertools.count(1)

if os.geteuid() != 0:
    pytest.skip("the rehearsal uses ports 80 and 443 and mounts: it needs root", allow_module_level=True)


@pytest.fixture(scope="session")
def measure():
    """`measure("what", seconds)`: a figure for the end of the report."""

    def figure(what: str, value) -> None:
        note(f"{what}: {value:.1f} s" if isinstance(value, float) else f"{what}: {value}")

    return figure


@pytest.fixture(scope="session")
def new_stack():
    """`new_stack(name, …)`: a deployment that ends with the run, whatever happens."""
    running = []

    def begin(*arguments, **options) -> Stack:
        running.append(Stack(*arguments, **options))
        return running[-1]

    yield begin
    for stack in running:
        stack.stop()


@pytest.fixture(scope="session")
def pebble():
    CACHE.mkdir(exist_ok=True)
    running = Pebble(CACHE / "pebble.log")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def plain(new_stack, measure):
    """A deployment with a self-signed certificate for the balancer's address, in which nothing but the cloud's own delays
    is scaled."""
    stack = new_stack(
        "plain", paced=False, granted=False, certificateType="selfsigned", additionalInstallFlags="--certificate-for=ip",
        initialMeetAdminPassword="First-Password_1", initialMeetApiKey="first-key",
    )
    boot(stack, measure)
    return stack


@pytest.fixture(scope="session")
def elastic(new_stack, pebble, measure):
    """A deployment with certificates of an ACME authority and scaled time, in which media nodes come and go."""
    stack = new_stack(
        "elastic", paced=True, certificateType="letsencrypt", acmeDirectoryUrl=pebble.directory,
        additionalInstallFlags=f"--certificate-for=ip, --acme-ca-file={pebble.ca_file}", maxNumberOfMediaNodes=3,
        scaleTargetCPU=40, authority=pebble.root_file,
    )
    boot(stack, measure)
    return stack


def boot(stack: Stack, measure, pool: bool = True, autoscaling: dict | None = None) -> None:
    """`terraform apply`: the masters in any order, then the function, then the pool."""
    numbers = [1, 2, 3, 4]
    random.shuffle(numbers)
    begun = time.monotonic()
    for number in numbers:
        stack.start_master(number)
    if pool:
        stack.start_function()
        stack.start_pool(1, autoscaling)
    if not stack.granted:
        # The masters' dynamic group names them, so Terraform makes it after them.
        waiting = lambda: "waiting for access to the Vault" in stack.logs("sala-boot")  # noqa: E731
        wait_until(waiting, 60, "masters that wait for their rights")
        stack.grant()
    stack.await_serving()
    measure(f"{stack.name}: apply to four healthy masters (order {numbers})", time.monotonic() - begun)
    if stack.authority:
        stack.await_trusted()
        measure(f"{stack.name}: apply to a page with the authority's certificate", time.monotonic() - begun)


@pytest.fixture
def room_name():
    return f"rehearsal-{os.getpid()}-{next(_rooms)}"


@pytest.fixture
def sdk(tmp_path):
    """`sdk(stack)`: what an SDK needs: LIVEKIT_URL and key from openvidu.env, and trust in the certificate."""

    def server(stack: Stack) -> Server:
        env = stack.env("openvidu.env")
        trusted = tmp_path / "trusted.pem"
        host = env["LIVEKIT_URL"].split("//")[1].strip("/")
        root = stack.authority.read_text() if stack.authority else ""
        trusted.write_text(root + stack.certificate(host))
        os.environ["SSL_CERT_FILE"] = str(trusted)
        return Server(env["LIVEKIT_URL"].rstrip("/"), env["LIVEKIT_API_KEY"], env["LIVEKIT_API_SECRET"])

    yield server
    os.environ.pop("SSL_CERT_FILE", None)


@pytest.fixture
async def call(sdk, room_name):
    """`await call(stack, 2)`: so many members in a room, who all publish and all see each other."""
    viewers = []

    async def begin(stack: Stack, count: int = 2) -> Call:
        server = sdk(stack)
        fresh = [Viewer(f"member-{n}") for n in range(count)]
        viewers.extend(fresh)
        for viewer in fresh:
            await viewer.join(server, room_name)
            await viewer.publish()
        begun = Call(fresh)
        await begun.goes_on(60)
        return begun

    yield begin
    for viewer in viewers:
        await viewer.leave()

