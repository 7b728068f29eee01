/**
 * Keys: values under names. A put replaces a key as a whole, its time and its owner too; a delete leaves nothing. The
 * revision of a key is the entry of its last change, so comparing it says whether anything happened meanwhile.
 *
 * A key whose time has come is not there for anyone from that moment of the wall clock on, however late `tick` deletes
 * it. A key that is a worker's goes in the entry in which the worker does. Nobody but the worker itself keeps it alive:
 * a connection is no state, and its end nothing that a log could hold.
 */
import { IndexedHeap } from "../lib/heap.ts";
import { sameJson } from "../lib/json.ts";
import { Sorted } from "../lib/sorted.ts";
import { limits } from "../wire/limits.ts";
import type { Input } from "../wire/operations.ts";
import type { KeyCondition } from "../wire/transactions.ts";
import type { Coordinator } from "./coordinator.ts";
import { Owners, refuseOwner } from "./owners.ts";
import { invalid, type Refusal, type Result, refuse, textOf } from "./result.ts";
import { chosenKeys, type Index, type Store, type Table } from "./store.ts";

export type KeyRecord = {
  readonly key: string;
  /** JSON text. */
  readonly value: string;
  readonly createdRevision: number;
  /** Changes since it was made, that one included. */
  readonly version: number;
  /** On the wall clock; 0: it stays. */
  readonly expiresAt: number;
  /** null: it is nobody's. */
  readonly workerId: string | null;
  readonly revision: number;
};

export const keysOf = (store: Store): Table<KeyRecord> => store.table("keys", chosenKeys);

/** What a key costs beside its texts (measured). */
const keyBytes = 350;
/** Of values, on one page or in one answer; the first is always there. */
const valueUnitsMax = 2 * limits.payloadBytesMax;

export const sizeOfKey = (record: KeyRecord | undefined): number =>
  record === undefined ? 0 : keyBytes + record.key.length + record.value.length;

// --- what is derived ----------------------------------------------------------------------------------------

class Place {
  at = 0;
  constructor(readonly key: string) {}
}

export class Keys implements Index<KeyRecord> {
  readonly #sorted = new Sorted();
  readonly #places = new Map<string, Place>();
  readonly #due = new IndexedHeap<Place>((a, b) => a.at < b.at || (a.at === b.at && a.key < b.key));
  readonly owners = new Owners<string>();

  constructor(private readonly core: Coordinator) {}

  change(before: KeyRecord | undefined, after: KeyRecord | undefined): void {
    const { key } = (after ?? before) as KeyRecord;
    this.core.limits.grow(sizeOfKey(after) - sizeOfKey(before));
    if (before === undefined) this.#sorted.add(key);
    else if (after === undefined) this.#sorted.delete(key);
    const at = after?.expiresAt ?? 0;
    if (at !== (before?.expiresAt ?? 0)) this.#expire(key, at);
    this.owners.pass(key, before?.workerId ?? null, after?.workerId ?? null);
  }

