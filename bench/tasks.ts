/**
 * The benchmarks of tasks: how many a second come in, how many go through their whole life, and how soon one that is
 * submitted at rest reaches its handler. Each proves by the daemon's own counters that what was answered was there
 * and was synced.
 */
import { RestClient } from "../client/rest.ts";
import type { Daemon } from "../test/support/daemon.ts";
import type { Benchmark, Figures, Scale } from "./benchmark.ts";
import {
  countingSyncs,
  load,
  loaded,
  metricsOf,
  perSecond,
  type Server,
  usageOf,
  withBaseline,
  withDaemon,
} from "./children.ts";
import type { Length, Load, Outcome } from "./load.ts";

const rate = { unit: "tasks/s", better: "more" } as const;
/** Of the server's process, all threads: other work on the machine moves it far less than a rate. */
const cpu = { unit: "µs a task", better: "less" } as const;
/** How well commits are shared. */
const perSync = { unit: "tasks", better: "more" } as const;

function expectCount(what: string, found: number, expected: number): void {
  if (found !== expected) throw new Error(`the daemon counts ${found} tasks ${what}, not ${expected}`);
}

const timed = ({ warmMs, runMs }: Scale): Length => ({ warmMs, runMs });

/**
 * A smoke run does so much and ends, however slow the machine is: of CPU that is measured from the first operation on,
 * what the code costs until it is warm must be the same part each time.
 */
const smokeCount = 20_000;
/** Ten times as much of an echo, which is done before anything can be measured otherwise. */
export const lengthOf = (scale: Scale, echo = false): Length =>
  scale.smoke ? { count: echo ? 10 * smokeCount : smokeCount } : timed(scale);

/** Runs one load against the server of this process; of `total` operations. */
export async function answering(pid: number, what: Load): Promise<{ total: number; figures: Figures }> {
  const loading = await load(what);
  const before = usageOf(pid).cpuMs;
  loading.start();
  const outcome = await loading.outcome();
  const cpuMs = usageOf(pid).cpuMs - before;
  const { total } = outcome;
  return { total, figures: { rate: perSecond(outcome), cpu: (1000 * cpuMs) / total } };
}

/** The side at which one load is sent back as it came. */
export const echoing = (loadOf: (url: string, scale: Scale) => Load) => (scale: Scale) =>
  withBaseline("echo", async ({ url, pid }) => (await answering(pid, loadOf(url, scale))).figures);

/** A benchmark in which one load submits as fast as it is answered. */
function submitting(
  name: string,
  says: string,
  loadOf: (daemon: Daemon, length: Length) => Load,
  against: string,
  baseline: { kind: "echo" | "route"; loadOf: (server: Server, length: Length) => Load },
): Benchmark {
  return {
    name,
    says,
    against,
    figures: { rate, cpu, perSync },
    sides: {
      baseline: (scale) =>
        withBaseline(baseline.kind, async (server) => {
          const what = baseline.loadOf(server, lengthOf(scale, true));
          return (await answering(server.pid, what)).figures;
        }),
      cortexd: (scale) =>
        withDaemon(scale, async (daemon) => {
          const { found, syncs } = await countingSyncs(daemon, () =>
            answering(daemon.pid, loadOf(daemon, lengthOf(scale))),
          );
          const { total, figures } = found;
          expectCount("submitted", (await metricsOf(daemon)).daemon.tasksSubmitted, total);
          return { ...figures, perSync: total / syncs };
        }),
    },
  };
}

const frames = (
  url: string,
  operation: "submit" | "complete",
  perFrame: number,
  inFlight: number,
  length: Length,
  echo: boolean,
  groups = 0,
): Load => ({ kind: "frames", url, operation, perFrame, inFlight, length, echo, groups });

const submitFrames = submitting(
  "submit-frames",
  "One connection submits in frames of 100 operations, 4 frames in flight.",
  ({ wsUrl }, length) => frames(wsUrl, "submit", 100, 4, length, false),
  "the same frames through a bare WebSocket echo.",
  { kind: "echo", loadOf: ({ url }, length) => frames(url, "submit", 100, 4, length, true) },
);

