/**
 * The simulator as a test: a few quick seeds, that a seed repeats itself, and that it catches what it must. The long
 * run is `bun run sim`.
 */
import { describe, expect, test } from "bun:test";
import { canaries, hunt, seedsMax } from "./canaries.ts";
import { missing } from "./coverage.ts";
import { run } from "./run.ts";

/** Enough of them to meet every trouble at least once. */
const quickSeeds = 100;

describe("simulator - quick seeds", () => {
  const counts: Record<string, number> = {};

  test("simulator - no promise is broken", () => {
    for (let seed = 1; seed <= quickSeeds; seed++) {
      const result = run({ seed });
      const { failure } = result;
      if (failure !== null)
        throw new Error(`seed ${seed}: ${failure.message}\nrepeat it with: bun run sim --seed ${seed}`);
      for (const [name, n] of Object.entries(result.counts)) counts[name] = (counts[name] ?? 0) + n;
    }
  }, 300_000);

  test("simulator - every trouble came and every outcome was seen", () => {
    expect(missing(counts)).toEqual([]);
  });

  test("simulator - a seed repeats a run exactly, another one does not", () => {
    const [first, second, other] = [run({ seed: 11 }), run({ seed: 11 }), run({ seed: 12 })];
    expect([second.hash, second.eventCount]).toEqual([first.hash, first.eventCount]);
    expect(other.hash).not.toBe(first.hash);
  });
});

describe(`simulator - catches within ${seedsMax} seeds`, () => {
  test.each(canaries.map((canary) => [canary.name, canary] as const))(
    "simulator - catches: %s",
    (_, canary) => {
      const { failure } = hunt(canary);
      expect(failure).not.toBeNull();
      expect(failure?.message).toMatch(canary.says ?? /./);
    },
    300_000,
  );
});
