/** Histograms against counting by hand. */
import { expect, test } from "bun:test";
import { boundsInSeconds, Histogram } from "../../src/lib/histogram.ts";

test("histogram - the bounds grow, by four, from 64 us to a quarter of an hour", () => {
  expect(boundsInSeconds[0]).toBe(0.000064);
  expect(boundsInSeconds.at(-1)).toBe(1073.741824);
  for (const [i, bound] of boundsInSeconds.entries())
    if (i > 0) expect(bound / boundsInSeconds[i - 1]!).toBeCloseTo(4, 9);
});

test("histogram - each bucket counts what took no longer than its bound", () => {
  const histogram = new Histogram();
  // A simple generator of durations from nanoseconds to hours; none lies on a bound.
  let seed = 1;
  const durations = Array.from({ length: 5000 }, () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return 10 ** ((seed / 2_147_483_647) * 10 - 3);
  });
  for (const ms of durations) histogram.add(ms);
  const { upTo, count, sumSeconds } = histogram.read();
  const byHand = boundsInSeconds.map((bound) => durations.filter((ms) => ms / 1000 < bound).length);
  expect(upTo).toEqual(byHand);
  expect(count).toBe(5000);
  expect(sumSeconds).toBeCloseTo(durations.reduce((sum, ms) => sum + ms, 0) / 1000, 6);
});

test("histogram - nothing, less than nothing and for ever are counted at the ends", () => {
  const histogram = new Histogram();
  for (const ms of [0, -5, Number.POSITIVE_INFINITY]) histogram.add(ms);
  const { upTo, count } = histogram.read();
  expect([upTo[0], upTo.at(-1), count]).toEqual([2, 2, 3]);
});

test("histogram - two together count what each did", () => {
  const [one, other] = [new Histogram(), new Histogram()];
  one.add(1);
  other.add(1);
  other.add(1000);
  one.addAll(other);
  expect(one.read()).toMatchObject({ count: 3, sumSeconds: 1.002 });
  expect(other.read().count).toBe(2);
});