const submitSingle = submitting(
  "submit-single",
  "One connection submits in frames of one operation, 64 in flight.",
  ({ wsUrl }, length) => frames(wsUrl, "submit", 1, 64, length, false),
  "the same frames through a bare WebSocket echo.",
  { kind: "echo", loadOf: ({ url }, length) => frames(url, "submit", 1, 64, length, true) },
);

const submitClient = submitting(
  "submit-client",
  "400 concurrent callers of the public client, each awaiting its submit.",
  ({ wsUrl }, length) => ({ kind: "callers", url: wsUrl, callers: 400, length }),
  "bare frames of 100 of the same operations, 4 in flight, through an echo.",
  { kind: "echo", loadOf: ({ url }, length) => frames(url, "submit", 100, 4, length, true) },
);

const submitRest = submitting(
  "submit-rest",
  "POST /api/tasks over 64 kept connections.",
  ({ port }, length) => ({ kind: "requests", port, connections: 64, length }),
  "the same requests to an empty Elysia route that validates them.",
  { kind: "route", loadOf: ({ port }, length) => ({ kind: "requests", port, connections: 64, length }) },
);

/** What workers do, from the first beginning to the last answer. */
function together(outcomes: readonly Outcome[], startedAt: number): Outcome {
  return {
    count: outcomes.reduce((sum, { count }) => sum + count, 0),
    startedAt,
    endedAt: Math.max(...outcomes.map(({ endedAt }) => endedAt)),
    total: outcomes.reduce((sum, { total }) => sum + total, 0),
    times: [],
  };
}

async function completed(daemon: Daemon, count: number): Promise<void> {
  while ((await metricsOf(daemon)).daemon.tasksCompleted < count) await Bun.sleep(50);
}

const capacity = 1000;

/** The whole life of so many tasks: submitted before the workers come, or while they work. */
async function lives(
  daemon: Daemon,
  count: number,
  workers: number,
  how: { bare: boolean; queuedBefore: boolean; groups?: number },
): Promise<Figures> {
  const submit = frames(daemon.wsUrl, "submit", 100, 4, { count }, false, how.groups);
  if (how.queuedBefore) await loaded(submit);
  const loads = await Promise.all(
    Array.from({ length: workers }, (_, i) =>
      load({ kind: "worker", url: daemon.wsUrl, workerId: `worker-${i + 1}`, capacity, bare: how.bare }),
    ),
  );
  const { found, syncs } = await countingSyncs(daemon, async () => {
    const before = usageOf(daemon.pid).cpuMs;
    for (const one of loads) one.start();
    const submitted = how.queuedBefore ? null : await loaded(submit);
    await completed(daemon, count);
    for (const one of loads) one.stop();
    const outcomes = await Promise.all(loads.map((one) => one.outcome()));
    const startedAt = submitted?.startedAt ?? Math.min(...outcomes.map((one) => one.startedAt));
    return { outcome: together(outcomes, startedAt), cpuMs: usageOf(daemon.pid).cpuMs - before };
  });
  const { outcome, cpuMs } = found;
  expectCount("completed, as many as the workers were told", count, outcome.total);
  return { rate: perSecond(outcome), cpu: (1000 * cpuMs) / count, perSync: count / syncs };
}

const drain: Benchmark = {
  name: "drain",
  says: "One worker process is pushed, completes and is acknowledged a queue that is full before it comes (bare frames).",
  against: "frames of 100 completions through a bare WebSocket echo, 10 in flight.",
  figures: { rate, cpu, perSync },
  sides: {
    baseline: echoing((url, scale) =>
      frames(url, "complete", 100, capacity / 100, lengthOf(scale, true), true),
    ),
    cortexd: (scale) =>
      withDaemon(scale, (daemon) =>
        lives(daemon, scale.smoke ? smokeCount : 300_000, 1, { bare: true, queuedBefore: true }),
      ),
  },
};

const groups = 1000;
/** Every rule at once, and none so tight that the drain would wait for it instead of for the daemon. */
const rules = {
  concurrency: capacity,
  rate: { count: 1_000_000, perMs: 1000 },
  groupConcurrency: 5,
  groupRate: { count: 1000, perMs: 1000 },
  groupWeights: { "tenant-1": 3, "tenant-2": 2 },
  backlog: { max: 1_000_000, policy: "refuse" },
} as const;

