/**
 * Listens to the page's signal sockets and keeps the last messages in readable form, so that a failed test can show
 * what client and server said to each other. It never alters a message.
 */
import {
  JoinRequest,
  SignalRequest,
  SignalResponse,
  WrappedJoinRequest,
  WrappedJoinRequest_Compression,
} from "@livekit/protocol";

export interface Heard {
  at_ms: number;
  from: "client" | "server" | "socket";
  message: unknown;
}

/** Older messages are forgotten: a failure is explained by the last exchange, and a long call must not fill memory. */
const KEPT_MESSAGES = 2000;

const heard: Heard[] = [];

export function transcript(): Heard[] {
  return heard;
}

function note(from: Heard["from"], message: unknown): void {
  heard.push({ at_ms: Math.round(performance.now()), from, message });
  if (heard.length > KEPT_MESSAGES) heard.shift();
}

function noteRequest(data: unknown): void {
  if (data instanceof Uint8Array) note("client", SignalRequest.fromBinary(data).toJson());
  else if (data instanceof ArrayBuffer) note("client", SignalRequest.fromBinary(new Uint8Array(data)).toJson());
  else note("client", { unexpected: String(data) });
}

function noteResponse(data: unknown): void {
  if (data instanceof ArrayBuffer) note("server", SignalResponse.fromBinary(new Uint8Array(data)).toJson());
  else note("server", { unexpected: String(data) });
}

/** The single-PC join travels in the URL; the token in it is left out. */
async function noteOpening(url: URL): Promise<void> {
  const parameters = Object.fromEntries(
    [...url.searchParams].filter(([name]) => name !== "access_token" && name !== "join_request"),
  );
  const opening: Record<string, unknown> = { open: url.pathname, parameters };
  note("client", opening);
  const packed = url.searchParams.get("join_request");
  if (!packed) return;
  const bytes = Uint8Array.from(atob(packed.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  const wrapped = WrappedJoinRequest.fromBinary(bytes);
  opening["compression"] = WrappedJoinRequest_Compression[wrapped.compression];
  opening["join_request"] = JoinRequest.fromBinary(await inflate(wrapped)).toJson();
}

async function inflate(wrapped: WrappedJoinRequest): Promise<Uint8Array> {
  if (wrapped.compression !== WrappedJoinRequest_Compression.GZIP) return wrapped.joinRequest;
  const plain = new Blob([wrapped.joinRequest as BlobPart]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

export function installWiretap(): void {
  const Native = window.WebSocket;
  window.WebSocket = class extends Native {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      void noteOpening(new URL(url));
      this.addEventListener("message", (event) => noteResponse(event.data));
      this.addEventListener("close", (event) => note("socket", { closed: event.code, reason: event.reason }));
    }

    override send(data: string | ArrayBufferLike | Blob | ArrayBufferView<ArrayBuffer>): void {
      noteRequest(data);
      super.send(data as ArrayBuffer);
    }
  };
}
