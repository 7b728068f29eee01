/** A list in pieces does what an array does. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { Chunks } from "../../src/lib/chunks.ts";
import { heldCount } from "../support/held.ts";

test("chunks - whatever is pushed, popped, shifted and set, it holds what an array holds", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("push" as const), count: fc.integer({ min: 1, max: 3000 }) }),
    fc.record({
      kind: fc.constantFrom("pop" as const, "shift" as const),
      count: fc.integer({ min: 1, max: 2500 }),
    }),
    fc.record({ kind: fc.constant("set" as const), count: fc.nat() }),
    fc.record({ kind: fc.constant("renew" as const), count: fc.constant(0) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      let chunks = new Chunks<number>();
      let model: number[] = [];
      let next = 0;
      for (const { kind, count } of steps) {
        if (kind === "push")
          for (let i = 0; i < count; i++) {
            chunks.push(next);
            model.push(next++);
          }
        else if (kind === "set" && model.length > 0) {
          chunks.set(count % model.length, next);
          model[count % model.length] = next++;
        } else if (kind === "pop" || kind === "shift")
          for (let i = 0; i < count && model.length > 0; i++) {
            chunks[kind]();
            model[kind]();
          }
        else if (kind === "renew") chunks = Chunks.from(model);
        model = [...model];
        expect([chunks.size, chunks.first, chunks.last]).toEqual([model.length, model[0], model.at(-1)]);
        expect(chunks.toArray()).toEqual(model);
        for (const place of [0, 1, model.length >> 1, model.length - 1, model.length])
          expect(chunks.at(place)).toBe(model[place]);
      }
    }),
    { numRuns: 60 },
  );
});

test("chunks - what was taken from the front is held no longer, though others wait behind it", async () => {
  const chunks = new Chunks<object>();
  const taken = Array.from({ length: 900 }, () => {
    const item = {};
    chunks.push(item);
    return new WeakRef(item);
  });
  for (let i = 0; i < 899; i++) chunks.shift();
  expect(chunks.size).toBe(1);
  expect(await heldCount(taken)).toBeLessThan(100);
});
