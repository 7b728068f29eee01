/**
 * The newest changes, kept in memory so that a watch goes on where it was interrupted: references to immutable records,
 * as many as are allowed. A watch that begins behind them catches up in slices, no faster than its sink takes them, and
 * is live from the moment it has; what is kept no more is told as a gap. Records that are kept cost a busy daemon time,
 * because they outlive the collections of young ones, so nothing is kept where nobody has watched of late, and messages only
 * where somebody has watched those.
 */
import type { Step } from "../core/coordinator.ts";
import type { MessageRecord } from "../core/inboxes.ts";
import type { KeyRecord } from "../core/kv.ts";
import type { Change } from "../core/store.ts";
import type { TaskRecord } from "../core/tasks.ts";
import { limits } from "../wire/limits.ts";
import { ChangeView, type WatchStart } from "../wire/state.ts";
import type { Sink } from "./types.ts";
import { type Cause, changeText, gapText, seesMessages, type Watch, Watches } from "./watch.ts";

/** A transaction as watchers see it. */
type Told = {
  readonly cause: Cause;
  readonly changes: readonly Change[];
  /** Of each change, where they differ. */
  readonly operations: readonly string[] | null;
  readonly bytes: number;
};

const watched: ReadonlySet<string> = new Set(ChangeView.properties.table.anyOf.map((one) => one.const));

/** What a change costs beside its texts (measured: two records, their note, and their places). */
const changeBytes = 500;

function bytesOf({ table, before, after }: Change): number {
  if (table.name === "keys") return changeBytes + ((after as KeyRecord | undefined)?.value.length ?? 0);
  if (table.name === "messages")
    return changeBytes + ((after as MessageRecord | undefined)?.payload.length ?? 0);
  if (table.name !== "tasks" || after === undefined) return changeBytes;
  const { spec, outcome } = after as TaskRecord;
  return changeBytes + (before === undefined ? spec.payload.length : 0) + (outcome.result?.length ?? 0);
}

export class Recent {
  #told: Told[] = [];
  #head = 0;
  #bytes = 0;
  /** All that changed after it is here. */
  #floor = 0;
  /** The last revision in the log when it was opened, while nothing was dropped: none between it and the floor was ever used. */
  #last = 0;
  /** Nothing was dropped since it began. */
  isWhole = true;
  /** Messages are kept too, all since this revision; null: they are not. */
  #messagesFrom: number | null = 0;

  constructor(private readonly bytesMax: number) {}

  begin(last: number, floor: number): void {
    this.#last = last;
    this.#floor = floor;
  }

