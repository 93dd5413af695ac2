"""Lost connections: the SDK resumes or reconnects, and media and data go on."""

import asyncio

import pytest
from livekit import rtc
from livekit.rtc import SimulateScenarioKind

from sala_e2e.media import strongest_frequency
from sala_e2e.member import TONE
from sala_e2e.waiting import until

both_modes = pytest.mark.parametrize("single_pc", [True, False], ids=["single-pc", "dual-pc"])


@both_modes
@pytest.mark.parametrize("scenario", ["SIMULATE_SIGNAL_RECONNECT", "SIMULATE_FULL_RECONNECT"])
async def test_media_and_data_go_on_after(enter, single_pc, scenario):
    options = rtc.RoomOptions(single_peer_connection=single_pc)
    alice, bob = await enter("alice", options), await enter("bob", options)
    await bob.publish_tone(700)
    await _hears(alice)
    await bob.room.simulate_scenario(getattr(SimulateScenarioKind, scenario))
    await bob.experiences("reconnected")
    await _hears(alice)
    await bob.local.publish_data("still here", reliable=True, topic="after")
    await until("data goes on", lambda: alice.messages("after"))
    if scenario == "SIMULATE_SIGNAL_RECONNECT":
        assert not alice.experienced("participant_disconnected"), "a resumed participant never left"


async def _hears(alice):
    track = await alice.track_of("bob", TONE)
    await asyncio.wait_for(strongest_frequency(track, 700), 20)
