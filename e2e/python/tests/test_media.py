"""The SDK's libwebrtc publishes a pattern and a tone; others receive them with the right content."""

import asyncio

import pytest
from livekit import rtc

from sala_e2e.media import (
    BAR_SPEED_PX_PER_S,
    WIDTH,
    frame_width_until,
    measured_bar_speed,
    strongest_frequency,
)
from sala_e2e.member import PATTERN, TONE
from sala_e2e.waiting import until

BAR_SPEED = BAR_SPEED_PX_PER_S / WIDTH
WATCH_LIMIT_S = 20

both_modes = pytest.mark.parametrize("single_pc", [True, False], ids=["single-pc", "dual-pc"])


def mode(single_pc: bool, **options) -> rtc.RoomOptions:
    return rtc.RoomOptions(single_peer_connection=single_pc, **options)


async def assert_sees_the_bar(member, identity):
    track = await member.track_of(identity, PATTERN)
    speed, _ = await asyncio.wait_for(measured_bar_speed(track), WATCH_LIMIT_S)
    assert speed == pytest.approx(BAR_SPEED, rel=0.15)


async def assert_hears(member, identity, frequency_hz):
    track = await member.track_of(identity, TONE)
    await asyncio.wait_for(strongest_frequency(track, frequency_hz), WATCH_LIMIT_S)


@both_modes
async def test_both_sides_recognise_the_moving_pattern_and_the_tone(enter, single_pc):
    alice, bob = await enter("alice", mode(single_pc)), await enter("bob", mode(single_pc))
    await asyncio.gather(alice.publish_pattern(), alice.publish_tone(440), bob.publish_pattern(), bob.publish_tone(990))
    await asyncio.gather(
        assert_sees_the_bar(bob, "alice"),
        assert_sees_the_bar(alice, "bob"),
        assert_hears(bob, "alice", 440),
        assert_hears(alice, "bob", 990),
    )


@both_modes
async def test_two_subscribers_one_of_them_late_get_the_same_media(enter, single_pc):
    alice, bob = await enter("alice", mode(single_pc)), await enter("bob", mode(single_pc))
    await alice.publish_pattern()
    await alice.publish_tone(440)
    await assert_hears(bob, "alice", 440)
    carol = await enter("carol", mode(single_pc))
    await asyncio.gather(*(assert_sees_the_bar(member, "alice") for member in (bob, carol)))
    await assert_hears(carol, "alice", 440)


@both_modes
async def test_single_and_dual_pc_participants_meet_in_one_room(enter, single_pc):
    publisher, viewer = await enter("publisher", mode(single_pc)), await enter("viewer", mode(not single_pc))
    await publisher.publish_pattern()
    await assert_sees_the_bar(viewer, "publisher")


async def test_a_simulcast_subscriber_gets_the_layer_it_asks_for(enter):
    alice, bob = await enter("alice"), await enter("bob")
    # Smaller pictures make the SDK send two layers of the same size.
    await alice.publish_pattern(1280, 720, simulcast=True)
    publication = await bob.publication_of("alice", PATTERN)
    assert publication.simulcasted
    publication.set_video_quality(rtc.VideoQuality.VIDEO_QUALITY_LOW)
    await asyncio.wait_for(frame_width_until(publication.track, lambda width: width == 320), WATCH_LIMIT_S)
    publication.set_video_quality(rtc.VideoQuality.VIDEO_QUALITY_HIGH)
    await asyncio.wait_for(frame_width_until(publication.track, lambda width: width > 320), WATCH_LIMIT_S)


@pytest.mark.parametrize("codec", ["VP8", "H264", "VP9", "AV1"])
async def test_every_codec_the_sdk_encodes_is_received(enter, codec):
    alice, bob = await enter("alice"), await enter("bob")
    await alice.publish_pattern(video_codec=getattr(rtc.VideoCodec, codec), simulcast=False)
    publication = await bob.publication_of("alice", PATTERN)
    await assert_sees_the_bar(bob, "alice")
    assert publication.mime_type.lower() == f"video/{codec.lower()}"


async def test_mute_is_announced_and_unmute_brings_the_tone_back(enter):
    alice, bob = await enter("alice"), await enter("bob")
    publication = await alice.publish_tone(440)
    await assert_hears(bob, "alice", 440)
    publication.track.mute()
    await bob.experiences("track_muted", lambda person, _: person.identity == "alice")
    publication.track.unmute()
    await bob.experiences("track_unmuted", lambda person, _: person.identity == "alice")
    await assert_hears(bob, "alice", 440)


async def test_a_subscriber_unsubscribes_and_subscribes_again(enter):
    alice, bob = await enter("alice"), await enter("bob")
    await alice.publish_pattern()
    publication = await bob.publication_of("alice", PATTERN)
    publication.set_subscribed(False)
    await until("the track is gone", lambda: publication.track is None)
    publication.set_subscribed(True)
    await assert_sees_the_bar(bob, "alice")


async def test_an_unpublished_track_disappears_and_a_new_one_can_follow(enter):
    alice, bob = await enter("alice"), await enter("bob")
    first = await alice.publish_pattern()
    await bob.publication_of("alice", PATTERN)
    await alice.local.unpublish_track(first.sid)
    await bob.experiences("track_unpublished", lambda publication, _: publication.sid == first.sid)
    second = await alice.publish_pattern()
    assert second.sid != first.sid
    await assert_sees_the_bar(bob, "alice")


async def test_whoever_plays_a_tone_is_an_active_speaker(enter):
    alice, bob = await enter("alice"), await enter("bob")
    await alice.publish_tone(440)
    await bob.experiences("active_speakers_changed", lambda speakers: [speaker.identity for speaker in speakers] == ["alice"])
