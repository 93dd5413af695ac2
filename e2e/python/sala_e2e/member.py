"""One SDK participant: a room, what it publishes, and a log of what it experienced."""

import asyncio
from dataclasses import dataclass, field

from livekit import rtc

from .media import HEIGHT, WIDTH, play_moving_bar, play_tone
from .server import Server
from .waiting import until

PATTERN, TONE = "pattern", "tone"
TOLD = [
    "participant_connected",
    "participant_disconnected",
    "track_subscribed",
    "track_muted",
    "track_unmuted",
    "track_unpublished",
    "active_speakers_changed",
    "participant_metadata_changed",
    "participant_attributes_changed",
    "room_metadata_changed",
    "participant_permissions_changed",
    "data_received",
    "reconnecting",
    "reconnected",
    "disconnected",
]


@dataclass
class Member:
    identity: str
    room: rtc.Room = field(default_factory=rtc.Room)
    events: list[tuple[str, tuple]] = field(default_factory=list)
    _players: list[asyncio.Task] = field(default_factory=list)

    async def join(self, server: Server, room: str, options: rtc.RoomOptions | None = None, **token) -> "Member":
        for event in TOLD:
            self.room.on(event, lambda *details, event=event: self.events.append((event, details)))
        await self.room.connect(server.url, server.join_token(room, self.identity, **token), options or rtc.RoomOptions())
        return self

    @property
    def local(self) -> rtc.LocalParticipant:
        return self.room.local_participant

    async def publish_pattern(self, width: int = WIDTH, height: int = HEIGHT, **options) -> rtc.LocalTrackPublication:
        source = rtc.VideoSource(width, height)
        self._players.append(asyncio.create_task(play_moving_bar(source, width, height)))
        track = rtc.LocalVideoTrack.create_video_track(PATTERN, source)
        return await self.local.publish_track(track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA, **options))

    async def publish_tone(self, frequency_hz: float) -> rtc.LocalTrackPublication:
        source = rtc.AudioSource(48_000, 1)
        self._players.append(asyncio.create_task(play_tone(source, frequency_hz)))
        track = rtc.LocalAudioTrack.create_audio_track(TONE, source)
        return await self.local.publish_track(track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE))

    async def publication_of(self, identity: str, name: str) -> rtc.RemoteTrackPublication:
        """Waits until the other's track of this name is subscribed."""

        def found() -> rtc.RemoteTrackPublication | None:
            person = self.room.remote_participants.get(identity)
            tracks = person.track_publications.values() if person else []
            return next((track for track in tracks if track.name == name and track.track is not None), None)

        return await until(f"{self.identity} is subscribed to {identity}'s {name}", found)

    async def track_of(self, identity: str, name: str) -> rtc.RemoteTrack:
        return (await self.publication_of(identity, name)).track

    async def experiences(self, event: str, holds=lambda *details: True) -> tuple:
        def found() -> tuple | None:
            return next((details for name, details in self.events if name == event and holds(*details)), None)

        return await until(f"{self.identity} experiences {event}", found, lambda seen: seen is not None)

    def experienced(self, event: str) -> bool:
        return any(name == event for name, _ in self.events)

    def messages(self, topic: str) -> list[rtc.DataPacket]:
        return [details[0] for name, details in self.events if name == "data_received" and details[0].topic == topic]

    async def leave(self) -> None:
        for player in self._players:
            player.cancel()
        await self.room.disconnect()
