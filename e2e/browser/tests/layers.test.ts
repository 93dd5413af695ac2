/** Simulcast: what is sent to a viewer follows the size of the element, and what nobody watches is not encoded. */
import assert from "node:assert/strict";
import { MODES, modeOptions, scene } from "../helpers/cast.ts";
import { until } from "../helpers/until.ts";

/** Dynacast pauses a layer no earlier than 10 s after publishing, and then 5 s after its last viewer went. */
const DYNACAST_PAUSE_MS = 35_000;

for (const mode of MODES) {
  scene(
    `simulcast layers in ${mode} mode`,
    { ...modeOptions(mode), adaptiveStream: { pixelDensity: 1 }, dynacast: true },
    async (cast) => {
      const alice = await cast.enter("alice");
      const bob = await cast.enter("bob");
      await alice.does.camera(true);
      await bob.seesMoving(alice);
    },
    (story, cast) => {
      const pair = () => [cast.member("alice"), cast.member("bob")] as const;

      story("two layers are published", async () => {
        const layers = await until(
          "two layers are encoded",
          () => pair()[0].does.sent(),
          (sent) => sent.filter((layer) => layer.frames > 0).length === 2,
        );
        assert.deepEqual(
          layers.map((layer) => layer.rid),
          ["q", "h"],
        );
      });

      story("a large element gets the large layer", async () => {
        const [alice, bob] = pair();
        await bob.seesMoving(alice);
        await bob.does.resize("alice", 640, 360);
        await until(
          "bob gets 640 wide",
          () => bob.does.picture("alice"),
          (seen) => seen?.width === 640,
        );
        await bob.seesMoving(alice);
      });

      story("a small element gets the small layer without freezing", async () => {
        const [alice, bob] = pair();
        await bob.does.resize("alice", 160, 90);
        await until(
          "bob gets 320 wide",
          () => bob.does.picture("alice"),
          (seen) => seen?.width === 320,
        );
        await bob.seesMoving(alice);
      });

      story("a layer nobody watches is paused at the publisher", async () => {
        const [alice] = pair();
        await until(
          "the large layer is paused",
          () => alice.does.sent(),
          (sent) => sent.some((layer) => layer.rid === "h" && !layer.active),
          DYNACAST_PAUSE_MS,
        );
      });

      story("a paused layer comes back when the element grows again", async () => {
        const [alice, bob] = pair();
        await bob.does.resize("alice", 640, 360);
        await until(
          "the large layer is active",
          () => alice.does.sent(),
          (sent) => sent.some((layer) => layer.rid === "h" && layer.active),
        );
        await until(
          "bob gets 640 wide",
          () => bob.does.picture("alice"),
          (seen) => seen?.width === 640,
        );
        await bob.seesMoving(alice);
      });
    },
  );
}
