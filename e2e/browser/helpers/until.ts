/** Waiting for something to become true, with a deadline and a failure that says what was last seen. */
import { setTimeout as pause } from "node:timers/promises";

/** Enough for a full reconnect on a busy two-core machine; a healthy step takes well under a second. */
const DEADLINE_MS = 20_000;
/** Often enough not to add noticeable time to a step, rare enough to leave the CPU to the browsers. */
const PROBE_EVERY_MS = 120;

export async function until<T>(
  story: string,
  probe: () => T | Promise<T>,
  holds: (seen: T) => unknown = Boolean,
  deadline_ms = DEADLINE_MS,
): Promise<T> {
  const end = performance.now() + deadline_ms;
  for (;;) {
    const seen = await probe();
    if (holds(seen)) return seen;
    if (performance.now() > end) {
      throw new Error(`not within ${deadline_ms} ms: ${story}; last seen: ${JSON.stringify(seen)?.slice(0, 1500)}`);
    }
    await pause(PROBE_EVERY_MS);
  }
}
