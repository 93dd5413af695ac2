/**
 * Two browsers in a meeting of others: `node build/guests.js ROOM`. Speaks lines of JSON with whoever started it: says
 * `{"ready":true}`, answers `{"since_ms":…,"to_ms":…}` with what was noticed in that span and `"report"` with all that helps
 * to understand a failure, and leaves at the end of input.
 */
import { createInterface } from "node:readline";
import { Cast } from "../helpers/cast.ts";
import type { Member } from "../helpers/member.ts";
import { until } from "../helpers/until.ts";
import { endWorld } from "../helpers/world.ts";

/** Longer without a picture, and something is broken: the answer then says so at once. */
const SILENCE_MS = 60_000;

interface Span {
  since_ms: number;
  to_ms: number;
}

const [room = "", expected = "2"] = process.argv.slice(2);
const cast = new Cast({ singlePeerConnection: true }, room);
const say = (words: object) => console.log(JSON.stringify(words));

const members: Member[] = [];
for (const identity of ["chromium-1", "chromium-2"]) {
  const member = await cast.enter(identity);
  await member.does.camera(true, { simulcast: false, videoCodec: "vp8" }, 320, 180, 30);
  members.push(member);
}
await Promise.all(members.map(seesEverybody));
const seen = await Promise.all(members.map((member) => member.does.people()));
/** Identities of all in the meeting, whether they are there now or not. */
const everybody = [...new Set(seen.flatMap((people) => Object.keys(people)))];
say({ ready: true });
for await (const line of createInterface(process.stdin)) {
  const question = JSON.parse(line) as Span | "report";
  if (question === "report") {
    say({ report: await cast.report() });
    continue;
  }
  const span = question;
  const noticed = await Promise.all(members.map((member) => report(member, span)));
  say({
    gap_ms: Math.max(...noticed.map((one) => one.gap_ms)),
    unseen: noticed.flatMap((one) => one.unseen),
    left: noticed.flatMap((one) => one.left),
    busy: noticed.flatMap((one) => one.busy),
  });
}
await cast.close();
await endWorld();

async function seesEverybody(member: Member): Promise<void> {
  await until(
    `${member.identity} sees ${expected} others`,
    () => member.does.people(),
    (people) => Object.values(people).filter((person) => person.tracks["camera"]?.subscribed).length === Number(expected),
    SILENCE_MS,
  );
}

interface Report {
  gap_ms: number;
  unseen: string[];
  left: string[];
  /** Itself, while it reconnects. */
  busy: string[];
}

async function report(member: Member, { since_ms, to_ms }: Span): Promise<Report> {
  const others = everybody.filter((identity) => identity !== member.identity);
  const gaps = await Promise.all(others.map((other) => member.does.longestGap(other, since_ms, to_ms)));
  // Nothing in the whole span.
  const unseen = others.filter((_, index) => gaps[index]! >= to_ms - since_ms);
  const happenings = await member.does.happenings();
  const left = happenings.filter((one) => one.event === "participantDisconnected").map((one) => one.about);
  await member.does.forgetHappenings();
  const busy = (await member.does.me()).state === "connected" ? [] : [member.identity];
  return { gap_ms: Math.max(...gaps), unseen, left, busy };
}
