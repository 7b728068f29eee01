/** The guard of the benchmarks: what it lets pass, and what it says of the rest. */
import { describe, expect, test } from "bun:test";
import type { Result } from "../../bench/benchmark.ts";
import { beyond } from "../../bench/guard.ts";

const bounds = { pour: { rate: 0.4, spilt: 2 } };
const measured = (median: number) => ({ median, values: [median] });
const result = (rate: number, spilt?: number): Result => ({
  name: "pour",
  says: "",
  against: "",
  figures: { rate: { unit: "l/s", better: "more" }, spilt: { unit: "l", better: "less" } },
  sides: {
    cortexd: {
      rate: { measured: measured(9000), ratio: measured(rate) },
      spilt: { measured: measured(9000), ...(spilt !== undefined && { ratio: measured(spilt) }) },
    },
  },
});

describe("bench guard", () => {
  const rows: [says: string, result: Result, beyond: string[]][] = [
    ["a ratio at its bound passes", result(0.4, 2), []],
    ["a ratio on the good side of it passes, however far", result(40, 0.02), []],
    [
      "less than the least is told",
      result(0.39, 1),
      ["pour: rate is 0.39 of the baseline; at least 0.4 is asked"],
    ],
    [
      "more than the most is told",
      result(1, 2.1),
      ["pour: spilt is 2.1 of the baseline; at most 2 is asked"],
    ],
    ["a bounded figure without a ratio does not pass", result(1), ["pour: no ratio of spilt was found"]],
    ["what has no bound passes", { ...result(0, 99), name: "sip" }, []],
  ];
  test.each(rows)("bench guard - %s", (_says, given, says) => {
    expect(beyond(given, bounds)).toEqual(says);
  });
});