  add(cause: Cause, changes: readonly Change[], steps: readonly Step[]): void {
    const kept: Change[] = [];
    const operations: string[] | null = steps.length === 0 ? null : [];
    let bytes = 0;
    let step = 0;
    for (let i = 0; i < changes.length; i++) {
      const change = changes[i] as Change;
      while (step < steps.length && (steps[step] as Step).from <= i) step += 1;
      const { name } = change.table;
      if (!watched.has(name) || (name === "messages" && this.#messagesFrom === null)) continue;
      kept.push(change);
      operations?.push((steps[step - 1] as Step).operation);
      bytes += bytesOf(change);
    }
    if (kept.length === 0) return;
    this.#told.push({ cause, changes: kept, operations, bytes });
    this.#bytes += bytes;
    while (this.#bytes > this.bytesMax) this.#drop();
  }

  /** Somebody watches messages, of a state of this revision. */
  keepMessages(revision: number): void {
    this.#messagesFrom ??= revision;
  }
  /** Nobody does any more; those that are here go with the others. */
  leaveMessages(): void {
    this.#messagesFrom = null;
  }

  /** Nobody is interested: nothing is kept, up to this revision. */
  forget(revision: number): void {
    this.#raise(revision);
    if (this.#told.length === 0) return;
    this.#told = [];
    this.#head = 0;
    this.#bytes = 0;
  }

  #drop(): void {
    const { cause, bytes } = this.#told[this.#head] as Told;
    this.#head += 1;
    this.#bytes -= bytes;
    this.#raise(cause.revision);
    if (this.#head < 1024 || this.#head * 2 < this.#told.length) return;
    this.#told = this.#told.slice(this.#head);
    this.#head = 0;
  }

  #raise(floor: number): void {
    this.#floor = floor;
    this.#last = floor;
    this.isWhole = false;
  }

  /** What is above `durable` was undone. */
  undo(durable: number): void {
    for (let last = this.#told.at(-1); last !== undefined; last = this.#told.at(-1)) {
      if (last.cause.revision <= durable || this.#told.length === this.#head) return;
      this.#bytes -= last.bytes;
      this.#told.pop();
    }
  }

  /** The first revision after this one from which on all is here: the next, or where what is kept begins. */
  knownAfter(revision: number, filter: WatchStart): number {
    const known = revision >= this.#floor || revision === this.#last ? revision + 1 : this.#floor + 1;
    const from = seesMessages(filter) ? (this.#messagesFrom as number) : 0;
    return Math.max(known, revision >= from ? known : from + 1);
  }

  /** The place of the first transaction from `revision` on. */
  #placeOf(revision: number): number {
    let low = this.#head;
    let high = this.#told.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#told[middle] as Told).cause.revision < revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  *from(revision: number): Iterable<Told> {
    for (let i = this.#placeOf(revision); i < this.#told.length; i++) yield this.#told[i] as Told;
  }
}

/** In one turn, so that others have theirs; in UTF-16 units, and in changes looked at. */
const sliceUnits = 256 * 1024;
const sliceLooks = 5000;
/** What may wait at a sink before it gets more of the past. */
const backlogMax = limits.watchBufferBytesMax / 4;

/** How far a watch is: all up to this revision, and of the entry behind it so many changes. */
type Place = { after: number; of: number; count: number };

/** Watches that have not caught up. */
export class Behind {
  readonly #places = new Map<Watch, Place>();
  /** Who had a slice in this turn: what that was does not count as its backlog before it has left. */
  readonly #served = new Set<Sink>();

  constructor(
    private readonly recent: Recent,
    private readonly tell: (kind: "change" | "gap", watch: Watch, revision: number, text: string) => void,
    private readonly caughtUp: (watch: Watch) => void,
  ) {}

  /** Most have caught up at once. */
  add(watch: Watch, after: number): void {
    this.#places.set(watch, { after, of: 0, count: 0 });
    this.#offer(watch);
  }

  delete(watch: Watch): boolean {
    return this.#places.delete(watch);
  }

  get size(): number {
    return this.#places.size;
  }

  /** A slice for each whose sink takes it; true: there is more that could go at once. */
  serve(): boolean {
    let more = false;
    for (const watch of this.#places.keys()) if (!this.#offer(watch)) more = true;
    this.#served.clear();
    return more;
  }

  /** A slice, if its sink takes one; false: there is more that could go at once. */
  #offer(watch: Watch): boolean {
    const { sink } = watch;
    if (sink.backlog() > backlogMax) return true;
    if (this.#served.has(sink)) return false;
    this.#served.add(sink);
    return this.#slice(watch);
  }

  /** Whether it has caught up with this. */
  #slice(watch: Watch): boolean {
    const { watchId } = watch.filter;
    let { after, of, count } = this.#places.get(watch) as Place;
    const next = this.recent.knownAfter(after, watch.filter);
    if (next > after + 1) {
      this.tell("gap", watch, next - 1, gapText(watchId, after + 1, next - 1));
      after = next - 1;
    }
    const only = new Watches();
    only.add(watch);
    let units = 0;
    let looks = 0;
    for (const { cause, changes, operations } of this.recent.from(next)) {
      // One entry may be more than a sink takes at once, and is told in parts.
      for (let i = cause.revision === of ? count : 0; i < changes.length; i++) {
        if (units >= sliceUnits || looks++ >= sliceLooks) {
          this.#places.set(watch, { after, of: cause.revision, count: i });
          return false;
        }
        const change = changes[i] as Change;
        const own = operations === null ? cause : { ...cause, operation: operations[i] as string };
        only.match(change, own, (_, about) => {
          const text = changeText(watchId, about);
          units += text.length;
          this.tell("change", watch, cause.revision, text);
        });
      }
      after = cause.revision;
    }
    this.#places.delete(watch);
    this.caughtUp(watch);
    return true;
  }
}
