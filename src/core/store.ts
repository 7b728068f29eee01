/**
 * The store: tables of immutable records, transactions with exact rollback, indexes and a change feed. It knows
 * nothing of tasks, of time or of the disk, and is usable alone (`createStore()`).
 *
 * A record is never mutated: a change puts a new one. So rollback is putting the old references back, a change
 * can be encoded or shown later without a copy, and a reader's view is a walk that notes what changes meanwhile.
 * Tables must not be changed outside a transaction, and an order must never be taken from a table's iteration:
 * undoing a delete moves a key to the end of its Map.
 */
import { assert } from "../lib/assert.ts";

/** One record put (`after`), replaced (both) or deleted (`after` undefined). */
export type Change<R = unknown> = {
  readonly table: Table<R>;
  readonly key: string;
  readonly before: R | undefined;
  readonly after: R | undefined;
};

/**
 * How rows are named inside their table. A name that a number can stand for is kept as the number: it costs neither a
 * text nor its hash. `row` and `key` must be each other's inverse, and `row` must take any text.
 */
export type RowName = string | number;
export type Naming = {
  row(key: string): RowName;
  key(row: RowName): string;
  /** In which of 64 Maps a row lies. Default: by its end, as ids grow there. */
  shard?(row: RowName): number;
};
const asTheyAre: Naming = { row: (key) => key, key: (row) => row as string };

/** A change as it is noted. Most are never asked for their key. */
class Noted implements Change {
  constructor(
    readonly table: Table<unknown>,
    readonly row: RowName,
    readonly before: unknown,
    readonly after: unknown,
  ) {}

  get key(): string {
    return this.table.naming.key(this.row);
  }
}

/** A committed transaction; `changes` in the order they were made. */
export type Transaction = {
  readonly revision: number;
  readonly changes: readonly Change[];
  /** What puts back, behind the records, what none of them says. */
  readonly undos: readonly Undo[];
};
type Undo = () => void;
const noUndos: Undo[] = [];

/** Something derived from a table. It is told every change, and the inverse when one is rolled back. */
export type Index<R> = {
  change(before: R | undefined, after: R | undefined): void;
};

/** 64 Maps: one Map of 786,000 entries stalls for 124 ms when it doubles, 64 sharded ones for 5 ms at worst. */
const shardCount = 64;

/** Ids grow at their end, so the last characters spread them; the separator of `revision-number` is passed over. */
function shardOf(key: RowName): number {
  if (typeof key === "number") return key & (shardCount - 1);
  const n = key.length;
  return (key.charCodeAt(n - 1) + 7 * key.charCodeAt(n - 3) + 29 * key.charCodeAt(n - 4)) & (shardCount - 1);
}

/** For keys that people choose: those of `user/17/name` end alike, and would all lie in one Map. */
export const chosenKeys: Naming = {
  row: (key) => key,
  key: (row) => row as string,
  shard(row) {
    const key = row as string;
    let hash = 0;
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
    return (hash ^ (hash >>> 15)) & (shardCount - 1);
  },
};

export class Table<R> {
  readonly #shards: Map<RowName, R>[] = [];
  readonly #indexes: Index<R>[] = [];
  readonly #views = new Set<View<R>>();
  readonly #shardOf: (row: RowName) => number;
  #size = 0;

  /** Made by Store.table alone. */
  constructor(
    readonly name: string,
    private readonly store: Store,
    /** For the store alone. */
    readonly naming: Naming,
  ) {
    this.#shardOf = naming.shard ?? shardOf;
    for (let i = 0; i < shardCount; i++) this.#shards.push(new Map());
  }

  get size(): number {
    return this.#size;
  }

