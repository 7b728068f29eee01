/** What is kept by age does what a Map and a sorted list of all of it do. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { Ages } from "../../src/core/ages.ts";
import { type Age, byAge, idNaming, rowOf } from "../../src/core/ids.ts";

test("ages - whatever is added and deleted, it is found by its row, and in the order of age from any revision on", () => {
  const age = fc.record({
    // Close to each other, on both sides of where parts begin, and too large for a row that is a number.
    revision: fc.oneof(
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1020, max: 1030 }),
      fc.integer({ min: 2 ** 33 - 2, max: 2 ** 33 + 2 }),
    ),
    number: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 2 ** 20 - 1, max: 2 ** 20 + 1 })),
  });
  fc.assert(
    fc.property(fc.array(age, { maxLength: 60 }), (steps) => {
      const ages = new Ages<Age>((item) => item);
      const model = new Map<string, Age>();
      const keyOf = ({ revision, number }: Age) => `${revision}-${number}`;
      for (const step of steps) {
        const key = keyOf(step);
        // What is there already goes.
        if (model.delete(key)) ages.delete(rowOf(step));
        else {
          ages.add(rowOf(step), step);
          model.set(key, step);
        }
        expect(ages.size).toBe(model.size);
        expect([...ages.values()].map(keyOf).sort()).toEqual([...model.keys()].sort());
        const sorted = [...model.values()].sort(byAge);
        for (const { revision } of [step, { revision: -1 }, { revision: step.revision - 1 }])
          expect([...ages.after(revision)]).toEqual(sorted.filter((one) => one.revision > revision));
        for (const one of steps) expect(ages.get(idNaming.row(keyOf(one)))).toBe(model.get(keyOf(one)));
      }
      expect(ages.get(idNaming.row("no id"))).toBeUndefined();
      for (const key of model.keys()) ages.delete(idNaming.row(key));
      expect([ages.size, [...ages.values()], [...ages.after(-1)]]).toEqual([0, [], []]);
    }),
    { numRuns: 100 },
  );
});
