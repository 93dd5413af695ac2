/** The suite's handle on one participant: a page of a Chromium, called as if its methods were local. */
import type { Page } from "playwright-core";
import type { PageParticipant, Source } from "../page/participant.ts";
import type { Picture } from "../page/stage.ts";
import { until } from "./until.ts";

type Remote<T> = {
  [K in keyof T as T[K] extends (...args: any[]) => unknown ? K : never]: T[K] extends (...args: infer A) => infer R
    ? (...args: A) => Promise<Awaited<R>>
    : never;
};

/** Change of brightness of some cell, 0 to 255, from which two pictures count as different: above codec noise. */
const MOVED = 12;
/** How far off a tone may be heard: two bins of the analyser. */
const TONE_TOLERANCE_HZ = 25;
/** A sample louder than this is sound, not the comfort noise of a silent line. */
const AUDIBLE = 0.01;
const CONSOLE_LINES_KEPT = 60;
const SIGNALS_TOLD = 25;

export class Member {
  /** Everything the page's participant can do; see page/participant.ts. */
  readonly does: Remote<PageParticipant>;
  readonly #console: string[] = [];

  constructor(
    readonly identity: string,
    readonly page: Page,
    /** What this member's microphone plays. */
    readonly tone_hz: number,
  ) {
    this.does = new Proxy({} as Remote<PageParticipant>, {
      get:
        (_target, method) =>
        (...args: unknown[]) =>
          this.#call(String(method), args),
    });
    page.on("console", (line) => {
      this.#console.push(line.text().slice(0, 300));
      if (this.#console.length > CONSOLE_LINES_KEPT) this.#console.shift();
    });
    page.on("pageerror", (error) => this.#console.push(`uncaught: ${error.message}`));
  }

  /** A picture of `other` arrives, keeps arriving, and is not a frozen one. */
  async seesMoving(other: Member, source: Source = "camera", deadline_ms?: number): Promise<Picture> {
    const title = `${this.identity} sees ${other.identity}'s ${source}`;
    const first = await until(
      `${title}`,
      () => this.does.picture(other.identity, source),
      (seen) => seen && seen.frames > 2,
      deadline_ms,
    );
    return (await until(
      `${title} move`,
      () => this.does.picture(other.identity, source),
      // Fewer frames than before: another element, because the track came anew.
      (seen) =>
        seen && (seen.frames > first!.frames + 3 || seen.frames < first!.frames) && difference(seen, first!) > MOVED,
      deadline_ms,
    ))!;
  }

  /** Audio of `other` is decoded, is louder than silence, and is the tone that `other` plays. */
  async hears(other: Member): Promise<void> {
    const before = (await this.does.sound(other.identity))?.energy ?? 0;
    await until(
      `${this.identity} hears ${other.identity}`,
      () => this.does.sound(other.identity),
      (sound) =>
        sound && sound.peak > AUDIBLE && sound.energy > before && Math.abs(sound.tone_hz - other.tone_hz) < TONE_TOLERANCE_HZ,
    );
  }

  /** The decoder's audio energy stays where it was for the given time, long enough not to be a gap. */
  async hearsNothingFrom(other: Member, quiet_ms = 1_500): Promise<void> {
    let energy = -1;
    let since = performance.now();
    const silent = `${other.identity} is silent for ${this.identity}`;
    await until(
      silent,
      () => this.does.sound(other.identity),
      (sound) => {
        const now = sound?.energy ?? 0;
        if (Math.abs(now - energy) > 1e-4) {
          energy = now;
          since = performance.now();
        }
        return performance.now() - since > quiet_ms;
      },
    );
  }

  async sees(
    other: Member,
    what: string,
    holds: (person: Awaited<ReturnType<PageParticipant["people"]>>[string]) => unknown,
  ): Promise<void> {
    await until(
      `${this.identity} sees ${other.identity} ${what}`,
      () => this.does.people(),
      (people) => people[other.identity] && holds(people[other.identity]!),
    );
  }

  /** An SDK event with this subject was fired since the log was last cleared. */
  async experiences(event: string, about?: string): Promise<void> {
    await until(
      `${this.identity} experiences ${event} ${about ?? ""}`,
      () => this.does.happenings(),
      (log) => log.some((entry) => entry.event === event && (about === undefined || entry.about === about)),
    );
  }

  async experienced(event: string, about?: string): Promise<boolean> {
    return (await this.does.happenings()).some(
      (entry) => entry.event === event && (about === undefined || entry.about === about),
    );
  }

  /** What a failed story needs to be understood without running it again. */
  async report(): Promise<string> {
    if (this.page.isClosed()) return `--- ${this.identity}: page closed`;
    try {
      const signals = (await this.does.transcript())
        .slice(-SIGNALS_TOLD)
        .map((heard) => `${heard.at_ms} ${heard.from} ${JSON.stringify(heard.message).slice(0, 260)}`);
      const happenings = (await this.does.happenings()).map((entry) => `${entry.event}(${entry.about})`).join(" ");
      return [
        `--- ${this.identity}`,
        JSON.stringify(await this.does.me()),
        happenings,
        ...(await this.does.stats()),
        ...signals,
        ...this.#console.slice(-20),
      ].join("\n    ");
    } catch (error) {
      return `--- ${this.identity}: no report, ${String(error)}`;
    }
  }

  #call(method: string, args: unknown[]): Promise<unknown> {
    return this.page.evaluate(
      ([name, given]) => (window.participant as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!(...given),
      [method, args] as const,
    );
  }
}

function difference(one: Picture, other: Picture): number {
  return one.grid.reduce((most, cell, index) => Math.max(most, Math.abs(cell - other.grid[index]!)), 0);
}
