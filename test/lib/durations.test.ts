/** Durations: what is added is found again, within the width of its bucket. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { Durations } from "../../src/lib/durations.ts";

test("durations - nothing was added, or nothing since they were asked for: there are none", () => {
  const durations = new Durations();
  expect(durations.take()).toBeNull();
  durations.add(5);
  expect(durations.take()?.max).toBe(5);
  expect(durations.take()).toBeNull();
});

test("durations - the shares of a hundred are those of the hundred, within an eighth", () => {
  const durations = new Durations();
  for (let ms = 100; ms >= 1; ms--) durations.add(ms);
  const { p50, p95, p99, max } = durations.take()!;
  for (const [found, wanted] of [
    [p50, 50],
    [p95, 95],
    [p99, 99],
  ] as const)
    expect(Math.abs(found - wanted)).toBeLessThan(wanted / 8);
  expect(max).toBe(100);
});

test("durations - one of any length is found within an eighth, below 8 microseconds to one", () => {
  const durations = new Durations();
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 - 1 }), fc.integer({ min: 1, max: 5 }), (us, times) => {
      for (let i = 0; i < times; i++) durations.add(us / 1000);
      const { p50, max } = durations.take()!;
      expect(Math.abs(p50 * 1000 - us)).toBeLessThanOrEqual(Math.max(1, us / 8));
      expect(max * 1000).toBeCloseTo(us, 0);
    }),
  );
});

test("durations - what is longer than they reach, or less than nothing, breaks nothing", () => {
  const durations = new Durations();
  durations.add(1e12);
  durations.add(-5);
  const { p50, p99, max } = durations.take()!;
  expect(p50).toBe(0);
  expect(p99).toBeGreaterThan(1_500_000);
  expect(max).toBe(1e12);
});
