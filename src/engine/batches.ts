/**
 * Batches: what goes to the log, and how far the log is. While one batch is on its way, every entry that is made
 * gathers in the next (group commit). What is not durable yet stays here, so that a full disk can undo it. It also
 * keeps the ceiling: no revision is used that the log has not reserved. What follows for the state of the engine
 * and for those who wait is not decided here.
 */
import { writeEntry } from "../core/codec.ts";
import { type Counted, counted, recount } from "../core/counted.ts";
import type { Transaction } from "../core/store.ts";
import { Durations } from "../lib/durations.ts";
import { Histogram } from "../lib/histogram.ts";
import { type Batch, type Log, type Recovered, smallBatch } from "../log/log.ts";
import type { Clock } from "./clock.ts";
import type { Engine } from "./engine.ts";

/** What the engine does about what the log says. */
export type Outcomes = {
  /** More may be durable than was. */
  letOut(): void;
  /** The disk is full: what is not durable must be undone. */
  full(): void;
  /** The log is beyond use. */
  failed(error: Error): void;
};

/** Revisions reserved at a time, and how early the next million is asked for. */
const reservedAtOnce = 1_000_000;
const reserveEarly = 500_000;

/** So many texts of entries are put together to one piece, which is less to look at where the batch is read. */
const textsMax = 512;

export class Batches {
  #keepsText = true;
  /** What gathers, in pieces, and what follows the last of them, which is many texts an entry. */
  #pieces: string[] = [];
  #texts: string[] = [];
  #textBytes = 0;
  #textFirst = 0;
  /** How much of it there was when it was asked whether it grows. */
  #lookedAt = 0;
  /** What is at the log, and what has gathered since. */
  #sent: Transaction[] = [];
  #gathered: Transaction[] = [];
  #sentBytes = 0;
  /** What was counted up to what is durable, and up to what is at the log. */
  #counted: Counted;
  #sentCounted: Counted;
  #appending = false;
  /** The last revision given to the log. */
  #appended = 0;
  #durable = 0;
  #ceiling = 0;
  #reserving = false;
  #failed = false;
  #drained: (() => void)[] = [];