  #expire(key: string, at: number): void {
    let place = this.#places.get(key);
    if (at === 0) {
      this.#due.delete(place as Place);
      this.#places.delete(key);
      return;
    }
    if (place === undefined) {
      place = new Place(key);
      this.#places.set(key, place);
    }
    place.at = at;
    this.#due.update(place);
  }

  /** When the first of them expires; Infinity: none does. */
  get nextAt(): number {
    return this.#due.top?.at ?? Number.POSITIVE_INFINITY;
  }

  /** Inside a transaction: deletes the first that expired. */
  expireFirst(): void {
    this.core.keys.delete((this.#due.top as Place).key);
  }

  /** In order, from `from` on. */
  from(from: string): Iterable<string> {
    return this.#sorted.from(from);
  }

  /** For checks. */
  get size(): number {
    return this.#sorted.size;
  }
  get dueCount(): number {
    return this.#due.size;
  }
  dueAt(key: string): number {
    return this.#places.get(key)?.at ?? 0;
  }
}

/** Inside a transaction: the worker is gone, and its keys are with it. */
export function release(core: Coordinator, workerId: string): void {
  for (const key of core.sortedKeys.owners.of(workerId).sort()) core.keys.delete(key);
}

// --- operations ---------------------------------------------------------------------------------------------

/** The key, unless its time has come. */
function find(core: Coordinator, key: string): KeyRecord | undefined {
  const record = core.keys.get(key);
  return record === undefined || (record.expiresAt > 0 && record.expiresAt <= core.now) ? undefined : record;
}

const unknownKey = (key: string) => refuse("unknown-key", `there is no key ${key}`);

function mismatch(key: string, ifRevision: number | undefined, known: KeyRecord | undefined): Refusal | null {
  const revision = known?.revision ?? 0;
  if (ifRevision === undefined || ifRevision === revision) return null;
  const is =
    known === undefined
      ? `there is no key ${key}, so it is not at revision ${ifRevision}`
      : `key ${key} is at revision ${revision}, not at ${ifRevision}`;
  return refuse("revision-mismatch", is, { revision });
}

/** Whether a key more, or of another worker, is too many. */
function refuseRoom(
  core: Coordinator,
  known: KeyRecord | undefined,
  workerId: string | null,
): Refusal | null {
  if (known === undefined && core.keys.size >= limits.keysMax)
    return refuse("busy", `${limits.keysMax} keys are kept`, { retryAfterMs: 60_000 });
  if (workerId !== null && known?.workerId !== workerId) {
    const absent = refuseOwner(core, workerId);
    if (absent !== null) return absent;
    if (core.sortedKeys.owners.countOf(workerId) >= limits.keysPerWorkerMax)
      return refuse("busy", `worker ${workerId} owns ${limits.keysPerWorkerMax} keys`, {
        retryAfterMs: 60_000,
      });
  }
  return core.limits.refuseMemory();
}

function keep(
  core: Coordinator,
  known: KeyRecord | undefined,
  to: Pick<KeyRecord, "key" | "value" | "expiresAt" | "workerId">,
): KeyRecord {
  const revision = core.store.nextRevision;
  const record: KeyRecord = {
    key: to.key,
    value: to.value,
    createdRevision: known?.createdRevision ?? revision,
    version: (known?.version ?? 0) + 1,
    expiresAt: to.expiresAt,
    workerId: to.workerId,
    revision,
  };
  core.keys.put(to.key, record);
  return record;
}

export function put(core: Coordinator, input: Input<"kv.put">): Result {
  const { key, ttlMs, workerId = null } = input;
  if (ttlMs !== undefined && input.expiresAt !== undefined)
    return invalid("/ttlMs", "goes not with expiresAt");
  const expiresAt = ttlMs === undefined ? (input.expiresAt ?? 0) : core.now + ttlMs;
  if (expiresAt > 0 && expiresAt <= core.now) return invalid("/expiresAt", "is over already");
  const known = find(core, key);
  const refused = mismatch(key, input.ifRevision, known) ?? refuseRoom(core, known, workerId);
  if (refused !== null) return refused;
  const value = textOf(input.value, "value");
  if ("error" in value) return value;
  return { ok: `{${standingText(keep(core, known, { key, value: value.text, expiresAt, workerId }))}}` };
}

export function remove(core: Coordinator, input: Input<"kv.delete">): Result {
  const { key } = input;
  const known = find(core, key);
  const refused = mismatch(key, input.ifRevision, known);
  if (refused !== null) return refused;
  if (known === undefined) return unknownKey(key);
  core.keys.delete(key);
  return { ok: `{"key":"${key}","deletedRevision":${known.revision}}` };
}

export function increment(core: Coordinator, input: Input<"kv.increment">): Result {
  const { key, by = 1, ttlMs } = input;
  const known = find(core, key);
  // Any other value is longer to read than to tell.
  const is = known === undefined ? 0 : integer.test(known.value) ? Number(known.value) : Number.NaN;
  if (!Number.isSafeInteger(is)) return refuse("not-a-counter", `the value of key ${key} is no whole number`);
  const counts = is + by;
  if (!Number.isSafeInteger(counts))
    return refuse("not-a-counter", `key ${key} counts ${is}; ${by} more is beyond the whole numbers of JSON`);
  const workerId = known?.workerId ?? null;
  const refused = refuseRoom(core, known, workerId);
  if (refused !== null) return refused;
  const expiresAt = known?.expiresAt ?? (ttlMs === undefined ? 0 : core.now + ttlMs);
  return { ok: keyText(keep(core, known, { key, value: String(counts), expiresAt, workerId })) };
}

const integer = /^-?[0-9]{1,16}$/;

export function get(core: Coordinator, input: Input<"kv.get">): Result {
  const record = find(core, input.key);
  return record === undefined ? unknownKey(input.key) : { ok: keyText(record) };
}

export function getMany(core: Coordinator, input: Input<"kv.getMany">): Result {
  const texts: string[] = [];
  let units = 0;
  for (const key of input.keys) {
    const record = find(core, key);
    units += record?.value.length ?? 0;
    if (units > valueUnitsMax)
      return refuse(
        "payload-too-large",
        `the values of the first ${texts.length + 1} keys are more than ${valueUnitsMax} bytes; ask for fewer at once`,
      );
    texts.push(record === undefined ? "null" : keyText(record));
  }
  return { ok: `{"keys":[${texts.join(",")}]}` };
}

export function list(core: Coordinator, input: Input<"kv.list">): Result {
  const { prefix = "", cursor, limit = 100, keysOnly = false } = input;
  const texts: string[] = [];
  let units = 0;
  let last = "";
  for (const key of core.sortedKeys.from(cursor !== undefined && cursor > prefix ? cursor : prefix)) {
    if (!key.startsWith(prefix)) break;
    if (key === cursor) continue;
    const record = find(core, key);
    if (record === undefined) continue;
    units += keysOnly ? 0 : record.value.length;
    if (texts.length === limit || (units > valueUnitsMax && texts.length > 0))
      return { ok: `{"keys":[${texts.join(",")}],"cursor":"${last}"}` };
    texts.push(keysOnly ? `{${standingText(record)}}` : keyText(record));
    last = key;
  }
  return { ok: `{"keys":[${texts.join(",")}],"cursor":null}` };
}

/** Whether what a transaction asks of a key is so. */
export function holds(core: Coordinator, condition: KeyCondition): boolean {
  const { revision, exists, value, atLeast, atMost } = condition;
  const known = find(core, condition.key);
  if (revision !== undefined && revision !== (known?.revision ?? 0)) return false;
  if (exists !== undefined && exists !== (known !== undefined)) return false;
  if (value === undefined && atLeast === undefined && atMost === undefined) return true;
  if (known === undefined) return false;
  if (value !== undefined && !isValue(known.value, value)) return false;
  if (atLeast === undefined && atMost === undefined) return true;
  const is = numberIn(known.value);
  return is >= (atLeast ?? is) && is <= (atMost ?? is);
}

/** A large value is not read for each of a thousand short conditions: only what is as long as it can be the same. */
function isValue(text: string, value: unknown): boolean {
  const asked = textOf(value, "value");
  if ("error" in asked || asked.text.length !== text.length) return false;
  return asked.text === text || sameJson(JSON.parse(text), value);
}

/** No other JSON begins as a number does; NaN: it is none. */
const numberIn = (text: string): number => (/^[-0-9]/.test(text) ? Number(text) : Number.NaN);

// --- as everyone sees it --------------------------------------------------------------------------------------

/** No character of a key or of a worker's id needs escaping. */
function standingText({ key, revision, createdRevision, version, expiresAt, workerId }: KeyRecord): string {
  return (
    `"key":"${key}","revision":${revision},"createdRevision":${createdRevision},"version":${version},` +
    `"expiresAt":${expiresAt || null},"workerId":${workerId === null ? "null" : `"${workerId}"`}`
  );
}

export const keyText = (record: KeyRecord): string => `{${standingText(record)},"value":${record.value}}`;
