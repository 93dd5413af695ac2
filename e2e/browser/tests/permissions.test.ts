/** What a token allows, what it refuses, and what publishers and the server may change during the call. */
import assert from "node:assert/strict";
import { MODES, modeOptions, scene } from "../helpers/cast.ts";
import { world } from "../helpers/world.ts";

scene(
  "turned away at the door",
  {},
  async (cast) => {
    await cast.bring("alice");
  },
  (story, cast) => {
    const refusal = async (token: string) => {
      const { server } = await world();
      return cast.member("alice").does.tryJoin({ url: server.url, token });
    };
    const isNotAllowed = (seen: Awaited<ReturnType<typeof refusal>>) => {
      assert.equal(seen?.name, "ConnectionError");
      assert.equal(seen?.reason, "NotAllowed");
      assert.equal(seen?.status, 401);
    };

    story("an expired token is classified as not allowed", async () => {
      const { server } = await world();
      isNotAllowed(await refusal(await server.token(cast.room, "alice", {}, { ttl: -3600 })));
    });

    story("a forged token is classified as not allowed", async () => {
      const { server } = await world();
      const token = await server.token(cast.room, "alice");
      isNotAllowed(await refusal(`${token.slice(0, -6)}AAAAAA`));
    });

    story("a token without the right to join is classified as not allowed", async () => {
      const { server } = await world();
      isNotAllowed(await refusal(await server.token(cast.room, "alice", { roomJoin: false })));
    });
  },
);

for (const mode of MODES) {
  scene(
    `permissions in ${mode} mode`,
    modeOptions(mode),
    async (cast) => {
      await cast.enter("alice", { media: true });
      await cast.enter("bob", { grant: { canPublish: false, canUpdateOwnMetadata: true } });
    },
    (story, cast) => {
      const pair = () => [cast.member("alice"), cast.member("bob")] as const;

      story("a viewer may watch but not publish", async () => {
        const [alice, bob] = pair();
        await bob.seesMoving(alice);
        assert.match(await bob.does.tryCamera(), /insufficient permissions/);
      });

      story("a publisher may deny and allow subscriptions", async () => {
        const [alice, bob] = pair();
        await alice.does.allowSubscribers(false);
        await bob.experiences("trackUnsubscribed", "alice camera");
        await bob.experiences("trackSubscriptionPermissionChanged", "alice camera not_allowed");
        await alice.does.allowSubscribers(false, ["bob"]);
        await bob.seesMoving(alice);
        await bob.hears(alice);
      });

      story("a subscriber may turn a track off and on", async () => {
        const [alice, bob] = pair();
        await bob.does.subscribe("alice", "camera", false);
        await bob.sees(alice, "without subscription", (person) => !person.tracks["camera"]?.subscribed);
        await bob.does.subscribe("alice", "camera", true);
        await bob.seesMoving(alice);
      });

      story("permission granted during the call lets a viewer publish, and its withdrawal stops it", async () => {
        const [alice, bob] = pair();
        const { rooms } = (await world()).server;
        await rooms.updateParticipant(cast.room, "bob", {
          permission: { canPublish: true, canSubscribe: true, canPublishData: true, canUpdateMetadata: true },
        });
        await bob.experiences("participantPermissionsChanged", "bob");
        assert.equal((await bob.does.me()).canPublish, true);
        await bob.does.camera(true);
        await alice.seesMoving(bob);
        await rooms.updateParticipant(cast.room, "bob", {
          permission: { canPublish: false, canSubscribe: true, canPublishData: true, canUpdateMetadata: true },
        });
        await alice.sees(bob, "without a camera", (person) => !person.tracks["camera"]);
      });

      story("name, metadata and attributes a participant sets reach the others", async () => {
        const [alice, bob] = pair();
        assert.equal(await bob.does.describeMyself({ name: "Bob B.", metadata: "m1", attributes: { hand: "up" } }), "");
        await alice.sees(
          bob,
          "described",
          (person) => person.name === "Bob B." && person.metadata === "m1" && person.attributes["hand"] === "up",
        );
        assert.equal(await bob.does.describeMyself({ attributes: { hand: "" } }), "");
        await alice.sees(bob, "with the attribute removed", (person) => !("hand" in person.attributes));
      });

      story("who may not change their metadata is told so", async () => {
        const [alice] = pair();
        assert.match(await alice.does.describeMyself({ metadata: "mine" }), /not|permission/i);
      });
    },
  );
}
