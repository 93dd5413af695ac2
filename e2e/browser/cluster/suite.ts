/** Two browsers call each other through a cluster whose nodes die. Run by e2e/cluster, which starts the cluster. */
import assert from "node:assert/strict";
import { after } from "node:test";
import { MODES, modeOptions, scene } from "../helpers/cast.ts";
import { ask, ownerOf, revive, status } from "../helpers/cluster.ts";
import type { Member } from "../helpers/member.ts";
import { until } from "../helpers/until.ts";
import { endWorld } from "../helpers/world.ts";

for (const mode of MODES) {
  scene(
    `a call of two browsers on a cluster in ${mode} mode`,
    modeOptions(mode),
    async (cast) => {
      await cast.enter("alice", { media: true });
      await cast.enter("bob", { media: true });
      await callGoesOn(cast.member("alice"), cast.member("bob"));
    },
    (story, cast) => {
      const pair = () => [cast.member("alice"), cast.member("bob")] as const;
      const nobodyLeft = async () => {
        for (const member of pair()) {
          assert.equal(await member.experienced("participantDisconnected"), false, `${member.identity} sees nobody leave`);
          assert.equal(await member.experienced("trackUnsubscribed"), false, `${member.identity} keeps the tracks`);
        }
      };

      story("each master dies in turn and nobody leaves", async () => {
        const [alice, bob] = pair();
        await Promise.all([alice.does.forgetHappenings(), bob.does.forgetHappenings()]);
        for (const { name } of (await status()).masters) {
          await ask({ command: "kill", target: name });
          await callGoesOn(alice, bob);
          await revive(name);
        }
        await nobodyLeft();
      });

      story("the media node is drained and nobody leaves", async () => {
        const [alice, bob] = pair();
        await Promise.all([alice.does.forgetHappenings(), bob.does.forgetHappenings()]);
        const sids = [(await alice.does.me()).sid, (await bob.does.me()).sid];
        const node = await ownerOf(cast.room);
        await ask({ command: "drain", node, deadline_ms: 60_000 });
        await movedFrom(cast.room, node);
        await callGoesOn(alice, bob);
        await nobodyLeft();
        // The SDK takes 2 s to call its resume done, and takes a node that dies meanwhile for a slow one.
        await Promise.all([alice.experiences("reconnected"), bob.experiences("reconnected")]);
        assert.deepEqual([(await alice.does.me()).sid, (await bob.does.me()).sid], sids, "both keep their sids");
        await ask({ command: "drain_cancel", node });
      });

      story("the media node is killed and the call goes on elsewhere", async () => {
        const [alice, bob] = pair();
        const node = await ownerOf(cast.room);
        const killed = performance.now();
        await ask({ command: "kill", target: node });
        await callGoesOn(alice, bob);
        console.log(`${mode}: the call goes on ${Math.round(performance.now() - killed)} ms after the death of ${node}`);
        await movedFrom(cast.room, node);
        await revive(node);
      });
    },
  );
}

after(endWorld);

async function movedFrom(room: string, node: string): Promise<void> {
  await until(`${room} leaves ${node}`, () => ownerOf(room), (owner) => owner !== node, 60_000);
}

async function callGoesOn(alice: Member, bob: Member): Promise<void> {
  await Promise.all([alice.seesMoving(bob), bob.seesMoving(alice), alice.hears(bob), bob.hears(alice)]);
}
