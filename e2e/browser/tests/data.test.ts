/** Data messages between browsers, and from the server API. */
import assert from "node:assert/strict";
import { DataPacket_Kind } from "livekit-server-sdk";
import { MODES, modeOptions, scene } from "../helpers/cast.ts";
import type { Member } from "../helpers/member.ts";
import { until } from "../helpers/until.ts";
import { world } from "../helpers/world.ts";

for (const mode of MODES) {
  scene(
    `data messages in ${mode} mode`,
    modeOptions(mode),
    async (cast) => {
      for (const identity of ["alice", "bob", "carol"]) await cast.enter(identity);
    },
    (story, cast) => {
      const all = () => ["alice", "bob", "carol"].map((identity) => cast.member(identity)) as [Member, Member, Member];

      story("a reliable message reaches everybody else once, with topic and sender", async () => {
        const [alice, bob, carol] = all();
        await alice.does.say("hello", { reliable: true, topic: "chat" });
        for (const listener of [bob, carol]) {
          await hearsText(listener, "hello");
          assert.deepEqual(await listener.does.messages(), [{ from: "alice", text: "hello", topic: "chat", kind: "reliable" }]);
        }
        assert.deepEqual(await alice.does.messages(), [], "nothing comes back to the sender");
      });

      story("a lossy message arrives as lossy", async () => {
        const [alice, bob] = all();
        await until(
          "a lossy message arrives",
          async () => {
            await bob.does.say("quick", { reliable: false });
            return alice.does.messages();
          },
          (messages) =>
            messages.some((message) => message.text === "quick" && message.kind === "lossy" && message.from === "bob"),
        );
      });

      story("a message for one person is not delivered to the other", async () => {
        const [alice, bob, carol] = all();
        await alice.does.say("for bob only", { reliable: true, destinationIdentities: ["bob"] });
        await hearsText(bob, "for bob only");
        await alice.does.say("for all", { reliable: true });
        await hearsText(carol, "for all");
        assert.equal(
          (await carol.does.messages()).some((message) => message.text === "for bob only"),
          false,
        );
      });

      story("many reliable messages keep their order", async () => {
        const [, bob, carol] = all();
        const sent = Array.from({ length: 100 }, (_, index) => `number ${index}`);
        await Promise.all(sent.map((text) => bob.does.say(text, { reliable: true, topic: "count" })));
        const heard = await until(
          "all hundred arrive",
          () => carol.does.messages(),
          (messages) => messages.filter((message) => message.topic === "count").length >= sent.length,
        );
        const order = heard.filter((message) => message.topic === "count").map((message) => message.text);
        assert.deepEqual(order, sent);
      });

      story("a message of 15 kB arrives whole", async () => {
        const [alice, bob] = all();
        const text = "x".repeat(15_000);
        await bob.does.say(text, { reliable: true });
        await hearsText(alice, text);
      });

      story("a message from the server API has no sender", async () => {
        const [alice] = all();
        const { server } = await world();
        await server.rooms.sendData(cast.room, new TextEncoder().encode("from above"), DataPacket_Kind.RELIABLE, {
          topic: "api",
          destinationIdentities: ["alice"],
        });
        await hearsText(alice, "from above");
        assert.equal((await alice.does.messages()).find((message) => message.text === "from above")?.from, "");
      });
    },
  );
}

async function hearsText(listener: Member, text: string): Promise<void> {
  await until(
    `${listener.identity} receives "${text.slice(0, 20)}"`,
    () => listener.does.messages(),
    (messages) => messages.some((message) => message.text === text),
  );
}
