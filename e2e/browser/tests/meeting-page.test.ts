/** The meeting page that the binary serves: what somebody does who was sent a link. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Page } from "playwright-core";
import { until } from "../helpers/until.ts";
import { world } from "../helpers/world.ts";

const LOGIN = process.env["SALA_E2E_ADMIN"] ?? "admin:admin";

async function createMeeting(origin: string): Promise<string> {
  const response = await fetch(`${origin}/api/v1/meetings`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(LOGIN)}`, "content-type": "application/json" },
    body: "{}",
  });
  assert.equal(response.status, 201);
  const { path } = (await response.json()) as { path: string };
  return origin + path;
}

async function enter(page: Page, name: string): Promise<void> {
  await page.getByTestId("name-input").fill(name);
  await page.getByTestId("join-button").click();
  await page.getByTestId("leave-button").waitFor({ timeout: 20_000 });
}

/** Videos of others that have a picture, by time played. */
function playing(page: Page): Promise<number[]> {
  return page.evaluate(() => {
    const tiles = [...document.querySelectorAll<HTMLVideoElement>('[data-testid="participant-tile"] video')];
    return tiles.filter((video) => video.videoWidth > 0).map((video) => video.currentTime);
  });
}

describe("the meeting page", () => {
  test("two people who open the same link are in a call and can chat", { timeout: 90_000 }, async () => {
    const { server, browsers } = await world();
    const link = await createMeeting(server.url.replace(/^ws/, "http"));
    const [ana, ben] = [await browsers[0].open(link), await browsers[1].open(link)];
    try {
      await enter(ana, "Ana");
      await enter(ben, "Ben");
      for (const page of [ana, ben]) {
        const before = await until("two pictures are shown", () => playing(page), (times) => times.length === 2);
        await until(
          "both pictures move",
          () => playing(page),
          (times) => times.length === 2 && times.every((time, index) => time > before[index]!),
        );
      }
      for (const page of [ana, ben]) await page.getByTestId("chat-toggle").click();
      await ben.getByTestId("chat-input").fill("hello from Ben");
      await ben.keyboard.press("Enter");
      await ana.getByText("hello from Ben").waitFor({ timeout: 10_000 });
    } finally {
      await ana.close();
      await ben.close();
    }
  });

  test("a link with a wrong invite is refused", { timeout: 60_000 }, async () => {
    const { server, browsers } = await world();
    const link = await createMeeting(server.url.replace(/^ws/, "http"));
    const page = await browsers[0].open(link.replace(/#.*/, "#AAAAAAAAAAAAAAAAAAAAAA"));
    try {
      await page.getByTestId("name-input").fill("Eve");
      await page.getByTestId("join-button").click();
      await page.getByTestId("invalid-invite").waitFor({ timeout: 20_000 });
    } finally {
      await page.close();
    }
  });
});