  /** By key, or, for those who know the table's naming, by row. */
  get(key: RowName): R | undefined {
    const row = typeof key === "string" ? this.naming.row(key) : key;
    return (this.#shards[this.#shardOf(row)] as Map<RowName, R>).get(row);
  }

  has(key: RowName): boolean {
    return this.get(key) !== undefined;
  }

  /** Puts a new version of a record. Never change a record after putting it. */
  put(key: RowName, record: R): void {
    const row = typeof key === "string" ? this.naming.row(key) : key;
    this.store.note(this as Table<unknown>, row, this.#set(row, record), record);
  }

  /** Tells of a record that is not kept: it is among the transaction's changes, and so in the log, and nowhere else. */
  tell(key: RowName, record: R): void {
    const row = typeof key === "string" ? this.naming.row(key) : key;
    this.store.note(this as Table<unknown>, row, undefined, record);
  }

  /** Deletes the record; deleting what is not there is a bug. */
  delete(key: RowName): void {
    const row = typeof key === "string" ? this.naming.row(key) : key;
    const before = this.#set(row, undefined);
    assert(before !== undefined, `${this.name}: delete of an absent key ${key}`);
    this.store.note(this as Table<unknown>, row, before, undefined);
  }

  /** Adds indexes and shows them what is already there, in the given order (recovery comes this way). */
  index(indexes: readonly Index<R>[], order?: (a: R, b: R) => number): void {
    this.#indexes.push(...indexes);
    if (this.#size === 0) return;
    const records = order === undefined ? [...this.values()] : [...this.values()].sort(order);
    for (const record of records) for (const index of indexes) index.change(undefined, record);
  }

  /** All records, in no particular order. For recovery and checks; never on a hot path. */
  *values(): Iterable<R> {
    for (const shard of this.#shards) yield* shard.values();
  }

  *entries(): Iterable<[string, R]> {
    for (const shard of this.#shards) for (const [row, record] of shard) yield [this.naming.key(row), record];
  }

  /**
   * Up to `limit` records from behind `cursor` on, in an order that holds while the table changes, and the next
   * cursor (null at the end). One call looks at a sixty-fourth of the table per shard it touches.
   */
  page(cursor: string | null, limit: number): { rows: [RowName, R][]; cursor: string | null } {
    const slash = cursor === null ? -1 : cursor.indexOf("/");
    const first = cursor === null ? 0 : Number(cursor.slice(0, slash));
    let after = cursor === null ? null : cursor.slice(slash + 1);
    const rows: [RowName, R][] = [];
    for (let place = first; place < shardCount; place++) {
      const shard = this.#shards[place] as Map<RowName, R>;
      for (const key of Array.from(shard.keys(), this.naming.key).sort()) {
        if (after !== null && key <= after) continue;
        rows.push([this.naming.row(key), this.get(key) as R]);
        if (rows.length === limit) return { rows, cursor: `${place}/${key}` };
      }
      after = null;
    }
    return { rows, cursor: null };
  }

  /** The table as it is now, to be walked in slices while it goes on changing. Close it. */
  view(): View<R> {
    const view = new View<R>(this.#shards, () => this.#views.delete(view));
    this.#views.add(view);
    return view;
  }

  /** For the store alone: puts back, replays or loads a version without noting it in a transaction. */
  restore(key: RowName, record: R | undefined): void {
    this.#set(typeof key === "string" ? this.naming.row(key) : key, record);
  }

  #set(row: RowName, record: R | undefined): R | undefined {
    const place = this.#shardOf(row);
    const shard = this.#shards[place] as Map<RowName, R>;
    const before = shard.get(row);
    if (record !== undefined) {
      shard.set(row, record);
      if (before === undefined) this.#size += 1;
    } else {
      // Replay deletes what is gone already: nothing has changed, and nobody is told.
      if (before === undefined) return undefined;
      shard.delete(row);
      this.#size -= 1;
    }
    if (this.#views.size > 0) for (const view of this.#views) view.note(place, row, before);
    for (let i = 0; i < this.#indexes.length; i++) (this.#indexes[i] as Index<R>).change(before, record);
    return before;
  }
}

/**
 * A table at one revision, walked in slices of a sixty-fourth. What changes in a part not yet walked is noted
 * with its old reference; a part that was walked is an array of immutable records and needs nothing.
 */
export class View<R> {
  #place = 0;
  readonly #old: Map<RowName, R | undefined>[] = [];
  #closed = false;

  constructor(
    private readonly shards: readonly Map<RowName, R>[],
    private readonly onClose: () => void,
  ) {
    for (let i = 0; i < shards.length; i++) this.#old.push(new Map());
  }

  /** The next slice, or null at the end. */
  next(): [RowName, R][] | null {
    assert(!this.#closed, "a closed view is not read");
    if (this.#place === this.shards.length) return null;
    const old = this.#old[this.#place] as Map<RowName, R | undefined>;
    const slice: [RowName, R][] = [];
    for (const entry of this.shards[this.#place] as Map<RowName, R>)
      if (!old.has(entry[0])) slice.push(entry);
    for (const [row, record] of old) if (record !== undefined) slice.push([row, record]);
    old.clear();
    this.#place += 1;
    return slice;
  }

  note(place: number, row: RowName, before: R | undefined): void {
    if (place < this.#place) return;
    const old = this.#old[place] as Map<RowName, R | undefined>;
    if (!old.has(row)) old.set(row, before);
  }

  close(): void {
    this.#closed = true;
    this.onClose();
  }
}

export class Store {
  readonly #tables = new Map<string, Table<unknown>>();
  readonly #listeners: ((transaction: Transaction) => void)[] = [];
  #open: Change[] | null = null;
  #undos = noUndos;
  #revision = 0;

  /** The revision of the last committed transaction. */
  get revision(): number {
    return this.#revision;
  }

  /** The revision the open, or else the next, transaction will have; it is used up only if something changes. */
  get nextRevision(): number {
    return this.#revision + 1;
  }

  /** How many changes the open transaction has made so far. */
  get changeCount(): number {
    return this.#open === null ? 0 : this.#open.length;
  }

  /** Goes on above a revision. It never goes back. */
  advanceTo(revision: number): void {
    assert(revision >= this.#revision, "a revision never goes back");
    this.#revision = revision;
  }

  /** Makes a table, or gives the one of that name. */
  table<R>(name: string, naming = asTheyAre): Table<R> {
    let table = this.#tables.get(name);
    if (table === undefined) {
      table = new Table<unknown>(name, this, naming);
      this.#tables.set(name, table);
    }
    return table as Table<R>;
  }

  tables(): Iterable<Table<unknown>> {
    return this.#tables.values();
  }

  /**
   * Runs `work` as one transaction: all of its puts and deletes, or, when it throws, none. Returns what it
   * returns. Listeners hear of it after it is committed, and not at all if it changed nothing.
   */
  transaction<T>(work: () => T): T {
    assert(this.#open === null, "a transaction is open already");
    const changes: Change[] = [];
    this.#open = changes;
    this.#undos = noUndos;
    let result: T;
    try {
      result = work();
    } catch (error) {
      this.#open = null;
      this.#rollback(changes, this.#undos);
      throw error;
    }
    this.#open = null;
    if (changes.length > 0) {
      this.#revision += 1;
      const transaction = { revision: this.#revision, changes, undos: this.#undos };
      for (let i = 0; i < this.#listeners.length; i++) this.#listeners[i]?.(transaction);
    }
    return result;
  }

  /** Takes a committed transaction back: newest first, and only the newest that still stands. */
  undo(transaction: Transaction): void {
    assert(this.#open === null, "a transaction is open");
    this.#rollback(transaction.changes, transaction.undos);
  }

  /**
   * Whoever, inside a transaction, changes something that is in no record says here how it is put back, should the
   * transaction throw or be taken back later. While one is being taken back, nothing is noted.
   */
  onUndo(undo: Undo): void {
    if (this.#open === null) return;
    if (this.#undos === noUndos) this.#undos = [];
    this.#undos.push(undo);
  }

  /** Hears every committed transaction, in order. */
  onCommit(listener: (transaction: Transaction) => void): void {
    this.#listeners.push(listener);
  }

  /** For Table alone. */
  note(table: Table<unknown>, row: RowName, before: unknown, after: unknown): void {
    if (this.#open === null) {
      table.restore(row, before);
      throw new Error(`${table.name}: a record is put or deleted only inside a transaction`);
    }
    this.#open.push(new Noted(table, row, before, after));
  }

  #rollback(changes: readonly Change[], undos: readonly Undo[]): void {
    for (let i = changes.length - 1; i >= 0; i--) {
      const change = changes[i] as Change;
      change.table.restore(change.key, change.before);
    }
    for (let i = undos.length - 1; i >= 0; i--) (undos[i] as Undo)();
  }
}

/**
 * A store of its own, without log, tasks or network.
 *
 *     const store = createStore();
 *     const users = store.table<{ name: string }>("users");
 *     store.onCommit(({ revision, changes }) => console.log(revision, changes.length));
 *     store.transaction(() => users.put("ada", { name: "Ada" }));
 */
export const createStore = (): Store => new Store();
