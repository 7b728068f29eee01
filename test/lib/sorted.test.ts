import { expect, test } from "bun:test";
import fc from "fast-check";
import { Sorted } from "../../src/lib/sorted.ts";

/** What a plain set of texts would say. */
const model = (texts: ReadonlySet<string>, from: string) => [...texts].sort().filter((text) => text >= from);

test("sorted - holds what a sorted set holds, from anywhere on, whatever comes and goes", () => {
  // Few letters, so that texts come again, and runs of numbers, so that there are several runs.
  const text = fc.oneof(
    fc.string({ unit: fc.constantFrom("a", "b", "/"), maxLength: 4 }),
    fc.nat(3000).map((n) => `n/${String(n).padStart(4, "0")}`),
  );
  fc.assert(
    fc.property(fc.array(text, { maxLength: 60 }), fc.nat(2500), text, (texts, many, from) => {
      const sorted = new Sorted();
      const held = new Set<string>();
      const flip = (one: string) => {
        if (held.delete(one)) sorted.delete(one);
        else {
          held.add(one);
          sorted.add(one);
        }
      };
      for (const one of texts) flip(one);
      // In order, then every other one away again, then all of them the other way round.
      for (let i = 0; i < many; i++) flip(`n/${String(i).padStart(4, "0")}`);
      for (let i = 0; i < many; i += 2) flip(`n/${String(i).padStart(4, "0")}`);
      for (let i = many; i-- > 0; ) flip(`n/${String(i).padStart(4, "0")}`);
      for (const one of texts) flip(one);
      for (const start of ["", from, "n/", "z"]) expect([...sorted.from(start)]).toEqual(model(held, start));
      expect(sorted.size).toBe(held.size);
    }),
    { numRuns: 40 },
  );
});

test("sorted - a million texts in order or by chance are there in order, and go again", () => {
  const count = 1_000_000;
  for (const step of [1, 7_368_787]) {
    const sorted = new Sorted();
    const nameOf = (i: number) => `user/${String((i * step) % count).padStart(7, "0")}`;
    for (let i = 0; i < count; i++) sorted.add(nameOf(i));
    let at = 0;
    for (const text of sorted.from("user/0500000")) {
      expect(text).toBe(`user/${String(500_000 + at).padStart(7, "0")}`);
      if (++at === 1000) break;
    }
    for (let i = 0; i < count; i++) sorted.delete(nameOf(i));
    expect([sorted.size, ...sorted.from("")]).toEqual([0]);
  }
});
