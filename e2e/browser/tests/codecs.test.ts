/** Every video codec this Chromium can encode reaches the other side, in both negotiation modes. */
import assert from "node:assert/strict";
import type { VideoCodec } from "livekit-client";
import { MODES, modeOptions, scene } from "../helpers/cast.ts";
import { until } from "../helpers/until.ts";

/** Spatial layers in one stream instead of simulcast. */
const SCALABLE: VideoCodec[] = ["vp9", "av1"];
/** The smallest picture for which libwebrtc makes all three spatial layers of L3T3_KEY. */
const SCALABLE_SIZE = [960, 540] as const;
const SIMULCAST_SIZE = [640, 360] as const;

for (const mode of MODES) {
  for (const codec of ["vp8", "h264", "vp9", "av1"] as const) {
    const scalable = SCALABLE.includes(codec);

    scene(
      `${codec.toUpperCase()} in ${mode} mode`,
      { ...modeOptions(mode), adaptiveStream: { pixelDensity: 1 } },
      async (cast) => {
        await cast.enter("alice");
        await cast.enter("bob");
      },
      (story, cast) => {
        story(
          `${scalable ? "a stream with spatial layers" : "simulcast"} is seen, and follows the element's size`,
          async (context) => {
            const [alice, bob] = [cast.member("alice"), cast.member("bob")];
            if (!(await alice.does.encoders()).includes(codec)) {
              context.skip(`this Chromium has no ${codec.toUpperCase()} encoder`);
              return;
            }
            await alice.does.camera(
              true,
              { videoCodec: codec, backupCodec: false },
              ...(scalable ? SCALABLE_SIZE : SIMULCAST_SIZE),
            );
            await bob.seesMoving(alice);
            assert.equal((await bob.does.received("alice"))?.codec.toLowerCase(), `video/${codec}`);
            if (scalable)
              assert.deepEqual(
                (await alice.does.sent()).map((stream) => stream.scalability),
                ["L3T3_KEY"],
              );
            await bob.does.resize("alice", 120, 68);
            const small = await until(
              "bob gets a small layer",
              () => bob.does.picture("alice"),
              (seen) => seen && seen.width <= 320,
            );
            await bob.seesMoving(alice);
            await bob.does.resize("alice", 640, 360);
            await until(
              "bob gets a larger layer",
              () => bob.does.picture("alice"),
              (seen) => seen && seen.width > small!.width,
            );
            await bob.seesMoving(alice);
          },
        );
      },
    );
  }
}
