"""`sala load-test` beside the stock clients: many rooms, of which it tells what everybody in them experienced."""

import asyncio
import itertools
import json
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass

from .cluster import Cluster, sala
from .limits import FIGURES

END_LIMIT_S = 60
_loads = itertools.count(1)


@dataclass
class Load:
    """Ends at the end of the block; then `report` is what `--json` prints (docs/load-test.md)."""

    report: dict
    # Names of its rooms begin with it.
    prefix: str

    @property
    def rooms_gap_p95_s(self) -> float:
        return self.report["room_gap"]["p95_ms"] / 1000

    def assert_nobody_was_lost(self) -> None:
        # On a busy machine a client may miss the time in which it can resume.
        patience = 0 if FIGURES else self.report["participants"] // 5
        limits = {"joins_failed": 0, "rejoins": patience, "departures_seen": patience * 3, "messages_lost": patience * 3}
        for what, limit in limits.items():
            assert self.report[what] <= limit, f"{what}: {self.report[what]} {self.report['errors']}"
        assert self.report["messages_sent"] > 0 and self.report["messages_received"] > 0

    def summary(self) -> str:
        gaps = self.report["room_gap"]
        return (
            f"{self.report['joins']} joins, {self.report['resumes']} resumed, worst gap of each room "
            f"p50 {gaps['p50_ms']:.0f} ms, p95 {gaps['p95_ms']:.0f} ms, max {gaps['max_ms']:.0f} ms"
        )


@asynccontextmanager
async def load(cluster: Cluster, *, rooms: int, publishers: int, subscribers: int, churn_per_s: float = 0.0):
    """Returns when all rooms are there."""
    server = cluster.server
    words = ["load-test", "--json", "--url", server.url, "--api-key", server.key, "--api-secret", server.secret]
    # Rooms of its own: when a test fails its callers end without a farewell, and those of the next would see them leave.
    prefix = f"load-{next(_loads)}"
    words += ["--prefix", prefix, "--rooms", str(rooms), "--publishers", str(publishers), "--subscribers", str(subscribers)]
    words += ["--churn-per-s", str(churn_per_s), "--ramp", "5s", "--duration", "1h"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sala(), *words, stdout=pipe, stderr=pipe)
    running = Load({}, prefix)
    try:
        names = {f"{prefix}-{number}" for number in range(rooms)}
        served = lambda status: names <= {room["room"] for room in status["rooms"]}  # noqa: E731
        await cluster.wait(f"{rooms} rooms of the load are there", served, 60)
        yield running
        process.send_signal(signal.SIGINT)
        told, complaints = await asyncio.wait_for(process.communicate(), END_LIMIT_S)
        assert told, complaints.decode()
        running.report.update(json.loads(told))
    finally:
        if process.returncode is None:
            process.kill()
