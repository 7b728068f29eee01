/** What schedules cost while nothing is due: the daemon's CPU with a hundred thousand of them, against none. */
import { readFileSync } from "node:fs";
import { CoordinationClient } from "../client/index.ts";
import type { Benchmark } from "./benchmark.ts";
import { withDaemon } from "./children.ts";

/** The kernel counts a process's CPU time in ticks of ten milliseconds. */
const tickMs = 10;

/** CPU time so far, with that of threads which have ended: more of them end than anything else happens here. */
function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name before them may hold anything but ends with the last parenthesis.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * tickMs;
}

/** Percent of one core over the next seconds, once the daemon has folded what was put. */
async function restingCpu(pid: number, ms: number): Promise<number> {
  await Bun.sleep(ms);
  const before = cpuMs(pid);
  const from = performance.now();
  await Bun.sleep(ms);
  // Less than a tick is a tick: a figure of zero would mean that nothing was measured.
  return (100 * Math.max(tickMs, cpuMs(pid) - before)) / (performance.now() - from);
}

export const schedules: Benchmark = {
  name: "schedules",
  says: "CPU of the daemon with 100,000 schedules at rest, half of them of sixty patterns (smoke: 5,000).",
  against: "a daemon without schedules.",
  figures: { cpu: { unit: "% of a core", better: "less" } },
  sides: {
    baseline: (scale) =>
      withDaemon(scale, async ({ pid }) => ({ cpu: await restingCpu(pid, scale.smoke ? 1000 : 15_000) })),
    cortexd: (scale) =>
      withDaemon(scale, async ({ pid, wsUrl }) => {
        const client = new CoordinationClient({ url: wsUrl });
        await client.connect();
        const count = scale.smoke ? 5000 : 100_000;
        for (let i = 0; i < count; i += 500)
          await Promise.all(
            Array.from({ length: 500 }, (_, k) => {
              const name = `schedule-${i + k}`;
              const task = { type: "t", payload: { i: i + k } };
              // An hour of the first of January: not due while this runs, unless it is then.
              const time = k % 2 === 0 ? { everyMs: 86_400_000 } : { cron: `${k % 60} 3 1 1 *` };
              return client.schedules.put({ name, ...time, task });
            }),
          );
        client.close();
        return { cpu: await restingCpu(pid, scale.smoke ? 1000 : 15_000) };
      }),
  },
};
