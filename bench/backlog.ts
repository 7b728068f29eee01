/**
 * Whether a submit cares how much is queued already: the same submits into a daemon with a million queued tasks and
 * into one whose queue was emptied by a worker, so that both have run as long and their code is as warm. Both live
 * through all rounds; the one whose turn it is not is stopped.
 */
import type { Daemon } from "../test/support/daemon.ts";
import type { Benchmark, Figures, Scale } from "./benchmark.ts";
import { load, loaded, metricsOf, perSecond, startDaemon, usageOf } from "./children.ts";
import type { Length, Load } from "./load.ts";

const submits = (url: string, length: Length): Load => ({
  ...{ kind: "frames", url, operation: "submit", perFrame: 100, inFlight: 4, length, echo: false },
});

const backlogOf = ({ smoke }: Scale) => (smoke ? 50_000 : 1_000_000);

async function fill(scale: Scale): Promise<Daemon> {
  const daemon = await startDaemon(scale);
  await loaded(submits(daemon.wsUrl, { count: backlogOf(scale) }));
  return daemon;
}

async function drain(daemon: Daemon): Promise<void> {
  const worker = await load({
    ...{ kind: "worker", url: daemon.wsUrl, workerId: "worker-1", capacity: 1000, bare: true },
  });
  worker.start();
  while ((await metricsOf(daemon)).daemon.tasksQueued > 0) await Bun.sleep(20);
  worker.stop();
  await worker.outcome();
}

let filled: Promise<Daemon> | null = null;
let emptied: Promise<Daemon> | null = null;

/** What was logged before is folded now, so that neither pays for how it came to be as it is. */
async function rests({ pid }: Daemon): Promise<void> {
  let before = Number.NEGATIVE_INFINITY;
  for (let now = usageOf(pid).cpuMs; now - before > 25; now = usageOf(pid).cpuMs) {
    before = now;
    await Bun.sleep(250);
  }
}

async function submitted(daemon: Daemon, { warmMs, runMs }: Scale): Promise<Figures> {
  await rests(daemon);
  const before = usageOf(daemon.pid).cpuMs;
  const outcome = await loaded(submits(daemon.wsUrl, { warmMs, runMs }));
  const cpuMs = usageOf(daemon.pid).cpuMs - before;
  return { rate: perSecond(outcome), cpu: (1000 * cpuMs) / outcome.total };
}

export const backlog: Benchmark = {
  name: "submit-at-million",
  says: "submit-frames into a daemon with 1,000,000 queued tasks (smoke: 50,000).",
  against: "the same into a daemon whose queue is empty.",
  figures: { rate: { unit: "tasks/s", better: "more" }, cpu: { unit: "µs a task", better: "less" } },
  sides: {
    baseline: async (scale) => {
      emptied ??= fill(scale);
      const daemon = await emptied;
      daemon.signal("SIGCONT");
      await drain(daemon);
      const figures = await submitted(daemon, scale);
      daemon.signal("SIGSTOP");
      return figures;
    },
    cortexd: async (scale) => {
      filled ??= fill(scale);
      const daemon = await filled;
      daemon.signal("SIGCONT");
      const figures = await submitted(daemon, scale);
      const { tasksQueued } = (await metricsOf(daemon)).daemon;
      if (tasksQueued < backlogOf(scale)) throw new Error(`only ${tasksQueued} tasks are queued`);
      daemon.signal("SIGSTOP");
      return figures;
    },
  },
};
