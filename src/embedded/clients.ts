/**
 * The clients and workers of a coordinator inside a process: the ones of `client/`, with the network of this room in
 * the place of a socket. It knows whom it made, so that they can be found on the network and end with the coordinator.
 */
import {
  ClientError,
  CoordinationClient,
  type Environment,
  type Handled,
  type Handler,
  type RunningWorker,
  type StopOptions,
  type Transports,
  worker,
} from "../../client/index.ts";
import type { EmbeddedClientOptions, EmbeddedWorkerOptions } from "./coordinator.ts";
import { Host, type Network } from "./network.ts";

const url = "ws://in-process";

export class Clients {
  readonly #hosts = new Map<CoordinationClient, Host>();
  readonly #workers = new Set<RunningWorker>();
  /** Ends workers that are still connecting. */
  readonly #end = new AbortController();

  constructor(
    private readonly network: Network,
    private readonly environment: Environment,
    private readonly carriers: (of: Required<Transports>) => Transports,
  ) {}

  client(options: EmbeddedClientOptions = {}): CoordinationClient {
    const { host, settled } = this.#place();
    const client = new CoordinationClient({ ...options, ...settled });
    this.#know(client, host);
    return client;
  }

  async worker<P, R>(
    queue: string | string[],
    handler: Handler<P, R> | readonly Handled[],
    options: EmbeddedWorkerOptions = {},
  ): Promise<RunningWorker> {
    const { host, settled } = this.#place();
    const { signal = this.#end.signal } = options;
    const both = AbortSignal.any([this.#end.signal, signal]);
    const running = await worker(queue, handler, { ...options, ...settled, signal: both });
    this.#know(running.client, host);
    this.#workers.add(running);
    running.client.on("closed", () => this.#workers.delete(running));
    return running;
  }

  #place() {
    if (this.#end.signal.aborted) throw stopped();
    const host = new Host();
    const transport = this.carriers(this.network.transports(host));
    return { host, settled: { url, transport, environment: this.environment } };
  }

  #know(client: CoordinationClient, host: Host): void {
    if (client.state === "closed") return;
    this.#hosts.set(client, host);
    client.on("closed", () => this.#hosts.delete(client));
  }

  /** Where a client, a worker, or the worker of this id is. */
  hostOf(who: CoordinationClient | RunningWorker | string): Host {
    for (const [client, host] of this.#hosts)
      if (
        client === who ||
        client.workerId === who ||
        (typeof who === "object" && "client" in who && who.client === client)
      )
        return host;
    throw new Error(
      `${typeof who === "string" ? `worker ${who}` : "this client"} is none of this coordinator's, or is closed`,
    );
  }

  /** Lets workers end what they do. */
  async stopWorkers(options?: StopOptions): Promise<void> {
    await Promise.all([...this.#workers].map((running) => running.stop(options)));
  }

  /** For good. */
  close(): void {
    this.#end.abort(stopped());
    for (const client of [...this.#hosts.keys()]) client.close();
  }
}

const stopped = () => new ClientError("closed", "the coordinator was stopped");
