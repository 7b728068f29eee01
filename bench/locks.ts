/**
 * The benchmark of locks: each is taken and released, an operation a frame and 64 in flight. The daemon proves by its own
 * counters that all of them were released and that what it answered was synced.
 */
import type { Benchmark, Scale } from "./benchmark.ts";
import { countingSyncs, expectSyncs, metricsOf, withDaemon } from "./children.ts";
import type { Load } from "./load.ts";
import { answering, echoing, lengthOf } from "./tasks.ts";

const inFlight = 64;
const loadOf = (url: string, scale: Scale, echo: boolean): Load => ({
  ...{ kind: "locks", url, inFlight, echo },
  length: lengthOf(scale, echo),
});

export const locks: Benchmark = {
  name: "lock-release",
  says: "One connection takes locks and releases them in frames of one operation, 64 in flight; a lock and its release count as one.",
  against: "the frames that take them through a bare WebSocket echo.",
  figures: {
    rate: { unit: "locks/s", better: "more" },
    cpu: { unit: "µs a lock", better: "less" },
  },
  sides: {
    baseline: echoing((url, scale) => loadOf(url, scale, true)),
    cortexd: (scale) =>
      withDaemon(scale, async (daemon) => {
        const { found, syncs } = await countingSyncs(daemon, () =>
          answering(daemon.pid, loadOf(daemon.wsUrl, scale, false)),
        );
        const { locksHeld, locksWaiting } = (await metricsOf(daemon)).daemon;
        if (locksHeld !== 0 || locksWaiting !== 0)
          throw new Error(`the daemon holds ${locksHeld} locks, and ${locksWaiting} wait`);
        expectSyncs(syncs, found.total, "locks", inFlight);
        return found.figures;
      }),
  },
};
