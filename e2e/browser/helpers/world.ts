/** What the whole run shares: the server under test, the page and two Chromiums. Started on first use, ended by the suite. */
import { Chromium, servePage, type PageServer } from "./chromium.ts";
import { serverUnderTest, type Server } from "./server.ts";

export interface World {
  server: Server;
  page: PageServer;
  browsers: [Chromium, Chromium];
}

let started: Promise<World> | undefined;

export function world(): Promise<World> {
  started ??= start();
  return started;
}

async function start(): Promise<World> {
  const server = await serverUnderTest();
  const page = await servePage();
  const browsers: [Chromium, Chromium] = [await Chromium.launch(page.url, 440), await Chromium.launch(page.url, 1000)];
  return { server, page, browsers };
}

export async function endWorld(): Promise<void> {
  if (!started) return;
  const { server, page, browsers } = await started;
  for (const browser of browsers) await browser.close();
  page.close();
  await server.stop();
}
