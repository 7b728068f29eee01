/**
 * The virtual network. A link is one TCP connection: text goes both ways, late but in order, until the connection
 * ends; then what was on its way is lost. The ends may learn of that at different times, or one of them never
 * (half-open). A host may be cut off for a while (partition): then nothing arrives, and what TCP would send again
 * comes after it. A request with a frame finds its own way: it may come late, after others, or after its sender has
 * given it up; its answer may be lost. A host may for a while have no WebSocket: upgrades are refused, or swallowed.
 */
import type { Transports } from "../../client/connection.ts";
import type { Connection, Greeter, Handlers } from "../../client/transport.ts";
import type { From } from "../../src/http/posts.ts";
import type { Problem } from "../../src/wire/errors.ts";
import type { Event, Process, World } from "./world.ts";

/** The daemon's end of a link, as a socket server hands it out. */
export type ServerEnd = { receive(text: string): void; closed(): void };

/** What stands at the address: null, nobody listens. */
export type Listener = {
  process: Process;
  accept(link: Link): ServerEnd;
  /** A request with a frame. */
  post(frame: string, from: From, answered: (answer: string | Problem) => void): void;
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
      const refusal = network.refusal(this.client);
      if (refusal === "swallowed") return;
      if (listener === null || refusal !== null) {
        this.tellClient(1006, refusal ?? "connection refused");
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

/** A request that has no answer yet. */
type Post = { client: Process; controller: AbortController; timer: Event; inLane: boolean };

/** A connection made of requests, as the client has it. */
class Asking implements Connection {
  readonly #open = new Set<Post>();
  #ended = false;

  constructor(
    readonly network: Network,
    readonly client: Process,
    private readonly handlers: Handlers,
    private readonly greeter: Greeter,
  ) {
    network.asking.add(this);
    client.after(0, () => this.#ended || handlers.open());
  }

  get bufferedBytes(): number {
    return [...this.#open].some(({ inLane }) => inLane) ? 1 : 0;
  }
  send(text: string, withinMs: number): void {
    this.#post(text, withinMs, true);
  }
  apart(text: string, withinMs: number): () => void {
    const post = this.#post(text, withinMs, false);
    return () => this.#giveUp(post);
  }

  #post(text: string, withinMs: number, inLane: boolean): Post {
    const { network, client, greeter } = this;
    const { world } = network;
    const { random } = world;
    const controller = new AbortController();
    const timer = client.after(withinMs, () => this.end("no answer"));
    const post: Post = { client, controller, timer, inLane };
    this.#open.add(post);
    const from: From = {
      session: greeter.session,
      connection: greeter.connection,
      signal: controller.signal,
      waits() {},
    };
    world.count("post.sent");
    const late = random.chance(network.lossy);
    world.after(late ? random.between(100, 9000) : network.delay(client), () => {
      const listener = network.listener();
      if (listener === null) this.#told(post, () => this.end("connection refused"));
      else
        listener.process.run(() =>
          listener.post(text, from, (answer) => {
            if (!random.chance(network.lossy)) this.#told(post, () => this.#answer(answer));
          }),
        );
    });
    // A proxy that heard nothing may send it once more, and then nobody waits for the answer.
    if (random.chance(network.lossy / 2))
      world.after(random.between(10, 9000), () => {
        const listener = network.listener();
        const gone = new AbortController();
        if (!network.mayRepeat(from.session, text)) return;
        listener?.process.run(() => listener.post(text, { ...from, signal: gone.signal }, () => {}));
        world.after(random.between(10, 9000), () => gone.abort());
        world.count("post.repeated");
      });
    return post;
  }

  #told(post: Post, tell: () => void): void {
    this.network.world.after(this.network.delay(this.client), () =>
      this.client.run(() => {
        if (!this.#open.delete(post)) return;
        post.timer.call = null;
        tell();
      }),
    );
  }

  #answer(answer: string | Problem): void {
    if (typeof answer === "string") this.handlers.message(answer);
    else this.end(answer.code, answer);
  }

  /** Whether the daemon learns of it is a matter of luck. */
  #giveUp(post: Post): void {
    const { world } = this.network;
    if (!this.#open.delete(post)) return;
    post.timer.call = null;
    if (world.random.chance(0.7)) world.after(this.network.delay(this.client), () => post.controller.abort());
  }

  close(): void {
    this.#ended = true;
    this.network.asking.delete(this);
    for (const post of [...this.#open]) this.#giveUp(post);
  }

  end(reason: string, refusal?: Problem): void {
    if (this.#ended) return;
    this.close();
    this.handlers.close(0, reason, refusal);
  }
}

export class Network {
  readonly links = new Set<Link>();
  readonly asking = new Set<Asking>();
  readonly #noSocketsUntil = new Map<Process, number>();
  readonly #cutUntil = new Map<Process, number>();
  /** Only what was carried out: the sender of a refused request may have told the world that it was. */
  mayRepeat: (session: string, frame: string) => boolean = () => false;
  /** Which part of the requests comes late, and of the answers never. */
  lossy = 0;
  /** Delays grow to this. */
  slowestMs = 40;

  constructor(
    readonly world: World,
    readonly listener: () => Listener | null,
  ) {}

  transports(client: Process): Required<Transports> {
    return {
      websocket: {
        connect: (_url, handlers): Connection => {
          const link = new Link(this, client, handlers);
          link.open();
          return {
            send: (text) => link.up(text),
            close: () => link.closeByClient(),
            bufferedBytes: 0,
          };
        },
      },
      http: { connect: (_url, handlers, greeter) => new Asking(this, client, handlers, greeter) },
    };
  }

  /** What becomes of an upgrade; null: it is taken. */
  refusal(host: Process): string | null {
    if ((this.#noSocketsUntil.get(host) ?? 0) <= this.world.now) return null;
    return this.world.random.chance(0.2) ? "swallowed" : "the upgrade was refused";
  }

  /** For so long the host can have no WebSocket; where it is for ever, healing does not mend it. */
  noSockets(host: Process, ms: number): void {
    this.#noSocketsUntil.set(host, this.world.now + ms);
  }

  /** Requests end with the process at either end of them. */
  broken(client: Process | null): void {
    const { random } = this.world;
    for (const one of [...this.asking]) {
      if (client !== null && one.client !== client) continue;
      if (client !== null) one.close();
      else if (random.chance(0.7))
        this.world.after(random.skewed(0.1, 500), () => one.client.run(() => one.end("connection reset")));
    }
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
    for (const [host, until] of this.#noSocketsUntil)
      if (until < Number.POSITIVE_INFINITY) this.#noSocketsUntil.delete(host);
    this.slowestMs = 5;
    this.lossy = 0;
  }
}
