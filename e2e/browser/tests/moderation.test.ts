/** What a backend does to a call through the server API, as the people in it experience it. */
import assert from "node:assert/strict";
import { scene } from "../helpers/cast.ts";
import { until } from "../helpers/until.ts";
import { world } from "../helpers/world.ts";

/** livekit-client's DisconnectReason. */
const PARTICIPANT_REMOVED = "4";
const ROOM_DELETED = "5";
const DUPLICATE_IDENTITY = "2";

scene(
  "moderation by the server API",
  {},
  async (cast) => {
    await cast.enter("alice", { media: true });
    await cast.enter("bob", { media: true });
  },
  (story, cast) => {
    const pair = () => [cast.member("alice"), cast.member("bob")] as const;
    const api = async () => (await world()).server.rooms;

    story("a track muted by the server is silent, shown muted, and its owner knows", async () => {
      const [alice, bob] = pair();
      await alice.hears(bob);
      const sid = (await alice.does.people())["bob"]!.tracks["microphone"]!.sid;
      await (await api()).mutePublishedTrack(cast.room, "bob", sid, true);
      await alice.sees(bob, "muted", (person) => person.tracks["microphone"]?.muted);
      await until(
        "bob knows he is muted",
        () => bob.does.me(),
        (me) => me.tracks["microphone"]?.muted,
      );
      await alice.hearsNothingFrom(bob);
      await bob.does.microphone(true);
      await alice.hears(bob);
    });

    story("metadata and attributes set by the server reach everybody", async () => {
      const [alice, bob] = pair();
      await (
        await api()
      ).updateParticipant(cast.room, "bob", { metadata: "from above", attributes: { role: "guest" }, name: "Robert" });
      await alice.sees(
        bob,
        "renamed",
        (person) => person.metadata === "from above" && person.attributes["role"] === "guest" && person.name === "Robert",
      );
      await until(
        "bob knows",
        () => bob.does.me(),
        (me) => me.metadata === "from above" && me.name === "Robert",
      );
    });

    story("room metadata set by the server reaches everybody", async () => {
      await (await api()).updateRoomMetadata(cast.room, "agenda");
      for (const member of pair())
        await until(
          `${member.identity} reads it`,
          () => member.does.roomMetadata(),
          (text) => text === "agenda",
        );
    });

    story("a removed participant is out, knows why, and does not come back by itself", async () => {
      const [alice, bob] = pair();
      await (await api()).removeParticipant(cast.room, "bob");
      await bob.experiences("disconnected", PARTICIPANT_REMOVED);
      await alice.experiences("participantDisconnected", "bob");
      assert.deepEqual(
        (await (await api()).listParticipants(cast.room)).map((person) => person.identity),
        ["alice"],
      );
      assert.equal((await bob.does.me()).state, "disconnected");
    });

    story("a second client with the same identity takes over from the first", async () => {
      const [alice, bob] = pair();
      await cast.rejoin(bob);
      const twin = await cast.enter("twin");
      const { server } = await world();
      await twin.does.join({ url: server.url, token: await server.token(cast.room, "bob") });
      await bob.experiences("disconnected", DUPLICATE_IDENTITY);
      await twin.seesMoving(alice);
      await twin.does.leave();
    });

    story("a deleted room ends for everybody with the reason", async () => {
      const [alice] = pair();
      await (await api()).deleteRoom(cast.room);
      await alice.experiences("disconnected", ROOM_DELETED);
      assert.deepEqual(await (await api()).listRooms([cast.room]), []);
    });
  },
);
