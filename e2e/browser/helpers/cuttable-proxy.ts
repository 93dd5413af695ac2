/** A loopback TCP relay in front of the server's signal port, so that a test can really cut the WebSocket. */
import { connect, createServer, type Server, type Socket } from "node:net";

export class CuttableProxy {
  readonly #sockets = new Set<Socket>();
  #refusing = false;

  private constructor(
    private readonly listener: Server,
    readonly url: string,
  ) {}

  static async before(signalUrl: string): Promise<CuttableProxy> {
    const target = new URL(signalUrl);
    const listener = createServer();
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    const address = listener.address();
    if (!address || typeof address !== "object") throw new Error("the proxy has no port");
    const proxy = new CuttableProxy(listener, `ws://127.0.0.1:${address.port}`);
    listener.on("connection", (client) => proxy.#relay(client, Number(target.port), target.hostname));
    return proxy;
  }

  /** Resets every open connection: no close frame, as when a network goes away. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Cuts, and turns new connections away until `restore`. */
  goDark(): void {
    this.#refusing = true;
    this.cut();
  }

  restore(): void {
    this.#refusing = false;
  }

  close(): void {
    this.listener.close();
    this.cut();
  }

  #relay(client: Socket, port: number, host: string): void {
    if (this.#refusing) {
      client.resetAndDestroy();
      return;
    }
    const server = connect(port, host);
    for (const [socket, peer] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.pipe(peer);
      socket.on("error", () => peer.destroy());
      socket.on("close", () => {
        this.#sockets.delete(socket);
        peer.destroy();
      });
    }
  }
}
