/** Connections break: a call must go on, and nobody must look as if they had left. */
import assert from "node:assert/strict";
import type { Member } from "../helpers/member.ts";
import { MODES, modeOptions, scene } from "../helpers/cast.ts";
import { CuttableProxy } from "../helpers/cuttable-proxy.ts";
import { world } from "../helpers/world.ts";

for (const mode of MODES) {
  let proxy: CuttableProxy;

  scene(
    `a broken connection in ${mode} mode`,
    modeOptions(mode),
    async (cast) => {
      proxy = cast.keep(await CuttableProxy.before((await world()).server.url));
      await cast.enter("alice", { media: true });
      await cast.enter("bob", { media: true, url: proxy.url });
      await callGoesOn(cast.member("alice"), cast.member("bob"));
    },
    (story, cast) => {
      const pair = () => [cast.member("alice"), cast.member("bob")] as const;

      /** Breaks something, and expects bob back as the same participant with media both ways. */
      const bobIsResumed = async (breakIt: () => Promise<void> | void) => {
        const [alice, bob] = pair();
        await Promise.all([alice.does.forgetHappenings(), bob.does.forgetHappenings()]);
        const { sid } = await bob.does.me();
        await breakIt();
        await bob.experiences("reconnected");
        await callGoesOn(alice, bob);
        assert.equal((await bob.does.me()).sid, sid, "bob keeps his participant sid");
        assert.equal(await alice.experienced("participantDisconnected"), false, "alice never sees bob leave");
        assert.equal(await alice.experienced("trackUnsubscribed"), false, "alice keeps bob's tracks");
      };

      story("a simulated loss of the signal connection is resumed", () =>
        bobIsResumed(() => cast.member("bob").does.scenario("signal-reconnect")),
      );

      story("a really cut signal socket is resumed", () => bobIsResumed(() => proxy.cut()));

      story("a server unreachable for two seconds is found again", () =>
        bobIsResumed(() => {
          proxy.goDark();
          setTimeout(() => proxy.restore(), 2_000);
        }),
      );

      story("changes made after a resume still reach the others", async () => {
        const [alice, bob] = pair();
        await bob.does.microphone(false);
        await alice.sees(bob, "muted", (person) => person.tracks["microphone"]?.muted);
        await bob.does.microphone(true);
        await alice.hears(bob);
        await bob.does.say("still here", { reliable: true });
        await alice.experiences("trackUnmuted", "bob microphone");
      });

      story("a full reconnect brings bob back as a new participant with his media", async () => {
        const [alice, bob] = pair();
        const { sid } = await bob.does.me();
        await bob.does.forgetHappenings();
        await bob.does.scenario("full-reconnect");
        await bob.experiences("reconnected");
        assert.notEqual((await bob.does.me()).sid, sid);
        await callGoesOn(alice, bob);
      });

      story("a resume the server no longer knows becomes a full reconnect", async () => {
        const [alice, bob] = pair();
        await bob.does.forgetHappenings();
        await bob.does.scenario("node-failure");
        await bob.experiences("reconnected");
        await callGoesOn(alice, bob);
      });

      story("media moves to TCP when the client is told to", async () => {
        const [alice, bob] = pair();
        await bob.does.forgetHappenings();
        await bob.does.scenario("force-tcp");
        await bob.experiences("reconnected");
        await callGoesOn(alice, bob);
      });

      story("a server-initiated leave ends the call for good", async () => {
        const [alice, bob] = pair();
        await bob.does.scenario("server-leave");
        await bob.experiences("disconnected");
        await alice.experiences("participantDisconnected", "bob");
        assert.equal((await bob.does.me()).state, "disconnected");
      });
    },
  );
}

async function callGoesOn(alice: Member, bob: Member): Promise<void> {
  await Promise.all([alice.seesMoving(bob), bob.seesMoving(alice), alice.hears(bob), bob.hears(alice)]);
}
