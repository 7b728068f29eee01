/**
 * The namespaces of a daemon: an engine each, by name. `default` is there from the start; the others are opened with
 * it, made on first use, and dropped. It owns which there are and nothing of what is in them. What is made or dropped
 * is so on disk first (log/namespaces.ts); one thing is done after the other. They share the clock, the log's thread
 * and one memory limit; the failure of one log is the end of the process, as memory may be ahead of it.
 */

import type { Recovered } from "../log/log.ts";
import type { Places } from "../log/namespaces.ts";
import { linesWith } from "../telemetry/lines.ts";
import {
  addTo,
  createMetrics,
  type Metrics,
  metricsJson,
  metricsText,
  type Readings,
  sumOf,
  tookOf,
} from "../telemetry/metrics.ts";
import { type Problem, problem } from "../wire/errors.ts";
import { defaultNamespace } from "../wire/namespaces.ts";
import type { DaemonOperationName, Input, Output } from "../wire/operations.ts";
import type { HealthView } from "../wire/state.ts";
import { Engine, type EngineOptions } from "./engine.ts";
import type { Answer } from "./types.ts";
import { validate } from "./validate.ts";

export type NamespacesOptions = Omit<EngineOptions, "log" | "namespace" | "memory"> & {
  places: Places;
  /** How many there may be, `default` among them. Those that are there are opened all the same. */
  namespacesMax: number;
};

/** The engine that was wanted, and whether it was made for that; or why there is none. */
export type Found = { engine: Engine; created: boolean } | { error: Problem };

export class Namespaces {
  readonly default: Engine;
  readonly #options: NamespacesOptions;
  readonly #places: Places;
  readonly #memory = { bytes: 0 };
  readonly #engines = new Map<string, Engine>();
  /** Those that are dropped, until whoever waits there was told. */
  readonly #leaving = new Set<Engine>();
  /** What was counted in those that are no more. */
  readonly #gone = createMetrics();
  #goneTook = tookOf([]);
  /** What is being made or dropped, one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #isStopping = false;

  constructor(options: NamespacesOptions) {
    this.#options = options;
    this.#places = options.places;
    this.default = this.#engine(defaultNamespace, options.places.default);
    this.#engines.set(defaultNamespace, this.default);
  }

  #engine(namespace: string, log: EngineOptions["log"]): Engine {
    const { telemetry, places: _, namespacesMax: __, ...options } = this.#options;
    const own =
      namespace === defaultNamespace
        ? telemetry
        : { metrics: createMetrics(), lines: linesWith(telemetry.lines, { namespace }) };
    const engine = new Engine({ ...options, log, namespace, memory: this.#memory, telemetry: own });
    engine.namespaces = this;
    return engine;
  }

  /** Opens all that are there, `default` first; its recovery is what is answered. */
  async start(onProgress?: (done: number, total: number) => void): Promise<Recovered> {
    const recovered = await this.default.start(onProgress);
    const { logs, notes } = await this.#places.begin();
    for (const note of notes) this.default.lines.warn("log.mended", { note });
    for (const [name, log] of logs) {
      const engine = this.#engine(name, log);
      await engine.start(onProgress);
      this.#engines.set(name, engine);
    }
    return recovered;
  }

  /** Ends all, `default` last: its lock is that of them all. */
  async stop(step: (name: string) => void = () => {}): Promise<void> {
    this.#isStopping = true;
    await this.#turn;
    const others = [...this.#engines.values()].filter((engine) => engine !== this.default);
    await Promise.all(others.map((engine) => engine.stop()));
    if (others.length > 0) step("closed the other namespaces");
    await this.default.stop(step);
  }

  find(name: string): Engine | undefined {
    return this.#engines.get(name);
  }

  /** The engine of the name, made if there is none. The name is one that the wire takes. */
  make(name: string): Promise<Found> {
    return this.#inTurn(async () => {
      const known = this.#engines.get(name);
      if (known !== undefined) return { engine: known, created: false };
      const { namespacesMax } = this.#options;
      if (this.#isStopping) return { error: stopping };
      if (this.#engines.size >= namespacesMax)
        return {
          error: problem(
            "too-many-namespaces",
            `there are ${this.#engines.size}, and ${name} is none of them`,
          ),
        };
      try {
        const engine = this.#engine(name, await this.#places.make(name));
        await engine.start();
        await this.#places.made(name);
        this.#engines.set(name, engine);
        this.default.lines.info("namespace.made", { namespace: name });
        return { engine, created: true };
      } catch (error) {
        return { error: await this.#notMade(name, error as Error) };
      }
    });
  }

  async #notMade(name: string, error: Error): Promise<Problem> {
    await this.#places.unmake(name).catch(() => {});
    return this.#failed(name, "it could not be made", error);
  }

  /** What the disk refused, and nothing came of. */
  #failed(name: string, what: string, error: Error): Problem {
    this.default.lines.error("namespace.failed", { namespace: name, what, error: error.message });
    return isFull(error)
      ? problem("disk-full", `the namespace ${name}: ${what}, for there is no room`)
      : problem("internal", `the namespace ${name}: ${what}; the daemon's log says more`);
  }

