/**
 * What workers cost that have nothing to do: the daemon's resident memory, and the CPU that their heartbeats take of
 * it. They are real ones, each with a connection, a session and a registration of its own, in a few processes.
 */
import type { Benchmark, Figures, Scale } from "./benchmark.ts";
import { load, usageOf, withBaseline, withDaemon } from "./children.ts";

const MiB = 2 ** 20;
const processes = 4;
/** As the daemon asks for by default; the echo's connections say something as often. */
const heartbeatMs = 10_000;

/** Once they are all there and nothing else is on its way. */
async function resting(scale: Scale, workers: number, url: string, pid: number, echo: boolean) {
  const each = Math.ceil((scale.smoke ? workers / 10 : workers) / processes);
  const loads = [];
  for (let i = 1; i <= processes; i++)
    loads.push(
      await load({ kind: "idle", url, name: `worker-${i}`, workers: each, everyMs: heartbeatMs, echo }),
    );
  for (const one of loads) one.start();
  await Bun.sleep(scale.smoke ? 500 : 5000);
  const [before, startedAt] = [usageOf(pid), performance.now()];
  await Bun.sleep(scale.smoke ? 2000 : 2 * heartbeatMs);
  const [after, endedAt] = [usageOf(pid), performance.now()];
  for (const one of loads) one.stop();
  for (const one of loads) await one.outcome();
  const figures: Figures = {
    resident: after.residentBytes / MiB,
    cpu: (100 * (after.cpuMs - before.cpuMs)) / (endedAt - startedAt),
  };
  return figures;
}

const idling = (workers: number): Benchmark => ({
  name: `idle-${workers}`,
  says: `What ${workers.toLocaleString("en-US")} registered workers cost that only beat (smoke: a tenth of them).`,
  against: "a bare WebSocket echo with as many connections, each of which sends a ping as often.",
  figures: {
    resident: { unit: "MiB", better: "less" },
    cpu: { unit: "% of a core", better: "less" },
  },
  sides: {
    baseline: (scale) => withBaseline("echo", ({ url, pid }) => resting(scale, workers, url, pid, true)),
    cortexd: (scale) => withDaemon(scale, ({ wsUrl, pid }) => resting(scale, workers, wsUrl, pid, false)),
  },
});

export const idle: Benchmark[] = [idling(1000), idling(5000)];
