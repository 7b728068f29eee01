/**
 * Locks: who holds which names, and who waits for them in line. A lock is one record from its request to its end:
 *
 *     (asked for) ──► waiting ──► held ──► (gone)        released, expired, stolen, or gone with its worker
 *          └───────────────────────┘
 *
 * Whether it is held follows from the others (contention.ts), and is written in the very entry that made it so: a
 * release is a grant. Its token is the revision of its request. Of two locks in each other's way the earlier request is
 * always the earlier holder, so the token of a later holder is always higher.
 *
 * A lock that is no worker's ends when nobody extends it; that is volatile, like the beats of a worker, and on the lease
 * clock. While it waits it ends as well when it has waited for as long as it would.
 */
import { type Placed, PlacedHeap } from "../lib/heap.ts";
import { limits } from "../wire/limits.ts";
import type { LockLostReason } from "../wire/locks.ts";
import type { Input } from "../wire/operations.ts";
import type { LockCondition } from "../wire/transactions.ts";
import { Bid, Contention, type Part, partsOf, type Wish } from "./contention.ts";
import type { Coordinator } from "./coordinator.ts";
import { ageOf, byAge, idNaming, rowOf } from "./ids.ts";
import { Owners, refuseOwner } from "./owners.ts";
import { invalid, type Refusal, type Result, refuse, textOf } from "./result.ts";
import type { Index, RowName, Store, Table } from "./store.ts";

export type LockRecord = {
  /** The revision of its request and its number there. */
  readonly id: string;
  /** `stolen` for a moment only: the same entry deletes it. */
  readonly state: "waiting" | "held" | "stolen";
  readonly resources: readonly Wish[];
  /** null: it is whoever's extends it. */
  readonly workerId: string | null;
  readonly who: string;
  /** Who is told when it is lost; null: nobody. */
  readonly session: string | null;
  /** How long it lasts without being extended; 0: for as long as its worker. */
  readonly ttlMs: number;
  /** On the lease clock: until when it waits. */
  readonly waitUntil: number;
  /** JSON text; null: none was given. */
  readonly value: string | null;
  readonly createdAt: number;
  /** 0 while it waits. */
  readonly heldAt: number;
  /** Why it was stolen. */
  readonly reason: string | null;
  readonly revision: number;
};

export const locksOf = (store: Store): Table<LockRecord> => store.table("locks", idNaming);

/** What a lock costs beside its texts, each of its names beside its own, and each folder above a name (measured). */
const lockBytes = 900;
const nameBytes = 500;
const folderBytes = 280;

export function sizeOfLock(record: LockRecord | undefined): number {
  if (record === undefined) return 0;
  let bytes = lockBytes + (record.value?.length ?? 0);
  const { resources } = record;
  for (let i = 0; i < resources.length; i++) {
    const { name } = resources[i] as Wish;
    bytes += nameBytes + name.length;
    for (let end = name.indexOf("/"); end >= 0; end = name.indexOf("/", end + 1)) bytes += folderBytes;
  }
  return bytes;
}

// --- what is derived ----------------------------------------------------------------------------------------

/** A lock, as it stands in line; and when it is to be looked at. */
export class Standing extends Bid implements Placed {
  place = -1;
  at = Number.POSITIVE_INFINITY;
  record: LockRecord;
  /** On the lease clock: when it was last extended. */
  beatAt: number;

  constructor(record: LockRecord, beatAt: number) {
    const { revision, number } = ageOf(record.id);
    super(revision, number);
    this.record = record;
    this.beatAt = beatAt;
  }

  get isDue(): boolean {
    return this.isOpen && this.record.state === "waiting";
  }
}

/** For recovery: as they were asked for. */
export const recordOrder = (a: LockRecord, b: LockRecord): number => byAge(ageOf(a.id), ageOf(b.id));

/** Locks granted in one entry; the rest of many comes with the next tick. */
const grantsPerEntry = 1000;

export class Locks implements Index<LockRecord> {
  readonly #byRow = new Map<RowName, Standing>();
  /** Of entries that made several locks: those beside the first, by their token. */
  readonly #further = new Map<number, Set<Standing>>();
  readonly #contention = new Contention((bid) => this.#changed(bid as Standing));
  /** Waiting, with nothing in their way. */
  readonly #due = new Set<Standing>();
  readonly #ends = new PlacedHeap<Standing>((a, b) => a.at < b.at || (a.at === b.at && byAge(a, b) < 0));
  readonly owners = new Owners<Standing>();
  heldCount = 0;
  waitingCount = 0;
  /** Of the request that was looked at last, which is most often made next. */
  #wishes: readonly Wish[] = [];
  #parts: readonly Part[] = [];

