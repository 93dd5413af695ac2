/** The server under test: the one named by SALA_E2E_URL, or a Sala started on free loopback ports for this run. */
import { spawn, type ChildProcess } from "node:child_process";
import { createWriteStream, existsSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { AccessToken, RoomServiceClient, type AccessTokenOptions, type VideoGrant } from "livekit-server-sdk";
import { until } from "./until.ts";

const REPOSITORY = fileURLToPath(new URL("../../../", import.meta.url));

export interface Server {
  /** Signal URL, `ws://host:port`. */
  url: string;
  rooms: RoomServiceClient;
  token(room: string, identity: string, grant?: VideoGrant, options?: AccessTokenOptions): Promise<string>;
  stop(): Promise<void>;
}

export async function serverUnderTest(): Promise<Server> {
  const named = process.env["SALA_E2E_URL"];
  if (named) return server(named, async () => {});
  const [port, udp, tcp] = [await freePort(), await freePort(), await freePort()];
  const sala = process.env["SALA_BIN"] ?? `${REPOSITORY}target/release/sala`;
  if (!existsSync(sala))
    throw new Error(`there is no ${sala}: build it with \`cargo build --release\`, or set SALA_BIN or SALA_E2E_URL`);
  const child = spawn(sala, ["dev", "--port", `${port}`, "--rtc-udp-port", `${udp}`, "--rtc-tcp-port", `${tcp}`], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const log = createWriteStream(fileURLToPath(new URL("server.log", import.meta.url)));
  child.stdout.pipe(log);
  child.stderr.pipe(log);
  await until(`${sala} answers 200 on /`, () => healthy(port, child));
  return server(`ws://127.0.0.1:${port}`, () => stopped(child));
}

function server(url: string, stop: () => Promise<void>): Server {
  const key = process.env["SALA_E2E_API_KEY"] ?? "devkey";
  const secret = process.env["SALA_E2E_API_SECRET"] ?? "secret";
  const rooms = new RoomServiceClient(url.replace(/^ws/, "http"), key, secret);
  const token: Server["token"] = async (room, identity, grant = {}, options = {}) => {
    const pass = new AccessToken(key, secret, { identity, ...options });
    pass.addGrant({ roomJoin: true, room, ...grant });
    return pass.toJwt();
  };
  return { url, rooms, token, stop };
}

async function healthy(port: number, child: ChildProcess): Promise<boolean> {
  if (child.exitCode !== null) throw new Error(`the server exited with ${child.exitCode}; see build/server.log`);
  return fetch(`http://127.0.0.1:${port}/`).then(
    (answer) => answer.status === 200,
    () => false,
  );
}

async function stopped(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const late = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await gone;
  clearTimeout(late);
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => (address && typeof address === "object" ? resolve(address.port) : reject(new Error("no port"))));
    });
  });
}
