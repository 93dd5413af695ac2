"""Waiting for something to become true, with a deadline and a failure that says what was last seen."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

# Enough for a full reconnect on a busy two-core machine; a healthy step takes well under a second.
DEADLINE_S = 20.0
PROBE_EVERY_S = 0.05


async def until(story: str, probe: Callable[[], Any], holds: Callable[[Any], Any] = bool, deadline_s: float = DEADLINE_S) -> Any:
    end = time.monotonic() + deadline_s
    while True:
        seen = probe()
        if inspect.isawaitable(seen):
            seen = await seen
        if holds(seen):
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {story}; last seen: {str(seen)[:1500]}")
        await asyncio.sleep(PROBE_EVERY_S)
