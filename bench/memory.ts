/**
 * What a queue that nobody works on costs: the daemon's resident memory with a million queued tasks, right after they
 * came and at rest, when the log has folded them and the collector has been through.
 */
import type { Benchmark } from "./benchmark.ts";
import { askBaseline, loaded, metricsOf, withDaemon } from "./children.ts";

const MiB = 2 ** 20;
/** The runtime collects when nothing has grown for ten seconds. */
const restMs = 20_000;

export const memory: Benchmark = {
  name: "memory",
  says: "Resident memory of the daemon with 1,000,000 queued tasks of 100 bytes (smoke: 50,000), right after they came and 20 s later (smoke: 2 s).",
  against: "a bare process with 1,000,000 such texts in one Map.",
  figures: { resident: { unit: "MiB", better: "less" }, rest: { unit: "MiB", better: "less" } },
  sides: {
    baseline: async () => {
      const resident = (await askBaseline("keep")) / MiB;
      return { resident, rest: resident };
    },
    cortexd: (scale) =>
      withDaemon(scale, async (daemon) => {
        const count = scale.smoke ? 50_000 : 1_000_000;
        await loaded({
          kind: "frames",
          url: daemon.wsUrl,
          operation: "submit",
          perFrame: 100,
          inFlight: 4,
          length: { count },
          echo: false,
        });
        const { daemon: found } = await metricsOf(daemon);
        if (found.tasksQueued !== count)
          throw new Error(`${found.tasksQueued} tasks are queued, not ${count}`);
        await Bun.sleep(scale.smoke ? restMs / 10 : restMs);
        return {
          resident: found.memoryBytes / MiB,
          rest: (await metricsOf(daemon)).daemon.memoryBytes / MiB,
        };
      }),
  },
};
