/**
 * Tasks that are handled together: they are gathered until there are enough of them or the first has waited long
 * enough, and each gets the outcome that stands in its place. It knows no leases: a task that is gathered is one whose
 * handler runs, and what is told of it is told by the worker.
 */
import type { Environment, Timer } from "./transport.ts";
import type { BatchItem } from "./types.ts";

export type BatchOptions = {
  /** At most so many tasks together. */
  size: number;
  /** How long the first of them waits for others, in ms. Default 0: what is there is taken. */
  waitMs?: number;
};

/** How many handlers run at once: who finds no turn waits for one, in the order of coming. */
export class Turns {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(count: number) {
    this.#free = count;
  }

  async take(): Promise<void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Hands the turn on, or keeps it for who comes next. */
  give(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}

type Entry = {
  item: BatchItem<unknown>;
  at: number;
  resolve(outcome: unknown): void;
  reject(error: unknown): void;
};

export class Gathering {
  readonly #entries: Entry[] = [];
  readonly #size: number;
  readonly #waitMs: number;
  #timer: Timer = null;
  #isDue = false;
  #isAsking = false;

  constructor(
    { size, waitMs = 0 }: BatchOptions,
    private readonly handler: (items: readonly BatchItem<unknown>[]) => unknown,
    private readonly turns: Turns,
    private readonly environment: Environment,
  ) {
    this.#size = size;
    this.#waitMs = waitMs;
  }

  /** Resolves with this item's outcome; rejects with its error, or with the batch's. */
  add(item: BatchItem<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#entries.push({ item, at: this.environment.now(), resolve, reject });
      this.#look();
    });
  }

  /** No more will come: what is there is taken. */
  hurry(): void {
    this.#isDue = true;
    this.#look();
  }

  /** Asks for a turn once there is a batch, and while there is none for the moment when there will be. */
  #look(): void {
    if (this.#isAsking || this.#entries.length === 0) return;
    const waitedMs = this.environment.now() - this.#entries[0]!.at;
    if (this.#entries.length >= this.#size || this.#isDue || waitedMs >= this.#waitMs) void this.#ask();
    else
      this.#timer ??= this.environment.setTimer(this.#waitMs - waitedMs, () => {
        this.#timer = null;
        this.#look();
      });
  }

  async #ask(): Promise<void> {
    this.#isAsking = true;
    // Others may join until the turn comes.
    await this.turns.take();
    this.#isAsking = false;
    const batch = this.#entries.splice(0, this.#size);
    if (this.#timer !== null) this.environment.clearTimer(this.#timer);
    this.#timer = null;
    this.#look();
    await this.#run(batch);
    this.turns.give();
  }

  async #run(batch: Entry[]): Promise<void> {
    const live = batch.filter(({ item: { signal }, reject }) => {
      if (signal.aborted) reject(signal.reason);
      return !signal.aborted;
    });
    if (live.length === 0) return;
    try {
      const outcomes = await this.handler(live.map(({ item }) => item));
      if (!Array.isArray(outcomes) || outcomes.length !== live.length)
        throw new TypeError(
          `the handler was given ${live.length} tasks and returned ${
            Array.isArray(outcomes) ? `${outcomes.length} outcomes` : `no array of outcomes`
          }: it returns one for each, in their order`,
        );
      for (const [i, { resolve, reject }] of live.entries()) {
        if (outcomes[i] instanceof Error) reject(outcomes[i]);
        else resolve(outcomes[i]);
      }
    } catch (error) {
      for (const { reject } of live) reject(error);
    }
  }
}
