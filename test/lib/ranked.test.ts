import { expect, test } from "bun:test";
import fc from "fast-check";
import { Ranked } from "../../src/lib/ranked.ts";

const numbers = () => new Ranked<number>((a, b) => a - b);

test("ranked - holds what a sorted array holds, and walks it backwards from anywhere", () => {
  const step = fc.record({ adds: fc.boolean(), value: fc.integer({ min: 0, max: 3000 }) });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 3000, size: "max" }),
      fc.integer({ min: -1, max: 3001 }),
      (steps, end) => {
        const sorted = numbers();
        const model = new Set<number>();
        for (const { adds, value } of steps) {
          if (adds && !model.has(value)) {
            sorted.add(value);
            model.add(value);
          } else if (!adds) expect(sorted.remove(value)).toBe(model.delete(value));
        }
        const backwards = [...model].sort((a, b) => b - a);
        expect(sorted.size).toBe(model.size);
        expect([...sorted.backwards()]).toEqual(backwards);
        expect([...sorted.backwards(end)]).toEqual(backwards.filter((value) => value < end));
      },
    ),
    { numRuns: 30 },
  );
});

test("ranked - thirty times as many items cost half as much more each, in whatever order they come", () => {
  // Compares, which are the same on every machine: a search by halves over the buckets and one over a bucket.
  const compares = (count: number) => {
    let compared = 0;
    const sorted = new Ranked<number>((a, b) => {
      compared++;
      return a - b;
    });
    for (let i = 0; i < count; i++) sorted.add((i * 7919) % count);
    return compared / count;
  };
  expect(compares(300_000)).toBeLessThan(compares(10_000) * 1.6);
});
