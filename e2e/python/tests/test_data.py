"""Data packets, text streams, byte streams and RPC between SDK participants, and data from the server API."""

import asyncio

import pytest
from livekit import api, rtc

from sala_e2e.waiting import DEADLINE_S, until


@pytest.fixture
async def trio(enter, request):
    single_pc = getattr(request, "param", True)
    return [await enter(identity, rtc.RoomOptions(single_peer_connection=single_pc)) for identity in ("alice", "bob", "carol")]


@pytest.mark.parametrize("trio", [True, False], ids=["single-pc", "dual-pc"], indirect=True)
async def test_both_kinds_of_packets_reach_everybody_else(trio):
    alice, *others = trio
    for listener in others:
        for kind, topic in ((rtc.DataPacketKind.KIND_RELIABLE, "reliable"), (rtc.DataPacketKind.KIND_LOSSY, "lossy")):
            packet = await _repeated_until_heard(alice, listener, kind, f"{topic} for {listener.identity}")
            assert (packet.data, packet.participant.identity, packet.kind) == (b"hello", "alice", kind)
    assert not alice.experienced("data_received"), "nothing comes back to the sender"


async def _repeated_until_heard(sender, listener, kind, topic) -> rtc.DataPacket:
    """A lossy packet may be lost by right, so it is sent until one arrives."""

    async def attempt():
        await sender.local.publish_data(b"hello", reliable=kind == rtc.DataPacketKind.KIND_RELIABLE, topic=topic)
        return listener.messages(topic)

    return (await until(f"{listener.identity} gets {topic}", attempt))[0]


async def test_reliable_packets_keep_their_order_and_come_once(trio):
    alice, bob, _ = trio
    for number in range(200):
        await alice.local.publish_data(str(number), reliable=True, topic="count")
    await until("all arrive", lambda: len(bob.messages("count")) >= 200)
    assert [int(packet.data) for packet in bob.messages("count")] == list(range(200))


async def test_a_packet_for_one_is_not_delivered_to_another(trio):
    alice, bob, carol = trio
    await alice.local.publish_data("secret", reliable=True, topic="private", destination_identities=["bob"])
    await until("bob gets it", lambda: bob.messages("private"))
    await alice.local.publish_data("public", reliable=True, topic="public")
    await until("carol gets the next", lambda: carol.messages("public"))
    assert carol.messages("private") == []


async def test_a_packet_from_the_server_api_has_no_sender(trio, backend, room_name):
    _, bob, carol = trio
    await backend.room.send_data(api.SendDataRequest(room=room_name, data=b"news", topic="api", destination_identities=["bob"]))
    await until("bob gets it", lambda: bob.messages("api"))
    assert (bob.messages("api")[0].data, bob.messages("api")[0].participant) == (b"news", None)
    assert carol.messages("api") == []


async def test_who_joins_with_a_packet_on_the_way_still_gets_it(enter):
    alice = await enter("alice")
    latecomer = asyncio.create_task(enter("latecomer"))
    await alice.experiences("participant_connected", lambda person: person.identity == "latecomer")
    await alice.local.publish_data("welcome", reliable=True, topic="greeting")
    member = await latecomer
    await until("the latecomer is greeted", lambda: member.messages("greeting"))
    assert len(member.messages("greeting")) == 1


async def test_a_participant_without_data_permission_is_not_heard(enter):
    alice = await enter("alice")
    mute = await enter("mute", grants={"canPublishData": False})
    talker = await enter("talker")
    await mute.local.publish_data("not allowed", reliable=True, topic="chat")
    await talker.local.publish_data("allowed", reliable=True, topic="chat")
    await until("alice hears the talker", lambda: alice.messages("chat"))
    assert [packet.data for packet in alice.messages("chat")] == [b"allowed"]


async def test_text_and_byte_streams_arrive_whole(trio):
    alice, bob, _ = trio
    heard: asyncio.Queue = asyncio.Queue()

    async def read_text(reader: rtc.TextStreamReader, identity: str) -> None:
        await heard.put((identity, reader.info.topic, await reader.read_all()))

    async def read_bytes(reader: rtc.ByteStreamReader, identity: str) -> None:
        await heard.put((identity, reader.info.topic, b"".join([chunk async for chunk in reader])))

    bob.room.register_text_stream_handler("essay", lambda reader, identity: asyncio.create_task(read_text(reader, identity)))
    bob.room.register_byte_stream_handler("file", lambda reader, identity: asyncio.create_task(read_bytes(reader, identity)))
    essay = "Grüße 🌍 " * 8_000
    await alice.local.send_text(essay, topic="essay")
    assert await asyncio.wait_for(heard.get(), DEADLINE_S) == ("alice", "essay", essay)
    content = bytes(range(256)) * 300
    writer = await alice.local.stream_bytes("blob.bin", topic="file", total_size=len(content))
    await writer.write(content)
    await writer.aclose()
    assert await asyncio.wait_for(heard.get(), DEADLINE_S) == ("alice", "file", content)


async def test_a_call_of_a_remote_method_returns_its_answer_or_its_error(trio):
    alice, bob, _ = trio

    async def shout(call: rtc.RpcInvocationData) -> str:
        if call.payload == "":
            raise rtc.RpcError(1501, "nothing to shout")
        return f"{call.caller_identity}: {call.payload.upper()}"

    bob.local.register_rpc_method("shout", shout)
    answer = await alice.local.perform_rpc(destination_identity="bob", method="shout", payload="hello")
    assert answer == "alice: HELLO"
    with pytest.raises(rtc.RpcError) as error:
        await alice.local.perform_rpc(destination_identity="bob", method="shout", payload="")
    assert (error.value.code, error.value.message) == (1501, "nothing to shout")
    with pytest.raises(rtc.RpcError) as error:
        await alice.local.perform_rpc(destination_identity="bob", method="whisper", payload="hello")
    assert error.value.code == rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD
