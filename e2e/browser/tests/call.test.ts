/** Two people meet: the everyday things a call must do, in both negotiation modes. */
import assert from "node:assert/strict";
import { MODES, modeOptions, scene } from "../helpers/cast.ts";
import { until } from "../helpers/until.ts";

for (const mode of MODES) {
  scene(
    `a call in ${mode} mode`,
    modeOptions(mode),
    async (cast) => {
      await cast.enter("alice", { media: true });
      await cast.enter("bob", { media: true });
    },
    (story, cast) => {
      const pair = () => [cast.member("alice"), cast.member("bob")] as const;

      story("uses as many peer connections as the mode says", async () => {
        const expected = mode === "single-PC" ? 1 : 2;
        for (const member of pair()) assert.equal((await member.does.me()).peerConnections, expected);
      });

      story("each sees the other's moving picture", async () => {
        const [alice, bob] = pair();
        await Promise.all([alice.seesMoving(bob), bob.seesMoving(alice)]);
      });

      story("each hears the other", async () => {
        const [alice, bob] = pair();
        await Promise.all([alice.hears(bob), bob.hears(alice)]);
      });

      story("the one who makes a sound is an active speaker", async () => {
        const [alice, bob] = pair();
        await until(
          "bob speaks",
          () => alice.does.happenings(),
          (log) => log.some((entry) => entry.event === "activeSpeakersChanged" && entry.about.includes(bob.identity)),
        );
      });

      story("the publisher learns that somebody subscribed", async () => {
        const [alice] = pair();
        await alice.experiences("localTrackSubscribed", "microphone");
        await alice.experiences("localTrackSubscribed", "camera");
      });

      story("a muted microphone is shown muted, falls silent, and is heard again", async () => {
        const [alice, bob] = pair();
        await bob.does.microphone(false);
        await alice.sees(bob, "muted", (person) => person.tracks["microphone"]?.muted);
        await alice.hearsNothingFrom(bob);
        await bob.does.microphone(true);
        await alice.sees(bob, "unmuted", (person) => person.tracks["microphone"]?.muted === false);
        await alice.hears(bob);
      });

      story("a camera turned off is shown muted, and moves again when turned on", async () => {
        const [alice, bob] = pair();
        await alice.does.camera(false);
        await bob.sees(alice, "without camera", (person) => person.tracks["camera"]?.muted);
        await alice.does.camera(true);
        await bob.sees(alice, "with camera", (person) => person.tracks["camera"]?.muted === false);
        await bob.seesMoving(alice);
      });

      story("a shared screen appears beside the camera, moves, and goes away", async () => {
        const [alice, bob] = pair();
        await alice.does.screen(true);
        await bob.seesMoving(alice, "screen_share");
        await bob.seesMoving(alice);
        await alice.does.screen(false);
        await bob.sees(alice, "without a shared screen", (person) => !person.tracks["screen_share"]);
      });

      story("somebody who comes late sees and hears those already there", async () => {
        const [alice, bob] = pair();
        const carol = await cast.enter("carol");
        await Promise.all([carol.seesMoving(alice), carol.seesMoving(bob), carol.hears(bob)]);
        await carol.does.leave();
        await carol.page.close();
      });

      story("who leaves is gone at once, and is seen again after coming back", async () => {
        const [alice, bob] = pair();
        await bob.does.leave();
        await alice.experiences("participantDisconnected", "bob");
        assert.equal("bob" in (await alice.does.people()), false);
        await cast.rejoin(bob);
        await Promise.all([alice.seesMoving(bob), bob.seesMoving(alice), alice.hears(bob)]);
      });

      story("a reloaded tab takes the place of the old one", async () => {
        const [alice, bob] = pair();
        const before = (await alice.does.people())["bob"]?.sid;
        await bob.page.reload();
        await cast.rejoin(bob);
        await alice.sees(bob, "as a new participant", (person) => person.sid !== before);
        await Promise.all([alice.seesMoving(bob), bob.seesMoving(alice), bob.hears(alice)]);
        assert.equal(Object.keys(await alice.does.people()).filter((identity) => identity === "bob").length, 1);
      });

      story("an unpublished camera can be published again", async () => {
        const [alice, bob] = pair();
        await alice.does.unpublish("camera");
        await bob.sees(alice, "without a camera", (person) => !person.tracks["camera"]);
        await alice.does.camera(true);
        await bob.seesMoving(alice);
      });
    },
  );
}
