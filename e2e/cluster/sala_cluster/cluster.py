"""A cluster of real processes: `sala cluster up`, and the commands that break it."""

import asyncio
import json
import os
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sala_e2e.server import REPOSITORY, Server
from sala_e2e.waiting import until

from .webhooks import Receiver


def _can_cut() -> bool:
    """Whether this machine lets root make network namespaces, and has what cuts cables. Containers often do not."""
    probe = "ip netns add sala-probe && ip netns delete sala-probe && nft list tables"
    return subprocess.run(probe, shell=True, capture_output=True, check=False).returncode == 0


START_LIMIT_S = 60
STOP_LIMIT_S = 15
WHOLE_LIMIT_S = 40
# Namespaces need root; without it the tests that cut cables are skipped.
NAMESPACES = os.geteuid() == 0 and _can_cut()
MAX_ANSWER_BYTES = 4 << 20


def sala() -> str:
    binary = os.environ.get("SALA_BIN", str(REPOSITORY / "target/release/sala"))
    if not Path(binary).exists():
        raise RuntimeError(f"there is no {binary}: build it with `cargo build --release`, or set SALA_BIN")
    return binary


class NotDraining(RuntimeError):
    pass


@dataclass
class Cluster:
    """Speaks to the control socket, as `sala cluster …` does, but without a process for each command: so that the
    moment of a fault is known well."""

    home: Path
    webhooks: Receiver
    server: Server = field(init=False)

    def __post_init__(self) -> None:
        settings = dict(re.findall(r"export (\w+)=(.*)", (self.home / "environment").read_text()))
        url = settings["LIVEKIT_URL"].replace("http", "ws", 1)
        self.server = Server(url, settings["LIVEKIT_API_KEY"], settings["LIVEKIT_API_SECRET"])

    async def command(self, command: str, **details) -> dict:
        reader, writer = await asyncio.open_unix_connection(self.home / "control.sock", limit=MAX_ANSWER_BYTES)
        writer.write(json.dumps({"command": command, **details}).encode() + b"\n")
        answer = json.loads(await reader.readline())
        writer.close()
        if not answer["ok"]:
            raise RuntimeError(f"{command} {details}: {answer['message']}")
        return answer

    async def kill(self, target: str) -> None:
        await self.command("kill", target=target)

    async def stop(self, target: str) -> None:
        await self.command("stop", target=target)

    async def cont(self, target: str) -> None:
        await self.command("cont", target=target)

    async def term(self, target: str) -> None:
        await self.command("term", target=target)

    async def restart(self, target: str) -> None:
        await self.command("restart", target=target)

    async def partition(self, host: str, *others: str) -> None:
        await self.command("partition", host=host, **{"from": list(others)})

    async def loss(self, host: str, percent: int = 90) -> None:
        await self.command("loss", host=host, percent=percent)

    async def heal(self, host: str) -> None:
        await self.command("heal", host=host)

    async def drain(self, node: str, deadline_s: float = 60) -> None:
        await self.command("drain", node=node, deadline_ms=int(deadline_s * 1000))

    async def drain_cancel(self, node: str) -> None:
        try:
            await self.command("drain_cancel", node=node)
        except RuntimeError as error:
            raise NotDraining(node) if "is not draining" in str(error) else error from error

    async def status(self) -> dict:
        return (await self.command("status"))["status"]

    async def media(self, name: str) -> dict:
        return next(node for node in (await self.status())["media"] if node["name"] == name)

    async def owner(self, room: str, other_than: str | None = None) -> str:
        """The node that serves a room, as the masters say."""

        async def node() -> str | None:
            rooms = (await self.status())["rooms"]
            return next((line["node"] for line in rooms if line["room"] == room and line["node"] != other_than), None)

        return await until(f"masters know who serves {room}", node)

    async def wait(self, story: str, holds: Callable[[dict], object], deadline_s: float = 20) -> dict:
        """Until the status is as wished."""
        return await until(story, self.status, holds, deadline_s)

    async def whole(self) -> None:
        """Every process runs, cables are whole, the store has a leader, and masters know all media nodes."""
        status = await self.status()
        ended = []
        for host in status["masters"] + status["media"]:
            name = host["name"]
            processes = [host["sala"]] + ([host["etcd"]] if "etcd" in host else [])
            if host.get("fault"):
                await self.heal(name)
            if any(process["state"] == "stopped" for process in processes):
                await self.cont(name)
            if any(process["state"] == "ended" for process in processes):
                ended.append(name)
        # All at once: a master is not ready before most of them run.
        await asyncio.gather(*map(self.restart, ended))
        await self.wait("the store has a quorum", lambda status: status["store_leader"], WHOLE_LIMIT_S)
        for node in (await self.status())["media"]:
            if node["state"] == "draining":
                # It may have ended by itself meanwhile.
                with suppress(NotDraining):
                    await self.drain_cancel(node["name"])
        await self.wait(
            "the cluster is whole",
            lambda status: status["store_quorum"]
            and all(master["balanced"] for master in status["masters"])
            and all(node["state"] == "serving" for node in status["media"]),
            WHOLE_LIMIT_S,
        )

    def events(self) -> list[dict]:
        lines = (self.home / "events.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def assert_no_split(self) -> None:
        """No epoch of a room was ever told of two nodes."""
        served: dict[tuple[str, str], str] = {}
        for event in self.events():
            if told := re.fullmatch(r"room (\S+) moved \S+ → (\S+), epoch (\S+?)(?:, \d+ ms)?", event["text"]):
                room, node, epoch = told.groups()
                assert served.setdefault((room, epoch), node) == node, f"{room} had two nodes at epoch {epoch}"


class PacketCount:
    """Counts the UDP packets that leave a host, on its cable's other end (namespaces only)."""

    def __init__(self, host: str) -> None:
        self._rule = (
            f'table netdev sala_count {{ chain out {{ type filter hook ingress device "sala-v-{host}" priority 10; '
            "meta l4proto udp counter; }; }\n"
        )

    def __enter__(self) -> "PacketCount":
        subprocess.run(["nft", "-f", "-"], input=self._rule, text=True, check=True)
        return self

    def packets(self) -> int:
        listed = subprocess.run(["nft", "list", "table", "netdev", "sala_count"], capture_output=True, text=True, check=True)
        return int(re.search(r"packets (\d+)", listed.stdout)[1])

    def __exit__(self, *_: object) -> None:
        subprocess.run(["nft", "delete", "table", "netdev", "sala_count"], check=False)


@asynccontextmanager
async def cluster_up(masters: int = 4, media: int = 3) -> AsyncIterator[Cluster]:
    cache = (Path(__file__).parents[1] / ".pytest_cache").resolve()
    cache.mkdir(exist_ok=True)
    log = cache / "cluster.log"
    with tempfile.TemporaryDirectory(prefix="sala-") as place:
        home = Path(place) / "c"
        command = [sala(), "cluster", "up", "--plain", "--dir", str(home), "--masters", str(masters), "--media", str(media)]
        command += ["--netns"] if NAMESPACES else []
        webhooks = Receiver()
        # Of this machine, as the nodes see it: the bridge between their namespaces, or loopback.
        command += ["--webhook", f"http://{'10.77.0.1' if NAMESPACES else '127.0.0.1'}:{webhooks.port}/"]
        command += os.environ.get("SALA_E2E_CLUSTER_OPTIONS", "").split()
        with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
            try:
                await _started(process, log)
                yield Cluster(home, webhooks)
            finally:
                process.terminate()
                try:
                    process.wait(STOP_LIMIT_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                webhooks.close()
                _keep_logs(home, cache / "nodes")


async def _started(process: subprocess.Popen, log: Path) -> None:
    def ready() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the cluster did not start:\n{log.read_text()}")
        return "sala cluster env" in log.read_text()

    await until(f"the cluster starts (see {log})", ready, deadline_s=START_LIMIT_S)


def _keep_logs(home: Path, place: Path) -> None:
    place.mkdir(exist_ok=True)
    for file in [*(home / "logs").glob("*.log"), home / "events.jsonl"]:
        if file.exists():
            (place / file.name).write_bytes(file.read_bytes())
