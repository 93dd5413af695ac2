/** Faults of the cluster under test: lines of JSON over the control socket of `sala cluster up` (SALA_CLUSTER_DIR). */
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { until } from "./until.ts";

interface Status {
  media: Array<{ name: string; state: string }>;
  masters: Array<{ name: string; balanced: boolean }>;
  rooms: Array<{ room: string; node: string }>;
}

interface Answer {
  ok: boolean;
  message: string;
  status?: Status;
}

export async function ask(request: { command: string } & Record<string, unknown>): Promise<Answer> {
  const directory = process.env["SALA_CLUSTER_DIR"];
  if (!directory) throw new Error("SALA_CLUSTER_DIR is not set: these stories need a `sala cluster up`");
  const socket = connect(`${directory}/control.sock`);
  socket.write(`${JSON.stringify(request)}\n`);
  for await (const line of createInterface(socket)) {
    socket.destroy();
    const answer = JSON.parse(line) as Answer;
    if (!answer.ok) throw new Error(`${request.command}: ${answer.message}`);
    return answer;
  }
  throw new Error(`${request.command}: the cluster has ended`);
}

export async function status(): Promise<Status> {
  return (await ask({ command: "status" })).status!;
}

/** The node that serves a room, as the masters say. */
export async function ownerOf(room: string): Promise<string> {
  const line = await until(`masters know who serves ${room}`, async () =>
    (await status()).rooms.find((entry) => entry.room === room),
  );
  return line!.node;
}

/** Starts again what a story has killed, and waits until it serves. */
export async function revive(target: string): Promise<void> {
  await ask({ command: "restart", target });
  await until(`${target} serves again`, status, (now) => {
    const node = now.media.find((entry) => entry.name === target);
    return node ? node.state === "serving" : now.masters.find((entry) => entry.name === target)?.balanced;
  });
}