  constructor(
    private readonly engine: Pick<Engine, "core" | "store" | "counters">,
    private readonly log: Log,
    private readonly on: Outcomes,
    private readonly clock: Clock,
  ) {
    // There is no core yet, and no entry.
    this.#counted = counted({
      metrics: engine.counters,
      took: { wait: new Durations(), run: new Durations() },
    });
    this.#sentCounted = this.#counted;
  }

  /** From when a batch was given to the log until it was durable. */
  readonly took = new Histogram();

  get durable(): number {
    return this.#durable;
  }

  get undurableBytes(): number {
    return this.#sentBytes + this.#textBytes;
  }

  /** What entries have counted, of those that are durable: who reads it never sees it go back. */
  get counted(): Counted {
    return this.#sent.length + this.#gathered.length === 0 ? counted(this.engine.core) : this.#counted;
  }

  /** How many revisions may be used before the log has reserved more. */
  get revisionsLeft(): number {
    return this.#ceiling - this.engine.store.revision;
  }

  /** Goes on where the log ends, and reserves the first revisions. */
  start(recovered: Recovered): Promise<void> {
    this.#keepsText = this.log.status().strategy !== "memory";
    // Nothing waits for the log yet, so all there is is durable.
    this.#durable = recovered.ceiling;
    this.#appended = recovered.revision;
    this.#ceiling = recovered.ceiling;
    return this.#reserve();
  }

  add(transaction: Transaction): void {
    const { revision, changes } = transaction;
    const { core } = this.engine;
    this.#gathered.push(transaction);
    if (!this.#keepsText) return;
    const { operation, who, now, clock } = core;
    if (this.#textBytes === 0) this.#textFirst = revision;
    const texts = this.#texts;
    const from = texts.length;
    writeEntry(texts, { revision, at: now, clock, operation, who }, changes);
    let bytes = 0;
    for (let i = from; i < texts.length; i++) bytes += (texts[i] as string).length;
    this.#textBytes += bytes;
    if (texts.length >= textsMax) this.#putTogether();
  }

  #putTogether(): void {
    if (this.#texts.length > 0) this.#pieces.push(this.#texts.join(""));
    this.#texts = [];
  }

  /**
   * What gathers could be sent at once, but it is little, and more came since this was asked last: one round of the loop
   * costs less than one sync.
   */
  isGrowing(): boolean {
    const grew = this.#textBytes > this.#lookedAt;
    this.#lookedAt = this.#textBytes;
    const isSmall = this.#textBytes < smallBatch.units && this.#gathered.length < smallBatch.entries;
    return grew && !this.#appending && isSmall;
  }

  /** Lets out what may leave, and sends what has gathered to the log, if nothing is on its way. */
  pump(): void {
    if (!this.#keepsText) {
      this.engine.counters.entriesLogged += this.#gathered.length;
      this.#gathered = [];
      this.#settle(this.engine.store.revision);
    } else {
      this.on.letOut();
      if (!this.#appending && this.#textBytes > 0) this.#append();
    }
  }

  #append(): void {
    this.#putTogether();
    const pieces = this.#pieces;
    const batch: Batch = {
      first: this.#textFirst,
      last: this.engine.store.revision,
      pieces,
      get text() {
        return pieces.join("");
      },
    };
    this.#sent = this.#gathered;
    this.#sentBytes = this.#textBytes;
    this.#sentCounted = counted(this.engine.core);
    this.#gathered = [];
    this.#appending = true;
    const { counters } = this.engine;
    counters.batchesLogged++;
    counters.entriesLogged += this.#sent.length;
    counters.bytesLogged += this.#sentBytes;
    this.#forgetTexts();
    const before = this.clock.monotonic();
    this.log.append(batch, this.#appended).then(
      (appended) => {
        this.#appending = false;
        if (this.#failed) return;
        if (appended.kind === "durable") {
          this.#appended = batch.last;
          this.#counted = this.#sentCounted;
          this.took.add(this.clock.monotonic() - before);
          this.#settle(batch.last);
          this.pump();
        } else if (appended.kind === "full") {
          this.on.full();
          this.#tellDrained();
        } else
          this.on.failed(
            new Error(
              `the log is at revision ${appended.last}, not at ${this.#appended}: another writer has it`,
            ),
          );
      },
      (error) => this.on.failed(error as Error),
    );
  }

  /** Everything up to `revision` is as safe as it will be. */
  #settle(revision: number): void {
    this.#durable = Math.max(this.#durable, revision);
    this.#sent = [];
    this.#sentBytes = 0;
    this.on.letOut();
    if (this.#gathered.length === 0) this.#tellDrained();
  }

  #forgetTexts(): void {
    this.#pieces = [];
    this.#texts = [];
    this.#textBytes = 0;
    this.#lookedAt = 0;
  }

  /** Takes back what is not durable, newest first; answers how many entries that was. */
  undo(): number {
    const { store } = this.engine;
    const undone = [...this.#sent, ...this.#gathered].reverse();
    for (const transaction of undone) store.undo(transaction);
    if (undone.length > 0) recount(this.engine.core, this.#counted);
    this.#sent = [];
    this.#sentBytes = 0;
    this.#gathered = [];
    this.#forgetTexts();
    // What stands is durable; the revisions that were undone are never used again.
    this.#durable = store.revision;
    return undone.length;
  }

  /** The log is beyond use: nothing is sent any more. */
  fail(): void {
    this.#failed = true;
    this.#tellDrained();
  }

  /** When nothing waits for the log any more. */
  whenDrained(): Promise<void> {
    if (this.#sent.length === 0 && this.#gathered.length === 0 && !this.#appending) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  #tellDrained(): void {
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  reserveEarly(): void {
    if (this.revisionsLeft < reserveEarly && !this.#reserving)
      this.#reserve().catch((error) => this.on.failed(error as Error));
  }

  async #reserve(): Promise<void> {
    const ceiling = this.engine.store.revision + reservedAtOnce;
    this.#reserving = true;
    try {
      await this.log.reserve(ceiling);
      this.#ceiling = ceiling;
    } finally {
      this.#reserving = false;
    }
  }
}