const drainGroups: Benchmark = {
  name: "drain-groups",
  says: "The same drain of tasks of 1,000 groups: turns, and concurrency and rates of the queue and of each group.",
  against: "the drain without any of it.",
  figures: { rate, cpu, perSync },
  sides: {
    baseline: (scale) =>
      withDaemon(scale, (daemon) =>
        lives(daemon, scale.smoke ? smokeCount : 300_000, 1, { bare: true, queuedBefore: true }),
      ),
    cortexd: (scale) =>
      withDaemon(scale, async (daemon) => {
        await new RestClient({ url: `http://127.0.0.1:${daemon.port}` }).configure("bench", rules);
        const count = scale.smoke ? smokeCount : 300_000;
        return lives(daemon, count, 1, { bare: true, queuedBefore: true, groups });
      }),
  },
};

const fleet = 4;

const drainClient: Benchmark = {
  ...drain,
  name: "drain-client",
  says: "The same by one worker process that uses the public client.",
  sides: {
    ...drain.sides,
    cortexd: (scale) =>
      withDaemon(scale, (daemon) =>
        lives(daemon, scale.smoke ? smokeCount : 300_000, 1, { bare: false, queuedBefore: true }),
      ),
  },
};

const pipeline: Benchmark = {
  name: "pipeline",
  says: `A producer and ${fleet} worker processes with the public client, from the first submit to the last acknowledgement.`,
  against: `${fleet + 1} processes sending frames of 100 through one bare WebSocket echo, the producer's share counted.`,
  figures: { rate, cpu, perSync },
  sides: {
    baseline: (scale) =>
      withBaseline("echo", async ({ url, pid }) => {
        const length = lengthOf(scale, true);
        const loads = await Promise.all(
          Array.from({ length: fleet + 1 }, (_, i) =>
            load(frames(url, i === 0 ? "submit" : "complete", 100, 4, length, true)),
          ),
        );
        const before = usageOf(pid).cpuMs;
        for (const one of loads) one.start();
        const outcomes = await Promise.all(loads.map((one) => one.outcome()));
        const cpuMs = usageOf(pid).cpuMs - before;
        // A task is two operations: one of the producer's and one of a worker's.
        const count = outcomes.reduce((sum, { total }) => sum + total, 0) / 2;
        const rate = outcomes.reduce((sum, one) => sum + perSecond(one), 0) / 2;
        return { rate, cpu: (1000 * cpuMs) / count };
      }),
    cortexd: (scale) =>
      withDaemon(scale, (daemon) =>
        lives(daemon, scale.smoke ? smokeCount : 200_000, fleet, { bare: false, queuedBefore: false }),
      ),
  },
};

const quantile = (times: readonly number[], q: number) =>
  [...times].sort((a, b) => a - b)[Math.floor(q * (times.length - 1))] as number;

export const samplesOf = ({ smoke }: Scale) => (smoke ? 100 : 1000);
/** The first ones find cold code. */
export const latencies = ({ times }: Outcome): Figures => {
  const warm = times.slice(Math.floor(times.length / 5));
  return { p50: quantile(warm, 0.5), p99: quantile(warm, 0.99) };
};

const latency: Benchmark = {
  name: "latency",
  says: "From a submit until its handler starts, at rest, through the public client.",
  against: "a frame that is echoed once a thread has committed it as one synced SQLite row.",
  figures: { p50: { unit: "ms", better: "less" }, p99: { unit: "ms", better: "less" } },
  sides: {
    baseline: (scale) =>
      withBaseline("commit", async ({ url }) =>
        latencies(await loaded({ kind: "echoed", url, samples: samplesOf(scale) })),
      ),
    cortexd: (scale) =>
      withDaemon(scale, async (daemon) => {
        const samples = samplesOf(scale);
        const { found, syncs } = await countingSyncs(daemon, () =>
          loaded({ kind: "start", url: daemon.wsUrl, samples }),
        );
        // A submit and a completion each, and nothing that they could share a sync with.
        if (syncs < 2 * samples) throw new Error(`${samples} lives took ${syncs} syncs`);
        return latencies(found);
      }),
  },
};

export const tasks: Benchmark[] = [
  submitFrames,
  submitSingle,
  submitClient,
  submitRest,
  drain,
  drainClient,
  drainGroups,
  pipeline,
  latency,
];
