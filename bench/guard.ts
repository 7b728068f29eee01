/**
 * The guard: which ratios to the baseline must hold wherever the benchmarks run. There is no bound on an absolute
 * figure, because those are the machine's. CPU an operation moved by two fifths either way while sixteen others wanted the
 * two cores; its bounds stand at about twice what was seen. Rates moved by a factor of three then; theirs are floors
 * under the worst of it, and catch what waits where it should not.
 */
import type { Result } from "./benchmark.ts";

/** By benchmark and figure: the least where more is better, the most where less is. */
export const bounds: Record<string, Record<string, number>> = {
  "submit-frames": { cpu: 200, rate: 0.004 },
  "submit-single": { cpu: 50, rate: 0.015 },
  "submit-client": { cpu: 220, rate: 0.006 },
  "submit-rest": { cpu: 15, rate: 0.05 },
  drain: { cpu: 350, rate: 0.002 },
  "drain-client": { cpu: 320, rate: 0.002 },
  pipeline: { cpu: 300, rate: 0.006 },
  latency: { p50: 4, p99: 6 },
  "drain-groups": { cpu: 2, rate: 0.3 },
  "submit-at-million": { cpu: 2, rate: 0.3 },
  "idle-1000": { resident: 3 },
  "idle-5000": { resident: 3 },
  memory: { resident: 1.5 },
  recovery: { ready: 15 },
};

/** What of the benchmark is beyond its bound, or has no ratio; a sentence each. */
export function beyond({ name, figures, sides }: Result, all = bounds): string[] {
  return Object.entries(all[name] ?? {}).flatMap(([figure, bound]) => {
    const ratio = sides.cortexd?.[figure]?.ratio?.median;
    if (ratio === undefined) return [`${name}: no ratio of ${figure} was found`];
    const isLeast = figures[figure]?.better === "more";
    if (isLeast ? ratio >= bound : ratio <= bound) return [];
    const asked = `${isLeast ? "at least" : "at most"} ${bound} is asked`;
    return [`${name}: ${figure} is ${ratio.toPrecision(2)} of the baseline; ${asked}`];
  });
}