  /** Null: it is gone, whatever happens. Whoever waits there is told after this is. */
  #drop(name: string): Promise<Problem | null> {
    return this.#inTurn(async () => {
      const engine = this.#engines.get(name);
      if (engine === undefined) return problem("unknown-namespace", `there is no namespace ${name}`);
      if (engine === this.default) return undroppable;
      if (this.#isStopping) return stopping;
      try {
        // First, because it is what a full disk may refuse.
        await this.#places.raiseFloor(engine.revision);
      } catch (error) {
        return this.#failed(name, "what it gave out could not be noted, so it stays", error as Error);
      }
      if (!(await engine.endForDrop())) return stopping;
      try {
        await this.#places.raiseFloor(engine.revision);
        await this.#places.drop(name);
      } catch (error) {
        // Its log is closed, and it is still there: only a new start can open it again.
        this.#options.onFailure(error as Error);
        return stopping;
      }
      this.#engines.delete(name);
      this.#leaving.add(engine);
      this.default.lines.info("namespace.dropped", { namespace: name });
      this.#options.clock.after(0, () => {
        engine.dropped();
        this.#leaving.delete(engine);
        addTo(this.#gone, engine.counted);
        this.#goneTook = tookOf([this.#goneTook, engine.took()]);
      });
      void this.#inTurn(() => this.#places.sweep()).catch((error) =>
        this.#failed(name, "it is gone, but its files could not be deleted", error),
      );
      return null;
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Carries out an operation that is about which namespaces there are. */
  async carryOut(operation: DaemonOperationName, input: unknown): Promise<Answer> {
    const invalid = validate(operation, input);
    if (invalid !== null) return { error: invalid };
    if (operation === "namespace.list") return { ok: JSON.stringify(await this.#list()) };
    const { namespace } = input as Input<"namespace.create">;
    if (operation === "namespace.drop") {
      const error = await this.#drop(namespace);
      return error === null ? { ok: JSON.stringify({ namespace }) } : { error };
    }
    const found = await this.make(namespace);
    return "error" in found ? found : { ok: JSON.stringify({ namespace, created: found.created }) };
  }

  async #list(): Promise<Output<"namespace.list">> {
    const views = await Promise.all([...this.#engines.values()].map((engine) => engine.view()));
    const [first, ...others] = views;
    others.sort((a, b) => (a.name < b.name ? -1 : 1));
    return { namespaces: [first!, ...others], namespacesMax: this.#options.namespacesMax };
  }

  // --- for those who look at the daemon as a whole --------------------------------------------------------

  /** Those that go are no concern of the daemon's any more. */
  get #staying(): Engine[] {
    return [...this.#engines.values()].filter((engine) => !engine.isGoing);
  }

  /** That of `default`, with the worst status of all. */
  health(): HealthView {
    const views = this.#staying.map((engine) => engine.health());
    const worst =
      views.find(({ status }) => status === "stopping") ?? views.find(({ status }) => status !== "ok");
    return { ...views[0]!, status: worst?.status ?? "ok", namespaceCount: views.length };
  }

  ready(): { ready: boolean; reason: string } {
    for (const engine of this.#staying) {
      const { ready, reason } = engine.ready();
      if (!ready)
        return { ready, reason: engine === this.default ? reason : `${engine.namespace}: ${reason}` };
    }
    return { ready: true, reason: "" };
  }

  #readings(): Readings {
    const others = [...this.#engines.values()].slice(1).map((engine) => engine.readings());
    return sumOf([this.default.readings(), ...others]);
  }

  #counted(): Metrics {
    const sum = { ...this.#gone };
    for (const { counted } of [...this.#engines.values(), ...this.#leaving]) addTo(sum, counted);
    return sum;
  }

  metrics() {
    return metricsJson(this.#counted(), this.#readings());
  }

  prometheus(): string {
    const engines = [...this.#engines.values(), ...this.#leaving];
    const took = tookOf([this.#goneTook, ...engines.map((engine) => engine.took())]);
    return metricsText(this.#counted(), this.#readings(), took);
  }
}

const stopping = problem("shutting-down", "the daemon is stopping", { retryAfterMs: 1000 });
const undroppable = problem("invalid-input", "the namespace default cannot be dropped", {
  errors: [{ pointer: "/namespace", detail: "must not be default, which is always there" }],
});
const isFull = ({ code, message }: Error & { code?: string }) =>
  code === "ENOSPC" || code === "EDQUOT" || /\bfull\b/i.test(message);

/** The namespace of the name, as seen from one of them, which may stand alone. */
export const engineOf = <E extends { readonly namespace: string; namespaces: Namespaces | null }>(
  engine: E,
  name: string,
): E | Engine | undefined => (name === engine.namespace ? engine : engine.namespaces?.find(name));

/** As `Namespaces.carryOut`, through one of them, which may stand alone. */
export async function administer(
  engine: Pick<Engine, "namespaces" | "view">,
  operation: DaemonOperationName,
  input: unknown,
): Promise<Answer> {
  if (engine.namespaces !== null) return engine.namespaces.carryOut(operation, input);
  if (operation !== "namespace.list")
    return { error: problem("unknown-namespace", "this coordinator has one state alone") };
  return { ok: JSON.stringify({ namespaces: [await engine.view()], namespacesMax: 1 }) };
}