  constructor(private readonly core: Coordinator) {}

  change(before: LockRecord | undefined, after: LockRecord | undefined): void {
    this.core.limits.grow(sizeOfLock(after) - sizeOfLock(before));
    if (before?.state === "held") this.heldCount -= 1;
    if (after?.state === "held") this.heldCount += 1;
    if (before?.state === "waiting") this.waitingCount -= 1;
    if (after?.state === "waiting") this.waitingCount += 1;
    if (before === undefined) this.#add(after as LockRecord);
    else if (after === undefined) this.#delete(before);
    else {
      const standing = this.find(after.id) as Standing;
      standing.record = after;
      // Whoever waited for it has as long as it lasts to hear of it.
      if (before.state !== after.state) {
        this.#keepBeat(standing);
        standing.beatAt = this.core.clock;
      }
      this.#changed(standing);
      this.#watch(standing);
    }
  }

  #add(record: LockRecord): void {
    const standing = new Standing(record, this.core.clock);
    this.#byRow.set(rowOf(standing), standing);
    if (standing.number > 0) {
      const further = this.#further.get(standing.revision);
      if (further === undefined) this.#further.set(standing.revision, new Set([standing]));
      else further.add(standing);
    }
    this.#contention.add(standing, this.#partsOf(record.resources));
    this.#changed(standing);
    this.#watch(standing);
    this.owners.pass(standing, null, record.workerId);
  }

  #partsOf(wishes: readonly Wish[]): readonly Part[] {
    if (wishes !== this.#wishes) {
      this.#wishes = wishes;
      this.#parts = partsOf(wishes);
    }
    return this.#parts;
  }

  #delete({ id, workerId }: LockRecord): void {
    const standing = this.find(id) as Standing;
    this.#keepBeat(standing);
    this.#byRow.delete(rowOf(standing));
    const further = this.#further.get(standing.revision);
    if (further?.delete(standing) && further.size === 0) this.#further.delete(standing.revision);
    this.#contention.delete(standing);
    this.#due.delete(standing);
    this.#ends.delete(standing);
    this.owners.pass(standing, workerId, null);
  }

  /** A change that is taken back must not let it last longer than it did. */
  #keepBeat({ record: { id }, beatAt }: Standing): void {
    this.core.store.onUndo(() => {
      const again = this.find(id);
      if (again === undefined) return;
      again.beatAt = beatAt;
      this.#watch(again);
    });
  }

  #changed(standing: Standing): void {
    if (standing.isDue) this.#due.add(standing);
    else if (this.#due.size > 0) this.#due.delete(standing);
  }

  // --- its end ----------------------------------------------------------------------------------------------

  /** On the lease clock: when it ends unless it is extended. */
  endOf({ record, beatAt }: Standing): number {
    const { ttlMs, state, waitUntil } = record;
    const end = ttlMs === 0 ? Number.POSITIVE_INFINITY : Math.max(beatAt + ttlMs, this.core.graceUntil);
    return state === "waiting" ? Math.min(end, waitUntil) : end;
  }

  #watch(standing: Standing): void {
    standing.at = this.endOf(standing);
    if (standing.at === Number.POSITIVE_INFINITY) this.#ends.delete(standing);
    else this.#ends.update(standing);
  }

  /** When the first may end; Infinity: none does by itself. */
  get nextAt(): number {
    return this.#ends.top?.at ?? Number.POSITIVE_INFINITY;
  }

  /** Inside a transaction: ends the first, unless it was extended since it was last looked at. */
  endFirst(): void {
    const standing = this.#ends.top as Standing;
    if (this.endOf(standing) > this.core.clock) this.#watch(standing);
    else this.core.locks.delete(standing.record.id);
  }

  /** It is still wanted. Where it stands among those that end is put right when its time comes. */
  beat(id: string): Standing | undefined {
    const standing = this.find(id);
    if (standing !== undefined) standing.beatAt = this.core.clock;
    return standing;
  }

  // --- grants -----------------------------------------------------------------------------------------------

  get isDue(): boolean {
    return this.#due.size > 0;
  }

  /** Inside a transaction: whoever has nothing in its way any more holds its lock. */
  settle(): void {
    const due = [...this.#due].sort(byAge).slice(0, grantsPerEntry);
    for (const { record } of due)
      this.core.locks.put(record.id, {
        ...record,
        state: "held",
        heldAt: this.core.now,
        revision: this.core.store.nextRevision,
      });
  }

  // --- for those who ask ------------------------------------------------------------------------------------

  /** By its id, or by its row. */
  find(id: RowName): Standing | undefined {
    return this.#byRow.get(typeof id === "string" ? idNaming.row(id) : id);
  }

  /** At how many names it would stand in line. */
  placesOf(resources: readonly Wish[]): number {
    return this.#partsOf(resources).length;
  }

  inTheWay(resources: readonly Wish[]): { standing: Standing; name: string } | null {
    const found = this.#contention.inTheWay(this.#partsOf(resources));
    return found === null ? null : { standing: found.bid as Standing, name: found.name };
  }

  behind(standing: Standing): Standing | null {
    return this.#contention.before(standing) as Standing | null;
  }

  /** Who holds the name under this token; of several locks that one entry made, any may be gone. */
  holder(name: string, token: number): Standing | undefined {
    const holds = ({ record: { state, resources } }: Standing) =>
      state === "held" && resources.some((one) => one.name === name);
    const first = this.find(rowOf({ revision: token, number: 0 }));
    if (first !== undefined && holds(first)) return first;
    for (const standing of this.#further.get(token) ?? []) if (holds(standing)) return standing;
    return undefined;
  }

  /** Whether a lock that the open entry made is of this name. */
  isOf(revision: number, name: string): boolean {
    return this.#contention.newestAt(name) === revision;
  }

  /** The number of the next lock that the open entry makes. */
  nextNumber(revision: number): number {
    let number = 0;
    while (this.#byRow.has(rowOf({ revision, number }))) number++;
    return number;
  }

  /** In order, from `from` on. */
  namesFrom(from: string): Iterable<string> {
    return this.#contention.names.from(from);
  }

  at(name: string): Iterable<Standing> {
    return this.#contention.at(name) as Iterable<Standing>;
  }

  /** As `at`, without those that wait for others there; who waits at another of its names is among them. */
  openAt(name: string): Iterable<Standing> {
    return this.#contention.at(name, true) as Iterable<Standing>;
  }

  /** For checks. */
  get counts() {
    return {
      locks: this.#byRow.size,
      due: this.#due.size,
      ends: this.#ends.size,
      owners: this.owners.size,
      further: this.#further.size,
      names: this.#contention.names.size,
      spots: this.#contention.size,
    };
  }
}

/** Inside a transaction: the worker is gone, and its locks are with it. */
export function release(core: Coordinator, workerId: string): void {
  for (const { record } of core.bids.owners.of(workerId).sort(byAge)) core.locks.delete(record.id);
}

// --- operations ---------------------------------------------------------------------------------------------

const unknownLock = (id: string) => refuse("unknown-lock", `there is no lock ${id}`);

function wishesOf(input: Input<"lock.acquire">): readonly Wish[] | Refusal {
  const { resources } = input;
  // Most ask for one name, which is none twice.
  const names = resources.length > 1 ? new Set<string>() : null;
  const wishes: Wish[] = [];
  for (let i = 0; i < resources.length; i++) {
    const { name, mode = "exclusive", limit } = resources[i] as (typeof resources)[number];
    if (names?.has(name)) return invalid(`/resources/${i}/name`, `${name} is named twice`);
    if (limit !== undefined && mode !== "shared")
      return invalid(`/resources/${i}/limit`, "goes with the mode shared alone");
    names?.add(name);
    wishes.push({ name, mode, limit: limit ?? 0 });
  }
  return wishes;
}

/** Whether a lock more, or of this worker, is too many. */
function refuseRoom(core: Coordinator, workerId: string | null): Refusal | null {
  if (core.locks.size >= limits.locksMax)
    return refuse("busy", `${limits.locksMax} locks are held or waited for`, { retryAfterMs: 1000 });
  if (workerId !== null) {
    const absent = refuseOwner(core, workerId, "hold");
    if (absent !== null) return absent;
    if (core.bids.owners.countOf(workerId) >= limits.locksPerWorkerMax)
      return refuse("busy", `worker ${workerId} has ${limits.locksPerWorkerMax} locks`, {
        retryAfterMs: 1000,
      });
  }
  return core.limits.refuseMemory();
}

export function acquire(core: Coordinator, input: Input<"lock.acquire">): Result {
  const { waitMs = 0, workerId = null } = input;
  const { ttlMs = workerId === null ? limits.lockTtlMsDefault : 0 } = input;
  const resources = wishesOf(input);
  if ("error" in resources) return resources;
  const places = core.bids.placesOf(resources);
  if (places > limits.placesPerLockMax)
    return invalid(
      "/resources",
      `are ${places} names and folders above them, at most ${limits.placesPerLockMax} go into a lock; lock a folder for what lies in it`,
    );
  const value = input.value === undefined ? null : textOf(input.value, "value");
  if (value !== null && "error" in value) return value;
  if (value !== null && value.text.length > limits.lockValueUnitsMax)
    return refuse(
      "payload-too-large",
      `value is ${value.text.length} bytes of JSON; at most ${limits.lockValueUnitsMax} are kept with a lock`,
    );
  const refused = refuseRoom(core, workerId);
  if (refused !== null) return refused;
  const inTheWay = core.bids.inTheWay(resources);
  if (inTheWay !== null && waitMs === 0) return held(core, inTheWay);

  const { now, clock } = core;
  const revision = core.store.nextRevision;
  const number = core.bids.nextNumber(revision);
  // The two would have one token, and a fence could not tell them apart.
  const again = number === 0 ? -1 : resources.findIndex(({ name }) => core.bids.isOf(revision, name));
  if (again >= 0)
    return invalid(`/resources/${again}/name`, "is a name of another lock of the same transaction");
  const row = rowOf({ revision, number });
  core.locks.put(row, {
    id: `${revision}-${number}`,
    state: inTheWay === null ? "held" : "waiting",
    resources,
    workerId,
    who: core.who,
    session: core.session,
    ttlMs,
    waitUntil: inTheWay === null ? 0 : clock + waitMs,
    value: value?.text ?? null,
    createdAt: now,
    heldAt: inTheWay === null ? now : 0,
    reason: null,
    revision,
  });
  return { ok: lockText(core, core.bids.find(row) as Standing) };
}

function held(core: Coordinator, { standing, name }: { standing: Standing; name: string }): Refusal {
  const { id, state, workerId, who, heldAt, createdAt } = standing.record;
  const since = Math.max(0, Math.round((core.now - (heldAt || createdAt)) / 1000));
  return refuse(
    "lock-held",
    `${name} is ${state === "held" ? "held" : "waited for"} by ${workerId ?? who}, since ${since} s (lock ${id})`,
  );
}

export function remove(core: Coordinator, { lockId }: Input<"lock.release">): Result {
  const row = idNaming.row(lockId);
  const record = core.locks.get(row);
  if (record === undefined) return unknownLock(lockId);
  core.locks.delete(row);
  return { ok: `{"lockId":"${lockId}","state":"${record.state}"}` };
}

/** The entry keeps who did it and why: in the record as it was at last. */
export function steal(core: Coordinator, { lockId, reason }: Input<"lock.steal">): Result {
  const record = core.locks.get(lockId);
  if (record === undefined) return unknownLock(lockId);
  core.locks.put(lockId, {
    ...record,
    state: "stolen",
    reason: reason ?? null,
    revision: core.store.nextRevision,
  });
  core.locks.delete(lockId);
  return { ok: `{"lockId":"${lockId}","state":"${record.state}"}` };
}

/** Volatile: no entry. */
export function extend(core: Coordinator, { lockIds }: Input<"lock.extend">): Result {
  let locks = "";
  const lost: string[] = [];
  for (const lockId of lockIds) {
    const standing = core.bids.beat(lockId);
    if (standing === undefined) lost.push(lockId);
    else
      locks += `${locks === "" ? "" : ","}{"lockId":"${lockId}","state":"${standing.record.state}","expiresAt":${wallEnd(core, standing)}}`;
  }
  return { ok: `{"locks":[${locks}],"lost":${JSON.stringify(lost)}}` };
}

export function get(core: Coordinator, { lockId }: Input<"lock.get">): Result {
  const standing = core.bids.find(lockId);
  return standing === undefined ? unknownLock(lockId) : { ok: lockText(core, standing) };
}

export function list(core: Coordinator, input: Input<"lock.list">): Result {
  const { name, prefix = "", state, cursor, limit = 100 } = input;
  if (name !== undefined && input.prefix !== undefined) return invalid("/prefix", "goes not with name");
  const [fromName = "", fromId = ""] = cursor?.split(" ") ?? [];
  const texts: string[] = [];
  let last = "";
  let looks = 0;
  const from = cursor !== undefined && fromName > prefix ? fromName : prefix;
  for (const one of name !== undefined ? [name] : core.bids.namesFrom(from)) {
    if (name === undefined && !one.startsWith(prefix)) break;
    const after = one === fromName ? ageOf(fromId) : null;
    for (const standing of state === "held" ? core.bids.openAt(one) : core.bids.at(one)) {
      if (after !== null && byAge(standing, after) <= 0) continue;
      if (texts.length === limit || looks++ === looksMax)
        return { ok: `{"locks":[${texts.join(",")}],"cursor":"${last}"}` };
      last = `${one} ${standing.record.id}`;
      if (state !== undefined && standing.record.state !== state) continue;
      const wish = standing.record.resources.find((resource) => resource.name === one) as Wish;
      texts.push(`{"name":"${one}","mode":"${wish.mode}","lock":${lockText(core, standing)}}`);
    }
  }
  return { ok: `{"locks":[${texts.join(",")}],"cursor":null}` };
}

/** A page that has looked at so many is short. */
const looksMax = 10 * limits.pageMax;

/** Whether what a transaction asks of a lock is so. */
export function holds(core: Coordinator, { lock, exists, token, workerId }: LockCondition): boolean {
  // That nobody holds it, and somebody of this kind does.
  if (exists === false && (token ?? workerId) !== undefined) return false;
  if (token !== undefined) {
    const holder = core.bids.holder(lock, token);
    return holder !== undefined && (workerId ?? holder.record.workerId) === holder.record.workerId;
  }
  let isHeld = false;
  for (const { record } of core.bids.openAt(lock))
    if (record.state === "held" && (workerId === undefined || workerId === record.workerId)) {
      isHeld = true;
      break;
    }
  return isHeld === (exists ?? true);
}

/** Why a lock is gone, by the operation that made it so. */
export function lostReason(operation: string): LockLostReason {
  if (operation === "lock.steal") return "stolen";
  if (operation === "lock.expire") return "expired";
  return operation === "lock.release" ? "released" : "worker-gone";
}

// --- as everyone sees it --------------------------------------------------------------------------------------

/** As it is kept, for the tables of the state. */
export const lockRecordText = (record: LockRecord): string =>
  `{${standingText(record)},"revision":${record.revision}}`;

const wallEnd = (core: Coordinator, standing: Standing): number | null => {
  const { record, beatAt } = standing;
  if (record.ttlMs === 0) return null;
  return Math.round(core.now + Math.max(beatAt + record.ttlMs, core.graceUntil) - core.clock);
};

/** What no clock changes. No character of a name, an id or a session needs escaping. */
function standingText(record: LockRecord): string {
  const { id, state, resources } = record;
  let names = "";
  for (let i = 0; i < resources.length; i++) {
    const { name, mode, limit } = resources[i] as Wish;
    names += `${i === 0 ? "" : ","}{"name":"${name}","mode":"${mode}","limit":${limit || null}}`;
  }
  return `"lockId":"${id}","state":"${state}","token":${id.slice(0, id.indexOf("-"))},"resources":[${names}],${restOf(record).text}`;
}

/**
 * Locks that a session asks for in one turn differ in their names alone: the rest is written once for all of them, as
 * everyone sees it and as the log has it.
 */
const last = { lock: null as LockRecord | null, text: "", line: "" };
export function restOf(lock: LockRecord): { readonly text: string; readonly line: string } {
  const { workerId, who, session, ttlMs, waitUntil, value, createdAt, heldAt, reason } = lock;
  const known = last.lock;
  if (
    known === null ||
    createdAt !== known.createdAt ||
    heldAt !== known.heldAt ||
    waitUntil !== known.waitUntil ||
    ttlMs !== known.ttlMs ||
    session !== known.session ||
    who !== known.who ||
    workerId !== known.workerId ||
    value !== known.value ||
    reason !== known.reason
  ) {
    const line = { workerId, who, session, ttlMs, waitUntil, value, createdAt, heldAt, reason };
    last.lock = lock;
    last.line = JSON.stringify(line).slice(1, -1);
    last.text =
      `"who":"${who}","workerId":${workerId === null ? "null" : `"${workerId}"`},"value":${value},` +
      `"createdAt":${createdAt},"heldAt":${heldAt || null},"ttlMs":${ttlMs || null}`;
  }
  return last;
}

export function lockText(core: Coordinator, standing: Standing): string {
  const { record } = standing;
  const behind = record.state === "waiting" ? core.bids.behind(standing) : null;
  return (
    `{${standingText(record)},"expiresAt":${wallEnd(core, standing)},` +
    `"waitEndsAt":${record.state === "waiting" ? Math.round(core.now + record.waitUntil - core.clock) : null},` +
    `"behind":${behind === null ? "null" : `"${behind.record.id}"`},"revision":${record.revision}}`
  );
}
