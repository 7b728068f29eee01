/**
 * Figures of one state, a sample a second: told to whoever asked, and kept for about an hour, the older ones several
 * in one, so that whoever begins to look sees how it came to this. It only reads. A sample tells how things
 * stand before the log holds it, and counts what it holds; a reader that is slow misses samples, and is sent no more of them later.
 */
import type { Quantiles } from "../lib/durations.ts";
import { limits } from "../wire/limits.ts";
import { countedNames, type Stats } from "../wire/stats.ts";
import type { Sink } from "./types.ts";

const everyMs = 1000;
/** How many samples are kept as they are, and how many of the oldest then become one of the next row. */
const rows = [
  { keep: 120, fold: 10 },
  { keep: 60, fold: 6 },
  { keep: 60, fold: 1 },
];

type Counted = Stats["counted"];
/** What is read for a sample; what was counted is so since the start. */
export type Reading = Omit<Stats, "overMs">;

export class StatsStream {
  readonly #sinks = new Set<Sink>();
  readonly #kept: Stats[][] = rows.map(() => []);
  #before: Counted | null = null;
  #takenAt = 0;
  /** When the next sample is due (monotonic ms). */
  dueAt = 0;

  constructor(private readonly read: () => Reading) {}

  /** Takes a sample if one is due; `now` is monotonic ms. */
  turn(now: number): void {
    if (this.#before === null) {
      this.#before = this.read().counted;
      this.#begin(now);
    }
    if (now < this.dueAt) return;
    const reading = this.read();
    const counted = since(this.#before, reading.counted);
    const overMs = Math.round(now - this.#takenAt);
    const { at, ...standing } = reading;
    const sample: Stats = { at, overMs, ...standing, counted };
    this.#before = reading.counted;
    this.#takenAt = now;
    this.dueAt += everyMs;
    // After a pause there is one sample, over all of it.
    if (this.dueAt <= now) this.#begin(now);
    this.#keep(sample);
    this.#tell(sample);
  }

  #begin(now: number): void {
    this.#takenAt = now;
    this.dueAt = now + everyMs;
  }

  #keep(sample: Stats): void {
    let next = sample;
    for (const [i, { keep, fold }] of rows.entries()) {
      const row = this.#kept[i] as Stats[];
      row.push(next);
      if (row.length < keep + fold) return;
      next = row.splice(0, fold).reduce(folded);
    }
  }

  #tell(sample: Stats): void {
    if (this.#sinks.size === 0) return;
    const text = `{"event":"stats",${JSON.stringify(sample).slice(1)}`;
    for (const sink of this.#sinks) {
      if (sink.backlog() > limits.watchBufferBytesMax) continue;
      sink.push(text);
      sink.flush();
    }
  }

  /** From now on the sink is told each sample; those of the last `historyMs`, oldest first, are the answer. */
  start(sink: Sink, historyMs: number): Stats[] {
    this.#sinks.add(sink);
    return historyMs === 0 ? [] : this.last(historyMs);
  }

  /** Those of the last `historyMs`, oldest first; the newest in any case, once there is one. */
  last(historyMs: number): Stats[] {
    const newest = this.#kept[0]?.at(-1);
    if (newest === undefined) return [];
    const after = newest.at - Math.max(1, historyMs);
    return [...this.#kept].reverse().flatMap((row) => row.filter(({ at }) => at > after));
  }

  stop(sink: Sink): void {
    this.#sinks.delete(sink);
  }
}

const since = (before: Counted, now: Counted): Counted => {
  const counted = { ...now };
  for (const name of countedNames) counted[name] -= before[name];
  return counted;
};

/** Two samples as one: how it stood in the end, all that was counted, and the longest that anything took. */
const folded = (earlier: Stats, later: Stats): Stats => {
  const counted = { ...later.counted };
  for (const name of countedNames) counted[name] += earlier.counted[name];
  return {
    ...later,
    overMs: earlier.overMs + later.overMs,
    counted,
    answerMs: longer(earlier.answerMs, later.answerMs),
    waitMs: longer(earlier.waitMs, later.waitMs),
    runMs: longer(earlier.runMs, later.runMs),
  };
};

const longer = (a: Quantiles | null, b: Quantiles | null): Quantiles | null =>
  a === null || b === null
    ? (a ?? b)
    : {
        p50: Math.max(a.p50, b.p50),
        p95: Math.max(a.p95, b.p95),
        p99: Math.max(a.p99, b.p99),
        max: Math.max(a.max, b.max),
      };
