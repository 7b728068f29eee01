/**
 * The processes of a benchmark: the daemon, the baseline's server, and the loads. Each run has its own, on free ports
 * of loopback, and ends them; its data folder goes with it.
 */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { allocatorOptions } from "../src/lib/allocator.ts";
import { cleanUp, type Daemon, spawnDaemon, temporaryFolder } from "../test/support/daemon.ts";
import type { BaselineKind } from "./baseline.ts";
import type { Scale } from "./benchmark.ts";
import type { Load, Outcome } from "./load.ts";

const running = new Set<Subprocess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  cleanUp();
});

/** A process of this folder that speaks over IPC: it gets one word to begin with and is asked and heard one by one. */
export class Child {
  readonly #process: Subprocess;
  readonly #heard: unknown[] = [];
  #wake: () => void = () => {};
  #isEnding = false;

  constructor(file: string, begin: unknown) {
    this.#process = Bun.spawn([process.execPath, join(import.meta.dir, file)], {
      ipc: (message) => {
        this.#heard.push(message);
        this.#wake();
      },
      onExit: () => {
        if (this.#isEnding) return;
        process.stderr.write(
          "a process of the benchmark ended before it was done; what it said stands above\n",
        );
        process.exit(1);
      },
      // The baselines as the daemon gives them to itself, and the loads so that they leave it more of the machine.
      env: { ...process.env, ...allocatorOptions },
      stdio: ["ignore", "inherit", "inherit"],
    });
    running.add(this.#process);
    this.say(begin);
  }

  get pid(): number {
    return this.#process.pid;
  }

  say(message: unknown): void {
    this.#process.send(message);
  }

  async next(): Promise<unknown> {
    while (this.#heard.length === 0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.#heard.shift();
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    this.#process.kill("SIGKILL");
    await this.#process.exited;
    running.delete(this.#process);
  }
}

/** A load that is connected and waits for its start. */
export type Loading = {
  start(): void;
  /** For a load without an end of its own. */
  stop(): void;
  outcome(): Promise<Outcome>;
  /** Ends it as it is. */
  end(): Promise<void>;
};

export async function load(what: Load): Promise<Loading> {
  const child = new Child("load.ts", what);
  await child.next();
  return {
    start: () => child.say("start"),
    stop: () => child.say("stop"),
    async outcome() {
      const outcome = (await child.next()) as Outcome;
      await child.end();
      return outcome;
    },
    end: () => child.end(),
  };
}

/** Runs one load from its start to its end. */
export async function loaded(what: Load): Promise<Outcome> {
  const loading = await load(what);
  loading.start();
  return loading.outcome();
}

export type Server = { url: string; port: number; pid: number };

export async function withBaseline<T>(kind: BaselineKind, run: (server: Server) => Promise<T>): Promise<T> {
  const folder = temporaryFolder();
  const child = new Child("baseline.ts", { kind, folder });
  try {
    const port = (await child.next()) as number;
    return await run({ port, url: `ws://127.0.0.1:${port}`, pid: child.pid });
  } finally {
    await child.end();
    rmSync(folder, { recursive: true });
  }
}

/** The one number that a baseline without a server finds out. */
export async function askBaseline(kind: BaselineKind, folder = ""): Promise<number> {
  const child = new Child("baseline.ts", { kind, folder });
  const said = (await child.next()) as number;
  await child.end();
  return said;
}

export async function startDaemon(
  scale: Scale,
  data = temporaryFolder(),
  more: string[] = [],
): Promise<Daemon> {
  const environment: Record<string, string> = {};
  if (scale.profile !== null) environment.BUN_OPTIONS = `--cpu-prof --cpu-prof-dir=${scale.profile}`;
  return spawnDaemon({ preset: "durable", data, environment, args: ["--log-level", "info", ...more] });
}

/** Runs against a durable daemon of its own. */
export async function withDaemon<T>(scale: Scale, run: (daemon: Daemon) => Promise<T>): Promise<T> {
  const daemon = await startDaemon(scale);
  try {
    const result = await run(daemon);
    const code = await daemon.stop();
    if (code !== 0) throw new Error(`the daemon ended with ${code}: ${daemon.errors()}`);
    return result;
  } finally {
    await daemon.kill();
    rmSync(daemon.data, { recursive: true });
  }
}

export type DaemonMetrics = {
  daemon: {
    tasksSubmitted: number;
    tasksCompleted: number;
    tasksQueued: number;
    keys: number;
    locksHeld: number;
    locksWaiting: number;
    memoryBytes: number;
  };
  store: {
    syncs: number;
    batchesLogged: number;
    entriesLogged: number;
    revision: number;
    durableRevision: number;
    logBytes: number;
  };
  bus: { messagesLost: number; subscriptionsOpen: number };
};

export async function metricsOf(daemon: Daemon): Promise<DaemonMetrics> {
  const response = await fetch(`${daemon.url}/api/metrics`);
  if (!response.ok) throw new Error(`GET /api/metrics answered ${response.status}`);
  return (await response.json()) as DaemonMetrics;
}

/** Runs the work: what it found, and how many syncs it took; each batch must have had its own. */
export async function countingSyncs<T>(
  daemon: Daemon,
  work: () => Promise<T>,
): Promise<{ found: T; syncs: number }> {
  const before = await metricsOf(daemon);
  const found = await work();
  const after = await metricsOf(daemon);
  const syncs = after.store.syncs - before.store.syncs;
  const batches = after.store.batchesLogged - before.store.batchesLogged;
  // A batch on its way has been counted and not synced yet; one that was on its way before, the other way round.
  if (batches === 0 || syncs < batches - 1)
    throw new Error(`${batches} batches were acknowledged with ${syncs} syncs`);
  return { found, syncs };
}

/** No more than what is in flight can share a sync. */
export function expectSyncs(syncs: number, total: number, what: string, inFlight: number): void {
  if (syncs < total / inFlight) throw new Error(`${total} ${what} took ${syncs} syncs`);
}

export const perSecond = ({ count, startedAt, endedAt }: Pick<Outcome, "count" | "startedAt" | "endedAt">) =>
  (1000 * count) / (endedAt - startedAt);

/** What a process uses, as Linux tells it. */
export function usageOf(pid: number): { cpuMs: number; residentBytes: number } {
  const read = (file: string) => readFileSync(`/proc/${pid}/${file}`, "utf8");
  let cpuNs = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`))
    cpuNs += Number.parseInt(read(`task/${thread}/schedstat`), 10);
  const resident = /^VmRSS:\s+(\d+) kB/m.exec(read("status"));
  return { cpuMs: cpuNs / 1e6, residentBytes: Number(resident?.[1]) * 1024 };
}
