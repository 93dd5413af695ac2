/** A scene: a room of its own, the members who enter it, and the stories that happen there one after the other. */
import { after, before, describe, it, type TestContext } from "node:test";
import type { RoomConnectOptions, RoomOptions, TrackPublishOptions } from "livekit-client";
import type { VideoGrant } from "livekit-server-sdk";
import { Member } from "./member.ts";
import { world } from "./world.ts";

export interface Entrance {
  /** SDK room options, on top of the scene's. */
  room?: RoomOptions;
  connect?: RoomConnectOptions;
  grant?: VideoGrant;
  /** Publish camera and microphone right after joining. */
  media?: boolean;
  publish?: TrackPublishOptions;
  /** Signal URL to use instead of the server's own, e.g. a cuttable proxy. */
  url?: string;
}

export type Mode = "single-PC" | "dual-PC";
export const MODES: readonly Mode[] = ["single-PC", "dual-PC"];

export function modeOptions(mode: Mode): RoomOptions {
  return { singlePeerConnection: mode === "single-PC" };
}

let scenes = 0;

export class Cast {
  readonly #members = new Map<string, Member>();
  readonly #entrances = new Map<string, Entrance>();
  readonly #props: Array<{ close(): void }> = [];

  constructor(
    readonly options: RoomOptions = {},
    readonly room = `e2e-${process.pid}-${++scenes}`,
  ) {}

  member(identity: string): Member {
    const member = this.#members.get(identity);
    if (!member) throw new Error(`${identity} is not in the scene`);
    return member;
  }

  /** Something the scene needs besides its members, closed with it. */
  keep<T extends { close(): void }>(prop: T): T {
    this.#props.push(prop);
    return prop;
  }

  /** Opens a page without joining; members alternate between the two Chromiums. */
  async bring(identity: string): Promise<Member> {
    const { browsers } = await world();
    const browser = this.#members.size % 2 === 0 ? browsers[0] : browsers[1];
    const member = new Member(identity, await browser.open(), browser.tone_hz);
    this.#members.set(identity, member);
    return member;
  }

  async enter(identity: string, entrance: Entrance = {}): Promise<Member> {
    const member = await this.bring(identity);
    this.#entrances.set(identity, entrance);
    await this.rejoin(member);
    return member;
  }

  /** Joins, or joins again, the way the member entered. */
  async rejoin(member: Member): Promise<void> {
    const entrance = this.#entrances.get(member.identity) ?? {};
    const { server } = await world();
    const token = await server.token(this.room, member.identity, entrance.grant);
    const room = { ...this.options, ...entrance.room };
    await member.does.join({
      url: entrance.url ?? server.url,
      token,
      room,
      ...(entrance.connect && { connect: entrance.connect }),
    });
    if (!entrance.media) return;
    await member.does.camera(true, entrance.publish);
    await member.does.microphone(true);
  }

  async report(): Promise<string> {
    const reports = await Promise.all([...this.#members.values()].map((member) => member.report()));
    return reports.join("\n");
  }

  async close(): Promise<void> {
    for (const member of this.#members.values()) {
      if (member.page.isClosed()) continue;
      await member.does.leave().catch(() => {});
      await member.page.close();
    }
    for (const prop of this.#props) prop.close();
  }
}

export type Story = (title: string, happens: (context: TestContext) => Promise<void>) => void;

/** Declares a scene. `enter` sets the stage; the stories then run in order in the same room. */
export function scene(
  title: string,
  options: RoomOptions,
  enter: (cast: Cast) => Promise<void>,
  play: (story: Story, cast: Cast) => void,
): void {
  describe(title, () => {
    const cast = new Cast(options);
    const told = async (happens: () => Promise<void>) => {
      try {
        await happens();
      } catch (error) {
        console.error(await cast.report());
        throw error;
      }
    };
    before(() => told(() => enter(cast)));
    after(() => cast.close());
    play((name, happens) => it(name, (context) => told(() => happens(context))), cast);
  });
}
