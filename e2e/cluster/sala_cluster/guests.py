"""Two headless Chromiums with the JavaScript SDK who join a meeting of Python participants (e2e/browser/cluster/guests.ts)."""

import asyncio
import json
import os
import time
from dataclasses import dataclass

from sala_e2e.server import REPOSITORY

from sala_e2e.waiting import until

from .cluster import Cluster

PLACE = REPOSITORY / "e2e/browser"
READY_LIMIT_S = 60
ANSWER_LIMIT_S = 30
MAX_LINE_BYTES = 1 << 20


@dataclass
class Noticed:
    """What the browsers saw in a span of time."""

    longest_gap_s: float
    # Identities of whom no picture came in that span, or who are not there.
    unseen: list[str]
    # Identities of those who are said to have left.
    left: list[str]
    # Those of the two who still reconnect.
    busy: list[str]


class Guests:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        # All who were said to have left, so far.
        self.left: list[str] = []

    @classmethod
    async def join(cls, cluster: Cluster, room: str, others: int) -> "Guests":
        """Returns when both see `others` and each other."""
        environment = {
            **os.environ,
            "SALA_E2E_URL": cluster.server.url,
            "SALA_E2E_API_KEY": cluster.server.key,
            "SALA_E2E_API_SECRET": cluster.server.secret,
        }
        await _build()
        pipe = asyncio.subprocess.PIPE
        words = ["node", "build/guests.js", room, str(others + 1)]
        guests = cls(
            await asyncio.create_subprocess_exec(*words, cwd=PLACE, env=environment, stdin=pipe, stdout=pipe, limit=MAX_LINE_BYTES)
        )
        assert await guests._line(READY_LIMIT_S) == {"ready": True}
        return guests

    async def noticed(self, since: float, to: float) -> Noticed:
        """In a span of this process's monotonic clock."""
        unix_ms = lambda at: (time.time() - time.monotonic() + at) * 1000  # noqa: E731
        answer = await self._ask({"since_ms": unix_ms(since), "to_ms": unix_ms(to)})
        self.left += answer["left"]
        return Noticed(answer["gap_ms"] / 1000, answer["unseen"], answer["left"], answer["busy"])

    async def goes_on(self) -> None:
        """Both see everybody, from now on."""
        now = time.monotonic()

        async def silent() -> bool:
            return (await self.noticed(now, time.monotonic())).unseen

        try:
            await until("the browsers see everybody", silent, lambda unseen: not unseen)
        except AssertionError:
            print((await self._ask("report"))["report"])
            raise

    async def settled(self) -> None:
        """No SDK is in the middle of a resume, which takes `livekit-client` two seconds after pictures are back: each time
        that it loses its server meanwhile it waits longer, whatever the server."""

        async def busy() -> list[str]:
            now = time.monotonic()
            return (await self.noticed(now, now)).busy

        await until("the browsers have resumed", busy, lambda still: not still)

    async def _ask(self, question: object) -> dict:
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        return await self._line(ANSWER_LIMIT_S)

    async def leave(self) -> None:
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), ANSWER_LIMIT_S)
        except TimeoutError:
            self._process.kill()

    async def _line(self, limit_s: float) -> dict:
        line = await asyncio.wait_for(self._process.stdout.readline(), limit_s)
        if not line:
            raise RuntimeError("the browsers ended; what they said is above")
        return json.loads(line)


async def _build() -> None:
    build = await asyncio.create_subprocess_exec("npm", "run", "--silent", "build", cwd=PLACE)
    assert await build.wait() == 0
