/** Headless Chromiums with fake devices, and the loopback page they open. */
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { toneFile } from "./tone.ts";

const EXECUTABLE = process.env["SALA_E2E_CHROMIUM"] ?? "/usr/bin/chromium";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--use-fake-device-for-media-stream=display-media-type=browser,fps=15",
  "--use-fake-ui-for-media-stream",
  "--autoplay-policy=no-user-gesture-required",
];

/** One browser process; each participant of a story is a page in it. */
export class Chromium {
  private constructor(
    private readonly browser: Browser,
    private readonly context: BrowserContext,
    private readonly pageUrl: string,
    /** The tone every microphone of this browser plays. */
    readonly tone_hz: number,
  ) {}

  static async launch(pageUrl: string, tone_hz: number): Promise<Chromium> {
    const args = [...FLAGS, `--use-file-for-fake-audio-capture=${toneFile(tone_hz)}`];
    const browser = await chromium.launch({ executablePath: EXECUTABLE, headless: true, args });
    const context = await browser.newContext({ permissions: ["camera", "microphone"], viewport: { width: 800, height: 600 } });
    return new Chromium(browser, context, pageUrl, tone_hz);
  }

  /** A new tab with the test page, or with any other. */
  async open(url = this.pageUrl): Promise<Page> {
    const page = await this.context.newPage();
    await page.goto(url);
    return page;
  }

  async close(): Promise<void> {
    await this.browser.close();
  }
}

export interface PageServer {
  url: string;
  close(): void;
}

/** Serves the bundled page; 127.0.0.1 counts as a secure context, so devices are available. */
export async function servePage(): Promise<PageServer> {
  const script = readFileSync(new URL("page.js", import.meta.url));
  const document = `<!doctype html><meta charset="utf-8"><title>Sala test page</title><body><script src="/page.js"></script></body>`;
  const http = createServer((request, response) => {
    const wantsScript = request.url === "/page.js";
    response.setHeader("content-type", wantsScript ? "text/javascript" : "text/html");
    response.end(wantsScript ? script : document);
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const address = http.address();
  if (!address || typeof address !== "object") throw new Error("the page server has no port");
  const close = () => {
    http.close();
    http.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${address.port}/`, close };
}
