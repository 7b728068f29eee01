/**
 * The benchmarks of keys: put, compare-and-set and get, an operation a frame and 64 in flight. The daemon proves by its
 * own counters that it holds the keys and that what it answered was synced.
 */
import type { Benchmark, Scale } from "./benchmark.ts";
import { countingSyncs, expectSyncs, metricsOf, withDaemon } from "./children.ts";
import type { KeyOperation, Load } from "./load.ts";
import { answering, echoing, lengthOf } from "./tasks.ts";

const inFlight = 64;
const loadOf = (operation: KeyOperation, url: string, scale: Scale, echo: boolean): Load => ({
  ...{ kind: "keys", url, operation, inFlight, echo },
  length: lengthOf(scale, echo),
});

const benchmark = (operation: KeyOperation, says: string): Benchmark => ({
  name: `kv-${operation}`,
  says,
  against: "the same frames through a bare WebSocket echo.",
  figures: {
    rate: { unit: "operations/s", better: "more" },
    cpu: { unit: "µs an operation", better: "less" },
  },
  sides: {
    baseline: echoing((url, scale) => loadOf(operation, url, scale, true)),
    cortexd: (scale) =>
      withDaemon(scale, async (daemon) => {
        const { found, syncs } = await countingSyncs(daemon, () =>
          answering(daemon.pid, loadOf(operation, daemon.wsUrl, scale, false)),
        );
        const { keys } = (await metricsOf(daemon)).daemon;
        if (keys !== inFlight) throw new Error(`the daemon holds ${keys} keys, not ${inFlight}`);
        if (operation !== "get") expectSyncs(syncs, found.total, "puts", inFlight);
        return found.figures;
      }),
  },
});

export const kv: Benchmark[] = [
  benchmark("put", "One connection puts keys in frames of one operation, 64 in flight."),
  benchmark("cas", "The same, each only if the key is at the revision that was answered last."),
  benchmark("get", "One connection reads keys in frames of one operation, 64 in flight."),
];
