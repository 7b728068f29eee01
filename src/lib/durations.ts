/**
 * How long things took, counted in buckets that are an eighth of their value wide: adding one is an increment, and
 * any share of them is found within that width. From a microsecond to about an hour; what is longer counts as that.
 */
import { Histogram } from "./histogram.ts";

const perDoubling = 8;
const shift = 3;
const longestUs = 2 ** 31 - 1;

/** Below eight microseconds each has a bucket of its own; from there on each doubling has eight. */
const bucketOf = (us: number): number => {
  if (us < perDoubling) return us;
  const exponent = 31 - Math.clz32(us);
  return ((exponent - shift + 1) << shift) | ((us >> (exponent - shift)) & (perDoubling - 1));
};
/** The middle of what a bucket holds, in ms. */
const middleOf = (bucket: number): number => {
  if (bucket < perDoubling) return bucket / 1000;
  const width = 2 ** ((bucket >> shift) - 1);
  return ((perDoubling + (bucket & (perDoubling - 1))) * width + (width - 1) / 2) / 1000;
};
const bucketCount = bucketOf(longestUs) + 1;

export type Quantiles = { p50: number; p95: number; p99: number; max: number };

export class Durations {
  readonly #counts = new Uint32Array(bucketCount);
  #count = 0;
  #maxMs = 0;
  /** All there were since the start. */
  readonly total = new Histogram();

  add(ms: number): void {
    this.total.add(ms);
    const us = ms > 0 ? Math.min(ms * 1000, longestUs) | 0 : 0;
    const bucket = bucketOf(us);
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#count++;
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  /** What half, 95 and 99 of a hundred, and all of them took at most, in ms, since this was last asked; null: there were none. */
  take(): Quantiles | null {
    if (this.#count === 0) return null;
    const max = this.#maxMs;
    const wanted = [0.5, 0.95, 0.99].map((share) => Math.ceil(share * this.#count));
    const found: number[] = [];
    let seen = 0;
    for (let bucket = 0; found.length < wanted.length; bucket++) {
      seen += this.#counts[bucket] as number;
      while (found.length < wanted.length && seen >= (wanted[found.length] as number))
        found.push(Math.min(middleOf(bucket), max));
    }
    const [p50, p95, p99] = found.map(rounded) as [number, number, number];
    this.#counts.fill(0);
    this.#count = 0;
    this.#maxMs = 0;
    return { p50, p95, p99, max: rounded(max) };
  }
}

const rounded = (ms: number): number => Math.round(ms * 1000) / 1000;
