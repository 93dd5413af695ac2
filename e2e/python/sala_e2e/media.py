"""Test media that can be recognised at the other end: a bar that moves at a known speed, and a tone of a known pitch."""

import asyncio
import time
from collections.abc import Callable

import numpy as np
from livekit import rtc

WIDTH, HEIGHT, FPS = 640, 360, 15
BAR_WIDTH = WIDTH // 8
# One pass over the picture in four seconds: slow enough to sit still within a frame, fast enough to measure soon.
BAR_SPEED_PX_PER_S = WIDTH / 4
SAMPLE_RATE_HZ = 48_000
AMPLITUDE = 0.4
# Of 32767: comfort noise stays far below, the tone far above.
SILENT_BELOW = 200
SILENCE_S = 0.5


async def play_moving_bar(source: rtc.VideoSource, width: int = WIDTH, height: int = HEIGHT) -> None:
    """Feeds frames until cancelled. The bar's place depends on the clock only, so a slow machine moves it as fast."""
    began = time.monotonic()
    columns = np.arange(width)
    while True:
        elapsed = time.monotonic() - began
        left = int(elapsed * BAR_SPEED_PX_PER_S * width / WIDTH) % width
        bright = (columns - left) % width < BAR_WIDTH * width / WIDTH
        row = np.where(bright, 235, 20).astype(np.uint8)
        frame = np.empty((height, width, 4), np.uint8)
        frame[..., :3] = row[None, :, None]
        frame[..., 3] = 255
        source.capture_frame(rtc.VideoFrame(width, height, rtc.VideoBufferType.RGBA, frame.tobytes()))
        await asyncio.sleep(1 / FPS)


async def play_tone(source: rtc.AudioSource, frequency_hz: float) -> None:
    """Feeds 10 ms frames until cancelled; the source's queue sets the pace."""
    count = SAMPLE_RATE_HZ // 100
    position = 0
    while True:
        phase = 2 * np.pi * frequency_hz * (position + np.arange(count)) / SAMPLE_RATE_HZ
        samples = (AMPLITUDE * 32_767 * np.sin(phase)).astype(np.int16)
        await source.capture_frame(rtc.AudioFrame(samples.tobytes(), SAMPLE_RATE_HZ, 1, count))
        position += count


def bar_position(frame: rtc.VideoFrame) -> float | None:
    """Where the bar's middle is, 0 to 1 of the width, going round; None when there is no clear bar."""
    luma = np.frombuffer(frame.convert(rtc.VideoBufferType.I420).data, np.uint8)[: frame.width * frame.height]
    row = luma.reshape(frame.height, frame.width).mean(axis=0)
    bright = row > 128
    if not 0.08 < bright.mean() < 0.17:
        return None
    angles = 2 * np.pi * np.flatnonzero(bright) / frame.width
    return float(np.angle(np.exp(1j * angles).mean()) / (2 * np.pi) % 1)


async def measured_bar_speed(track: rtc.RemoteTrack, span_s: float = 1.2) -> tuple[float, tuple[int, int]]:
    """Watches the track for a while: the bar's speed in widths per second, and the last frame's size."""
    places: list[tuple[float, float]] = []
    size = (0, 0)
    stream = rtc.VideoStream(track)
    try:
        async for event in stream:
            position = bar_position(event.frame)
            size = (event.frame.width, event.frame.height)
            if position is not None:
                places.append((event.timestamp_us / 1e6, position))
            if len(places) > 8 and places[-1][0] - places[0][0] > span_s:
                break
    finally:
        await stream.aclose()
    times, positions = np.array(places).T
    travelled = np.unwrap(positions, period=1)
    return float(np.polyfit(times, travelled, 1)[0]), size


async def frame_width_until(track: rtc.RemoteTrack, holds: Callable[[int], bool]) -> int:
    """Watches until a frame has a wanted width."""
    stream = rtc.VideoStream(track)
    try:
        async for event in stream:
            if holds(event.frame.width):
                return event.frame.width
    finally:
        await stream.aclose()
    raise AssertionError("the track ended")


async def silence(track: rtc.RemoteTrack) -> None:
    """Listens until half a second brings nothing, or nothing but silence."""
    quiet_samples = 0
    stream = rtc.AudioStream(track, sample_rate=SAMPLE_RATE_HZ, num_channels=1)
    try:
        while quiet_samples < SAMPLE_RATE_HZ * SILENCE_S:
            event = await asyncio.wait_for(anext(stream), SILENCE_S)
            loudest = np.abs(np.frombuffer(event.frame.data, np.int16)).max(initial=0)
            quiet_samples = quiet_samples + event.frame.samples_per_channel if loudest < SILENT_BELOW else 0
    except TimeoutError:
        pass
    finally:
        await stream.aclose()


async def strongest_frequency(track: rtc.RemoteTrack, expected_hz: float, tolerance_hz: float = 6) -> float:
    """Listens in windows of half a second until the strongest frequency is the expected one; returns the last heard."""
    stream = rtc.AudioStream(track, sample_rate=SAMPLE_RATE_HZ, num_channels=1)
    window: list[np.ndarray] = []
    heard = 0.0
    try:
        async for event in stream:
            window.append(np.frombuffer(event.frame.data, np.int16).astype(float))
            samples = np.concatenate(window)
            if len(samples) < SAMPLE_RATE_HZ // 2:
                continue
            window = []
            spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
            heard = float(np.argmax(spectrum) * SAMPLE_RATE_HZ / len(samples))
            if spectrum.max() > 1e5 and abs(heard - expected_hz) < tolerance_hz:
                return heard
    finally:
        await stream.aclose()
    return heard
