/**
 * The virtual network. A link is one TCP connection: text goes both ways, late but in order, until the connection
 * ends; then what was on its way is lost. The ends may learn of that at different times, or one of them never
 * (half-open). A host may be cut off for a while (partition): then nothing arrives, and what TCP would send again
 * comes after it. HTTP requests, where each is on its own, are in `Network.http`.
 */
import type { Connection, Handlers, Transport } from "../../client/transport.ts";
import type { Process, World } from "./world.ts";

/** The daemon's end of a link, as a socket server hands it out. */
export type ServerEnd = { receive(text: string): void; closed(): void };

/** What stands at the address: null, nobody listens. */
export type Listener = {
  process: Process;
  accept(link: Link): ServerEnd;
};

/** How long TCP tries before it gives up on a peer that does not answer. */
const giveUpMs = { min: 20_000, max: 90_000 };

export class Link {
  /** Nothing arrives any more, in either direction. */
  #dead = false;
  /** Which ends hold the connection for open. */
  clientOpen = true;
  serverOpen = false;
  #upAt = 0;
  #downAt = 0;
  /** The client does not read until then; what it says goes through. */
  deafUntil = 0;
  #end: ServerEnd | null = null;
  #server: Process | null = null;

  constructor(
    readonly network: Network,
    readonly client: Process,
    private readonly handlers: Handlers,
  ) {}

  get world(): World {
    return this.network.world;
  }

  open(): void {
    const { network, world } = this;
    world.after(network.delay(this.client), () => {
      if (this.#dead || !this.client.alive) return;
      const listener = network.listener();
      if (listener === null) {
        this.tellClient(1006, "connection refused");
        return;
      }
      listener.process.run(() => {
        if (this.#dead || !this.clientOpen) return;
        this.#server = listener.process;
        this.serverOpen = true;
        network.links.add(this);
        this.#end = listener.accept(this);
        this.#down(() => this.handlers.open());
      });
    });
  }

  /** A frame of the client. */
  up(text: string): void {
    const { world, network } = this;
    this.#upAt = Math.max(this.#upAt, world.now + network.delay(this.client));
    world.at(this.#upAt, () => {
      if (this.#dead || !this.serverOpen) return;
      this.#server?.run(() => {
        if (this.#dead || !this.serverOpen) return;
        this.#end?.receive(text);
      });
    });
  }

  /** A frame of the daemon. */
  down(text: string): void {
    if (this.serverOpen) this.#down(() => this.handlers.message(text));
  }

  #down(call: () => void): void {
    const { world, network } = this;
    this.#downAt = Math.max(this.#downAt, this.deafUntil, world.now + network.delay(this.client));
    world.at(this.#downAt, () => {
      if (this.#dead || !this.clientOpen) return;
      this.client.run(() => {
        if (this.#dead || !this.clientOpen) return;
        call();
      });
    });
  }

  closeByClient(): void {
    if (!this.clientOpen) return;
    this.clientOpen = false;
    const { world, network } = this;
    this.#upAt = Math.max(this.#upAt, world.now + network.delay(this.client));
    world.at(this.#upAt, () => {
      if (!this.#dead) this.tellServer();
    });
  }

  closeByServer(code: number, reason: string): void {
    if (!this.serverOpen) return;
    this.serverOpen = false;
    this.network.links.delete(this);
    this.#down(() => {
      this.clientOpen = false;
      this.handlers.close(code, reason);
    });
  }

  tellClient(code: number, reason: string): void {
    this.client.run(() => {
      if (!this.clientOpen) return;
      this.clientOpen = false;
      this.handlers.close(code, reason);
    });
  }

  tellServer(): void {
    this.#server?.run(() => {
      if (!this.serverOpen) return;
      this.serverOpen = false;
      this.network.links.delete(this);
      this.#end?.closed();
    });
  }

  /** The connection breaks. Each end learns of it at once, late, or only when TCP gives up. */
  break(client: "soon" | "late", server: "soon" | "late"): void {
    this.#dead = true;
    const { random } = this.world;
    const wait = (when: "soon" | "late") =>
      when === "soon" ? random.skewed(0.1, 500) : random.between(giveUpMs.min, giveUpMs.max);
    if (this.clientOpen) this.world.after(wait(client), () => this.tellClient(1006, "connection reset"));
    if (this.serverOpen) this.world.after(wait(server), () => this.tellServer());
  }
}

export class Network {
  readonly links = new Set<Link>();
  readonly #cutUntil = new Map<Process, number>();
  /** Delays grow to this. */
  slowestMs = 40;

  constructor(
    readonly world: World,
    readonly listener: () => Listener | null,
  ) {}

  transport(client: Process): Transport {
    return {
      connect: (_url, handlers): Connection => {
        const link = new Link(this, client, handlers);
        link.open();
        return {
          send: (text) => link.up(text),
          close: () => link.closeByClient(),
          bufferedBytes: 0,
        };
      },
    };
  }

  /** How long a packet takes now: the way, and what is left of a partition. */
  delay(host: Process): number {
    const cutUntil = this.#cutUntil.get(host) ?? 0;
    return Math.max(0, cutUntil - this.world.now) + this.world.random.skewed(0.1, this.slowestMs);
  }

  /** The host is cut off from the daemon for so long. */
  cut(host: Process, ms: number): void {
    this.#cutUntil.set(host, this.world.now + ms);
  }

  heal(): void {
    this.#cutUntil.clear();
    this.slowestMs = 5;
  }
}
