import { expect, test } from "bun:test";
import fc from "fast-check";
import { DeadlineHeap, IndexedHeap } from "../../src/lib/heap.ts";
import { Line } from "../../src/lib/line.ts";

test("line - it is a sorted set, whatever comes, goes and comes back", () => {
  const items = Array.from({ length: 60 }, (_, n) => ({ n }));
  const steps = fc.array(fc.tuple(fc.nat(59), fc.boolean()), { maxLength: 300 });
  fc.assert(
    fc.property(steps, (moves) => {
      const line = new Line<{ n: number }>((a, b) => a.n - b.n);
      const model = new Set<number>();
      for (const [n, first] of moves) {
        const least = Math.min(...model);
        const pick = first && model.size > 0 ? least : n;
        if (model.delete(pick)) line.remove(items[pick]!);
        else {
          model.add(pick);
          line.add(items[pick]!);
        }
        expect(line.size).toBe(model.size);
        expect(line.first()?.n).toBe(model.size === 0 ? undefined : Math.min(...model));
        // How many come before one is never too few, and never more than there are others.
        for (const one of model) {
          const exact = [...model].filter((other) => other < one).length;
          const said = line.before(items[one]!);
          expect(said >= exact && said < model.size).toBe(true);
        }
      }
      expect(line.toArray().map((item) => item.n)).toEqual([...model].sort((a, b) => a - b));
    }),
    { numRuns: 300 },
  );
});

test("line - what comes before one is counted exactly where none left out of turn", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(99), { minLength: 1, maxLength: 40 }), fc.nat(39), (numbers, gone) => {
      const line = new Line<{ n: number }>((a, b) => a.n - b.n);
      const items = numbers.map((n) => ({ n }));
      for (const item of items) line.add(item);
      for (let i = 0; i < gone && line.size > 1; i++) line.remove(line.first()!);
      const left = items.filter(({ n }) => n >= line.first()!.n);
      for (const item of left) expect(line.before(item)).toBe(left.filter(({ n }) => n < item.n).length);
    }),
  );
});

test("heap - deadlines come out in order, equal ones in the order they came", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20)), (times) => {
      const heap = new DeadlineHeap<number>();
      for (const [i, at] of times.entries()) heap.push(at, i);
      const out: number[] = [];
      while (heap.size > 0) {
        expect(heap.nextAt).toBe(Math.min(...times.filter((_, i) => !out.includes(i))));
        out.push(heap.pop()!);
      }
      const want = times.map((at, i) => [at, i] as const).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
      expect(out).toEqual(want.map(([, i]) => i));
      expect(heap.nextAt).toBe(Number.POSITIVE_INFINITY);
    }),
  );
});

test("heap - an indexed heap keeps its top right while ranks change and items leave", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(15), fc.nat(100), fc.boolean()), { maxLength: 200 }), (moves) => {
      const rank = new Map<number, number>();
      const items = Array.from({ length: 16 }, (_, n) => ({ n }));
      const order = (a: { n: number }, b: { n: number }) =>
        rank.get(a.n)! !== rank.get(b.n)! ? rank.get(a.n)! < rank.get(b.n)! : a.n < b.n;
      const heap = new IndexedHeap<{ n: number }>(order);
      for (const [n, value, leaves] of moves) {
        if (leaves) {
          heap.delete(items[n]!);
          rank.delete(n);
        } else {
          rank.set(n, value);
          heap.update(items[n]!);
        }
        const best = [...rank].sort((a, b) => a[1] - b[1] || a[0] - b[0])[0];
        expect(heap.size).toBe(rank.size);
        expect(heap.top?.n).toBe(best?.[0]);
      }
    }),
  );
});
