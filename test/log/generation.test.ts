/** Generations against a plain map: what was gathered is there, the last change of each key, in the order of the keys. */
import { describe, expect, test } from "bun:test";
import { Generation } from "../../src/log/generation.ts";

const place = { upto: 0, hash: "", at: 0, clock: 0 };

/** Gathers entries of one change each, `perBatch` of them a batch, and tells what should be there. */
function gathered(changes: readonly { key: string; value: string | null }[], perBatch: number) {
  const generation = new Generation(place);
  const last = new Map<string, string>();
  for (let i = 0; i < changes.length; i += perBatch) {
    let text = "";
    for (const [j, { key, value }] of changes.slice(i, i + perBatch).entries()) {
      const line = value === null ? `-p\t${key}\n` : `+p\t${key}\t${value}\n`;
      text += `@${i + j + 1}\t0\t0\top\twho\n${line}`;
      last.set(`p\t${key}\t`, line);
    }
    // A batch that the disk had no room for leaves nothing behind.
    if (i % 3 === 0) generation.stage(Buffer.from(text.replaceAll("+p", "+q")));
    generation.gather(generation.stage(Buffer.from(text)), place);
  }
  return { generation, last };
}

function lines(generation: Generation): [string, string][] {
  for (const _ of generation.sort());
  return Array.from({ length: generation.keyCount }, (_, i) => {
    const line = Buffer.alloc(generation.lineLengthAt(i));
    generation.copyLine(i, line, 0);
    expect(generation.putsAt(i)).toBe(line.toString().startsWith("+"));
    return [generation.keyAt(i), line.toString()];
  });
}

const inOrder = (last: Map<string, string>) => [...last].sort(([a], [b]) => (a < b ? -1 : 1));

/** Small numbers that look like chance, and are the same each time. */
function* numbers(seed: number): Generator<number, never> {
  for (let n = seed; ; n = (Math.imul(n, 1_664_525) + 1_013_904_223) >>> 0) yield n >>> 8;
}

describe("a generation", () => {
  for (const [what, keyCount, valueMax] of [
    ["a few keys again and again", 20, 2000],
    ["some keys again and others once", 4000, 500],
    ["values larger than what was there at first", 30, 100_000],
  ] as const)
    test(`generation - ${what}: the last change of each key stays, however often what was replaced goes`, () => {
      const chance = numbers(7);
      const next = (below: number) => chance.next().value % below;
      const changes = Array.from({ length: 6000 }, (_, i) => ({
        key: next(2) === 0 ? `k${next(20)}` : `k${next(keyCount)}`,
        value: next(9) === 0 ? null : `${i}é`.padEnd(next(next(30) === 0 ? valueMax : 200), "x"),
      }));
      const { generation, last } = gathered(changes, 25);
      expect(lines(generation)).toEqual(inOrder(last));
    });

  test("generation - keys that are replaced all the time take no more memory, however much is written", () => {
    const changes = Array.from({ length: 40_000 }, (_, i) => ({
      key: `k${i % 64}`,
      value: `${i}`.padEnd(300, "x"),
    }));
    const { generation, last } = gathered(changes, 40);
    expect(generation.textBytes).toBeGreaterThan(12_000_000);
    expect(generation.isLarge).toBe(false);
    expect(lines(generation)).toEqual(inOrder(last));
  });

  test("generation - one that was cleared holds nothing of before", () => {
    const { generation } = gathered(
      [
        { key: "a", value: "1" },
        { key: "b", value: "x".repeat(300_000) },
      ],
      1,
    );
    generation.clear(place);
    const text = "@9\t0\t0\top\twho\n+p\tc\t2\n";
    generation.gather(generation.stage(Buffer.from(text)), place);
    expect(lines(generation)).toEqual([["p\tc\t", "+p\tc\t2\n"]]);
  });
});
