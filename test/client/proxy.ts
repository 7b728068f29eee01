/** A proxy as they stand between people and daemons: it may refuse upgrades, cut connections, or lose answers. */

import type { AddressInfo } from "node:net";
import { connect, createServer, type Server, type Socket } from "node:net";

type Pair = { client: Socket; daemon: Socket; isSocket: boolean; deaf: boolean };

export class FaultyProxy {
  /** Whether a WebSocket gets through. */
  upgrades = true;
  refusedCount = 0;
  readonly #pairs = new Set<Pair>();
  readonly #server: Server;

  private constructor(private readonly daemonPort: number) {
    this.#server = createServer((client) => this.#accept(client));
  }

  static start(daemonPort: number): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(daemonPort);
    return new Promise((resolve) => proxy.#server.listen(0, "127.0.0.1", () => resolve(proxy)));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #accept(client: Socket): void {
    const daemon = connect(this.daemonPort, "127.0.0.1");
    const pair: Pair = { client, daemon, isSocket: false, deaf: false };
    this.#pairs.add(pair);
    const end = () => this.#end(pair);
    for (const socket of [client, daemon]) socket.on("error", end).on("close", end);
    client.once("data", (head) => {
      pair.isSocket = /^upgrade: *websocket/im.test(head.toString("latin1"));
      if (!pair.isSocket || this.upgrades) return;
      this.refusedCount++;
      client.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
      daemon.destroy();
    });
    client.on("data", (bytes) => {
      if (!daemon.destroyed) daemon.write(bytes);
    });
    daemon.on("data", (bytes) => {
      if (!pair.deaf && !client.destroyed) client.write(bytes);
    });
  }

  #end(pair: Pair): void {
    if (!this.#pairs.delete(pair)) return;
    pair.client.destroySoon();
    pair.daemon.destroy();
  }

  /** Ends connections: WebSockets, or all of them. */
  cut(which: "sockets" | "all"): void {
    for (const pair of [...this.#pairs])
      if (which === "all" || pair.isSocket) {
        pair.client.destroy();
        this.#end(pair);
      }
  }

  /** From now on the connections that stand take what is sent and bring no answers. */
  deafen(): void {
    for (const pair of this.#pairs) pair.deaf = true;
  }

  async stop(): Promise<void> {
    this.cut("all");
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
