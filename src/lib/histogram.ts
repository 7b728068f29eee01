/**
 * How often something took how long, counted since the start in few buckets, each four times as wide as the one before,
 * as Prometheus reads them. Adding is a handful of instructions whatever was counted before.
 */

/** Powers of two in microseconds: from 64 us, by fours, to a quarter of an hour. */
const leastExponent = 6;
const mostExponent = 30;
const exponents = Array.from(
  { length: (mostExponent - leastExponent) / 2 + 1 },
  (_, i) => leastExponent + 2 * i,
);
const longestUs = 2 ** 31 - 1;

/** The bounds of the buckets, in seconds; what is longer than the last is in a bucket of its own. */
export const boundsInSeconds: readonly number[] = exponents.map((exponent) => 2 ** exponent / 1_000_000);

export class Histogram {
  readonly #counts = new Float64Array(exponents.length + 1);
  #sumMs = 0;

  add(ms: number): void {
    const us = ms > 0 ? Math.min(ms * 1000, longestUs) | 0 : 0;
    const exponent = 31 - Math.clz32(us | 1);
    const bucket =
      exponent < leastExponent ? 0 : Math.min(((exponent - leastExponent) >> 1) + 1, exponents.length);
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    if (ms > 0) this.#sumMs += ms;
  }

  copy(): Histogram {
    const copy = new Histogram();
    copy.become(this);
    return copy;
  }

  /** Counts what the other counted, and nothing else. */
  become(other: Histogram): void {
    this.#counts.set(other.#counts);
    this.#sumMs = other.#sumMs;
  }

  /** Counts what the other counted as well. */
  addAll(other: Histogram): void {
    for (let i = 0; i < this.#counts.length; i++)
      this.#counts[i] = (this.#counts[i] as number) + (other.#counts[i] as number);
    this.#sumMs += other.#sumMs;
  }

  /** How many took no longer than each bound, and at last how many there were; and how long all of them took. */
  read(): { upTo: number[]; count: number; sumSeconds: number } {
    let count = 0;
    const upTo: number[] = [];
    for (const inBucket of this.#counts) {
      count += inBucket;
      upTo.push(count);
    }
    return { upTo: upTo.slice(0, -1), count, sumSeconds: this.#sumMs / 1000 };
  }
}
