"""A stock SDK participant that notes when each picture of each other participant arrives."""

import asyncio
import contextlib
import itertools
import time
from collections import defaultdict

import numpy as np
from livekit import rtc

from sala_e2e.member import Member
from sala_e2e.waiting import until

WIDTH, HEIGHT, FPS = 160, 96, 30
# Between two tries to tell something while servers die.
TELL_INTERVAL_S = 0.1


class Viewer(Member):
    """Publishes small pictures at 30 a second, and watches everybody else's."""

    def __init__(self, identity: str) -> None:
        super().__init__(identity)
        self.arrivals: dict[str, list[float]] = defaultdict(list)
        self._watching: set[asyncio.Task] = set()

    async def join(self, server, room, options=None, **token) -> "Viewer":
        self.room.on("track_subscribed", self._watch)
        await super().join(server, room, options, grants={"canUpdateOwnMetadata": True}, **token)
        return self

    async def publish(self) -> None:
        source = rtc.VideoSource(WIDTH, HEIGHT)
        self._players.append(asyncio.create_task(_play(source)))
        track = rtc.LocalVideoTrack.create_video_track("flicker", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA, simulcast=False)
        await self.local.publish_track(track, options)

    def _watch(self, track: rtc.Track, _publication, participant: rtc.RemoteParticipant) -> None:
        if track.kind != rtc.TrackKind.KIND_VIDEO:
            return
        watching = asyncio.create_task(self._note(track, participant.identity))
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)

    async def _note(self, track: rtc.Track, identity: str) -> None:
        stream = rtc.VideoStream(track)
        try:
            async for _ in stream:
                self.arrivals[identity].append(time.monotonic())
        finally:
            await stream.aclose()

    def sees(self, identity: str, since: float) -> bool:
        return bool(self.arrivals[identity]) and self.arrivals[identity][-1] > since

    def back_after(self, identity: str, since: float) -> float | None:
        """Seconds from a fault to the end of the longest silence after it."""
        times = [at for at in self.arrivals[identity] if at >= since - 1]
        gaps = [(after - before, after) for before, after in zip(times, times[1:]) if after > since]
        return max(gaps)[1] - since if gaps else None

    def longest_gap(self, identity: str, since: float, to: float) -> float:
        """The longest time without a picture in a span, its ends included."""
        return self.longest_gap_and_when(identity, since, to)[0]

    def longest_gap_and_when(self, identity: str, since: float, to: float) -> tuple[float, float]:
        times = [since, *(at for at in self.arrivals[identity] if since <= at <= to), to]
        return max((after - before, before) for before, after in zip(times, times[1:]))

    async def leave(self) -> None:
        await super().leave()
        for watching in list(self._watching):
            watching.cancel()


async def _patiently(change) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(change, TELL_INTERVAL_S)


async def _play(source: rtc.VideoSource) -> None:
    frame = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    began, count = time.monotonic(), 0
    while True:
        frame[..., :3] = (count * 7) % 200 + 20
        source.capture_frame(rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.RGBA, frame.tobytes()))
        count += 1
        await asyncio.sleep(max(0.0, began + count / FPS - time.monotonic()))


class Call:
    """Some viewers in one room, who all see each other."""

    def __init__(self, viewers: list[Viewer]) -> None:
        self.viewers = viewers

    def pairs(self) -> list[tuple[Viewer, str]]:
        return [(one, other.identity) for one in self.viewers for other in self.viewers if one is not other]

    async def goes_on(self, deadline_s: float = 20) -> None:
        """Everybody sees everybody, from now on."""
        now = time.monotonic()
        missing = lambda: [f"{one.identity} sees {other}" for one, other in self.pairs() if not one.sees(other, now)]  # noqa: E731
        await until("everybody sees everybody", missing, lambda absent: not absent, deadline_s)

    async def settled(self, deadline_s: float = 20) -> None:
        """No SDK is in the middle of a resume. One that loses its server again meanwhile begins anew, whatever the server."""

        def busy() -> list[str]:
            count = lambda one, event: sum(name == event for name, _ in one.events)  # noqa: E731
            return [one.identity for one in self.viewers if count(one, "reconnecting") > count(one, "reconnected")]

        await until("all have resumed", busy, lambda still: not still, deadline_s)

    def longest_gap(self, since: float, to: float) -> float:
        gaps = [(one.longest_gap_and_when(other, since, to), one.identity, other) for one, other in self.pairs()]
        (gap, when), one, other = max(gaps)
        print(f"longest gap {gap:.2f} s, {when - since:.1f} s after the fault: {one} did not see {other}")
        return gap

    def back_after(self, since: float) -> float:
        """Seconds from a fault until the last pair had pictures again."""
        return max(one.back_after(other, since) or float("inf") for one, other in self.pairs())

    async def messages_pass(self, topic: str) -> None:
        """Signalling works: a change of the first one's attributes reaches all others. It is told again and again: what
        was written to a server in the moment of its death is lost, as with any server."""
        first, *others = self.viewers

        def told() -> list[str]:
            seen = lambda one: one.room.remote_participants.get(first.identity)  # noqa: E731
            return [one.identity for one in others if not seen(one) or seen(one).attributes.get("topic") != topic]

        telling = asyncio.create_task(self._tell(topic))
        try:
            await until(f"attributes {topic} reach everybody", told, lambda late: not late)
        finally:
            telling.cancel()

    async def _tell(self, topic: str) -> None:
        for attempt in itertools.count():
            change = self.viewers[0].local.set_attributes({"topic": topic, "attempt": str(attempt)})
            await asyncio.gather(asyncio.sleep(TELL_INTERVAL_S), _patiently(change))
