/**
 * Dispatch: which ready task goes to which worker. Ready tasks that ask the same (queue, kind, capabilities,
 * requirements, preferences, slots) wait in one lane; workers that answer it all alike form one crew. Only lanes and
 * crews are matched, so a backlog is never scanned, and tasks whose requirements nobody meets block nobody. What one
 * worker alone may run waits in own lanes of that worker (own.ts, sticky.ts).
 *
 * A task that takes several slots would never find them free on a worker that always has a smaller task to take. So
 * one that was passed over for a while gets the next worker that is large enough for itself: what becomes free there
 * is kept until it fits.
 *
 * Lanes, crews and what workers hold are derived from the tables. Whether a worker has a socket, how much it
 * will take and when it was last heard are not state: they are told from outside, die with the process, and
 * decide only which leases are made, never what a log entry means.
 */
import { DeadlineHeap } from "../lib/heap.ts";
import type { Strategy } from "../wire/queues.ts";
import { Crew, crewKey, type Size } from "./crews.ts";
import type { Flow, QueueFlow } from "./flow.ts";
import type { Gates } from "./gates.ts";
import { Health } from "./health.ts";
import { Lane, laneBefore, type Stream, Turns, type Urgent } from "./lanes.ts";
import { Asked, type Asks, type Atom, fits, type Needs, Offer } from "./offers.ts";
import { Own, type Shelf } from "./own.ts";
import { type Refusal, refuse } from "./result.ts";
import { orders, Paces, Slot, standingOf } from "./slots.ts";
import { Sticky, type Stuck } from "./sticky.ts";
import { leaseOf, type TaskRecord, type TaskSpec } from "./tasks.ts";
import type { WorkerRecord } from "./workers.ts";

/** Aborts remembered for workers that learn of them by heartbeat, and for how long. */
const abortsMax = 256;
export const abortAgeMs = 300_000;

/** How long a task that takes several slots is passed over before a worker's room is kept for it, in ms. */
export const reserveAfterMs = 10_000;
/** Things asked of workers, by then those that no lane asks any more are looked for. */
const askedMax = 20_000;

export class Dispatch {
  readonly #slots = new Map<string, Slot>();
  readonly #crews = new Map<string, Crew>();
  readonly #lanes = new Set<Lane>();
  readonly #asked = new Asked();
  /** Of crews, what has a ready lane and a worker to push to; and what has a ready lane and a waiting claim. */
  readonly #pushing = new Set<Size>();
  readonly #claiming = new Set<Size>();
  readonly #owns = new Map<string, Own>();
  /** The first own lane of each worker, for each number of slots, that could be pushed to it now. */
  readonly #ownPushing: Turns<Lane>;
  /** Workers whose waiting claim could be served with what is theirs alone. */
  readonly #ownClaiming = new Set<Slot>();
  /** Workers that have all the room now that was kept for a task. */
  readonly #granted = new Set<Slot>();
  readonly sticky = new Sticky();
  readonly #paces = new Paces();
  /** When to look at which worker, on the lease clock. */
  readonly watches = new DeadlineHeap<Slot>();
  /** When to look at whose health, on the lease clock. */
  readonly looks = new DeadlineHeap<Slot>();
  /** Workers whose health changed since the engine last asked. */
  readonly changedHealth = new Set<Slot>();
  #order = 0;

  constructor(
    readonly gates: Gates,
    private readonly flow: Flow,
    private readonly urgent: Urgent,
    private readonly clock: () => number,
    private readonly revision: () => number,
    /** How long a push may go without being acknowledged (0: for ever), and handlers without turning. */
    private readonly allows: { pushAckMs: number; stalledMs: number },
    /** Should the open entry be taken back. */
    private readonly onUndo: (undo: () => void) => void,
  ) {
    this.#ownPushing = new Turns<Lane>(urgent);
  }

  // --- lanes ----------------------------------------------------------------------------------------------

  openLane(queue: QueueFlow, needs: Needs): Lane {
    const lane = new Lane(queue, needs, this.urgent);
    lane.asks = this.#ask(needs);
    for (const atom of atomsOf(lane)) atom.users += 1;
    for (const crew of this.#crews.values())
      if (crew.fits(needs, lane.asks)) lane.links.push(crew.link(lane));
    this.#lanes.add(lane);
    return lane;
  }

  closeLane(lane: Lane): void {
    this.#lanes.delete(lane);
    for (const atom of atomsOf(lane)) atom.users -= 1;
    for (const { crew, size } of lane.links) crew.unlink(size);
  }

  /** The lane of one worker's tasks; it is dropped when its last task leaves. */
  ownLane(workerId: string, queue: QueueFlow, needs: Needs): Lane {
    let own = this.#owns.get(workerId);
    if (own === undefined) {
      own = new Own(workerId, this.urgent);
      own.slot = this.#slots.get(workerId) ?? null;
      if (own.slot !== null) own.slot.own = own;
      this.#owns.set(workerId, own);
    }
    return own.lane(queue, needs);
  }

  enter(lane: Lane, spec: TaskSpec): void {
    const stream = lane.streamOf(spec) ?? this.#openStream(lane, spec);
    stream.add(spec);
    if (stream.head !== undefined && !this.urgent(spec, stream.head)) return;
    stream.head = spec;
    if (stream.wait !== null) this.gates.moved(stream);
    else {
      lane.awake.update(stream);
      if (lane.awake.top === stream) this.laneMoved(lane);
    }
  }

  leave(lane: Lane, spec: TaskSpec): void {
    const stuck = spec.extras.sticky === null ? undefined : this.sticky.of(spec);
    if (stuck !== undefined) this.sticky.left(stuck);
    this.#takeOut(stuck?.lane ?? lane, spec);
  }

  #takeOut(lane: Lane, spec: TaskSpec): void {
    const stream = lane.streamOf(spec) as Stream;
    stream.remove(spec);
    this.gates.settled(stream);
    if (stream.head !== spec) return;
    const first = lane.awake.top === stream;
    stream.head = stream.first(this.urgent);
    stream.turn = stream.group.turn;
    if (stream.head === undefined) {
      if (stream.wait === null) lane.awake.delete(stream);
      this.gates.gone(stream);
      lane.streams.delete(stream.key);
      this.flow.streamWent(stream);
    } else if (stream.wait !== null) this.gates.moved(stream);
    else lane.awake.update(stream);
    if (first) {
      lane.passedAt = null;
      this.laneMoved(lane);
      if (lane.reserved !== null) this.#endReservation(lane);
    }
    if (lane.owner !== null && lane.isEmpty) this.#dropOwn(lane.owner, lane);
  }

  #dropOwn(own: Own, lane: Lane): void {
    own.drop(lane);
    if (own.lanes.size > 0) return;
    this.#owns.delete(own.workerId);
    if (own.slot !== null) own.slot.own = null;
  }

  #openStream(lane: Lane, spec: TaskSpec): Stream {
    const group = this.flow.group(lane.queue, spec.extras.group ?? "");
    const stream = lane.openStream(spec, group, this.flow.gatesOf(lane.queue, group, spec.options.limits));
    this.flow.streamCame(stream);
    stream.turn = group.turn;
    return stream;
  }

  /** Another task comes first in the lane, or none does. */
  laneMoved(lane: Lane): void {
    if (lane.owner !== null) {
      lane.owner.moved(lane);
      this.#showOwn(lane.owner);
    }
    for (const { size } of lane.links) {
      const had = size.lanes.size;
      if (lane.head === undefined) size.lanes.delete(lane);
      else size.lanes.update(lane);
      if (had === 0 || size.lanes.size === 0) this.#sizeMoved(size);
    }
    if (lane.reserved !== null && lane.head === undefined) this.#endReservation(lane);
  }

  /** Whether the lane's first task may start now; if not, something else comes first since. */
  #isOpen(lane: Lane): boolean {
    const stream = lane.awake.top as Stream;
    if (stream.turn < stream.group.turn) {
      // Its group had a turn in another lane meanwhile.
      stream.turn = stream.group.turn;
      lane.awake.update(stream);
      this.gates.fellBack(stream);
      this.laneMoved(lane);
      return false;
    }
    const gate = this.gates.shutFor(stream);
    if (gate === null) return !this.#isSent(lane, stream.head as TaskSpec);
    this.gates.sleep(stream, gate);
    return false;
  }

  #sizeMoved(size: Size): void {
    const ready = size.lanes.size > 0;
    if (ready && size.pushable.size > 0) this.#pushing.add(size);
    else this.#pushing.delete(size);
    if (ready && size.claiming.size > 0) this.#claiming.add(size);
    else this.#claiming.delete(size);
  }

  // --- tasks of one worker --------------------------------------------------------------------------------

  /** Sends the task to the worker that had the last of its sticky name, if that is there and fits. */
  #isSent(lane: Lane, spec: TaskSpec): boolean {
    const { sticky } = spec.extras;
    if (sticky === null || lane.owner !== null || this.sticky.of(spec) !== undefined) return false;
    const workerId = this.sticky.workerOf(sticky);
    const slot = workerId === undefined ? undefined : this.#slots.get(workerId);
    if (slot === undefined || !this.#isThereFor(slot, lane.needs)) return false;
    this.#takeOut(lane, spec);
    const own = this.ownLane(slot.id, lane.queue, lane.needs);
    this.sticky.send(spec, lane, own, this.clock() + spec.options.stickyMs);
    this.enter(own, spec);
    return true;
  }

  #isThereFor(slot: Slot, needs: Needs): boolean {
    return slot.roomMax >= needs.slots && fits(needs, slot.record, slot.offer);
  }

  /** Tasks that have waited long enough for their worker go back to where any may take them. */
  tick(): void {
    const { ends } = this.sticky;
    while (this.sticky.nextAt <= this.clock()) this.#sendBack((ends.top as Stuck).spec);
  }

  #sendBack(spec: TaskSpec): void {
    const stuck = this.sticky.of(spec);
    if (stuck === undefined || stuck.lane === stuck.from) return;
    this.#takeOut(stuck.lane, spec);
    this.sticky.back(stuck);
    this.enter(stuck.from, spec);
  }

  /** The worker of these lanes is another than before, or gone. */
  #ownerMoved(own: Own): void {
    const { slot } = own;
    for (const lane of [...own.lanes.values()]) {
      if (slot === null || slot.record.state !== "online" || !own.fits(lane))
        for (const stream of [...lane.streams.values()])
          for (const spec of stream.specs()) if (spec.extras.sticky !== null) this.#sendBack(spec);
      if (!lane.isEmpty) own.moved(lane);
    }
    this.#showOwn(own);
  }

  /** Shows what the worker could get of its own lanes now. */
  #showOwn(own: Own): void {
    const { slot } = own;
    const room = slot?.attached && slot.reservedFor === null ? slot.room : 0;
    const fitting = (shelf: Shelf) => (room >= shelf.slots ? (shelf.lanes.top ?? null) : null);
    // First what is shown no longer: it may have no task, and then has no place among others.
    for (const shelf of own.shelves) {
      if (shelf.shown === null || shelf.shown === fitting(shelf)) continue;
      this.#ownPushing.delete(shelf.shown);
      shelf.shown = null;
    }
    for (const shelf of own.shelves) {
      shelf.shown = fitting(shelf);
      if (shelf.shown !== null) this.#ownPushing.update(shelf.shown);
    }
    if (slot !== null) this.#showClaim(slot);
  }

  #showClaim(slot: Slot): void {
    const { reservedFor, own } = slot;
    const served =
      slot.claims &&
      (reservedFor === null
        ? own?.hasFor(slot.claimRoom) === true
        : slot.claimRoom >= reservedFor.needs.slots);
    if (served) this.#ownClaiming.add(slot);
    else this.#ownClaiming.delete(slot);
  }

  // --- room that is kept ----------------------------------------------------------------------------------

  /**
   * Whether the worker is not given a task of `lane`, because its room is kept from now on for one that comes first,
   * takes more than it has, and has been passed over for long.
   */
  #keeps(slot: Slot, lane: Lane, room: number): boolean {
    const { sizes } = slot.crew;
    for (let i = sizes.length - 1; i > 0; i--) {
      const size = sizes[i] as Size;
      if (size.slots <= lane.needs.slots) break;
      const { top } = size.lanes;
      // While another worker has the room, it is served there.
      if (top === undefined || size.pushable.size > 0) continue;
      if (this.#isPassedOver(top, slot, lane, room)) return true;
    }
    for (const { lanes } of slot.own?.shelves ?? [])
      if (lanes.top !== undefined && this.#isPassedOver(lanes.top, slot, lane, room)) return true;
    return false;
  }

  #isPassedOver(large: Lane, slot: Slot, lane: Lane, room: number): boolean {
    const { slots } = large.needs;
    if (slots <= room || slots > slot.roomMax || large.reserved !== null) return false;
    if (!laneBefore(large, lane, this.urgent)) return false;
    large.passedAt ??= this.clock();
    if (this.clock() - large.passedAt < reserveAfterMs) return false;
    if (!this.#isOpen(large)) return true;
    large.reserved = slot;
    slot.reservedFor = large;
    this.#place(slot);
    return true;
  }

  #endReservation(lane: Lane): void {
    const slot = lane.reserved as Slot;
    lane.reserved = null;
    slot.reservedFor = null;
    this.#place(slot);
  }

  // --- workers --------------------------------------------------------------------------------------------

  slot(workerId: string): Slot | undefined {
    return this.#slots.get(workerId);
  }

  slots(): Iterable<Slot> {
    return this.#slots.values();
  }

  /** Index of the workers table. */
  changeWorker(before: WorkerRecord | undefined, after: WorkerRecord | undefined): void {
    const id = (after ?? (before as WorkerRecord)).id;
    let slot = this.#slots.get(id);
    const own = this.#owns.get(id);
    if (after === undefined) {
      if (slot === undefined) return;
      this.#keep(slot);
      if (slot.reservedFor !== null) this.#endReservation(slot.reservedFor);
      this.#leaveCrew(slot);
      this.#ownClaiming.delete(slot);
      this.#slots.delete(id);
      slot.own = null;
      if (own === undefined) return;
      own.slot = null;
      this.#ownerMoved(own);
      return;
    }
    if (slot === undefined) {
      slot = new Slot(id, after, this.clock());
      this.#slots.set(id, slot);
      if (own !== undefined) {
        own.slot = slot;
        slot.own = own;
      }
      this.#joinCrew(slot, this.#asked.metBy(slot.offer));
    } else {
      const old = slot.record;
      // Another process: what was wrong with the last one says nothing of it.
      if (old.instanceId !== after.instanceId) {
        this.#keep(slot);
        const { told } = slot.health;
        slot.health = new Health();
        slot.health.told = told;
        slot.pace = 1;
        this.changedHealth.add(slot);
      }
      slot.record = after;
      if (!offersSame(old, after)) {
        slot.offer = new Offer(after);
        const met = this.#asked.metBy(slot.offer);
        // A claim that waits goes on waiting, now for what the worker fits since.
        if (slot.crew.key !== crewKey(after, met)) this.#moveTo(slot, met);
      }
    }
    this.#place(slot);
    if (own !== undefined) this.#ownerMoved(own);
    // A look costs little; leases may be older than the record seen here (recovery, an undo).
    if (after.state !== "offline") this.watch(slot, this.clock());
  }

  #moveTo(slot: Slot, met: readonly Atom[]): void {
    this.#leaveCrew(slot);
    this.#joinCrew(slot, met);
  }

  #joinCrew(slot: Slot, met: readonly Atom[]): void {
    const key = crewKey(slot.record, met);
    let crew = this.#crews.get(key);
    if (crew === undefined) {
      crew = new Crew(key, slot.record.kind, slot.record.queues, new Set(met), this.urgent);
      this.#crews.set(key, crew);
      for (const lane of this.#lanes) {
        if (!crew.fits(lane.needs, lane.asks)) continue;
        const link = crew.link(lane);
        lane.links.push(link);
        if (lane.head !== undefined) link.size.lanes.update(lane);
      }
    }
    crew.slots.add(slot);
    slot.crew = crew;
  }

  #leaveCrew(slot: Slot): void {
    const { crew } = slot;
    crew.remove(slot);
    this.#stand(slot, "none");
    for (const size of crew.sizes) {
      if (crew.slots.size > 0) this.#sizeMoved(size);
      else {
        this.#pushing.delete(size);
        this.#claiming.delete(size);
      }
    }
    if (crew.slots.size > 0) return;
    this.#crews.delete(crew.key);
    for (const lane of this.#lanes)
      if (crew.fits(lane.needs, lane.asks)) lane.links = lane.links.filter((link) => link.crew !== crew);
  }

  /** What is asked, as atoms; what nobody asked before splits the crews by who meets it. */
  #ask(needs: Needs): Asks {
    if (this.#asked.size >= askedMax) this.dropUnasked();
    const { required, preferred, fresh } = this.#asked.of(needs);
    if (fresh.length > 0)
      for (const slot of this.#slots.values()) {
        const met = fresh.filter((atom) => atom.isMetBy(slot.offer));
        // Ids grow, so those met before stand first.
        if (met.length > 0) this.#regroup(slot, [...slot.crew.met, ...met]);
      }
    return { required, preferred };
  }

  /** Forgets what no lane asks any more: crews that differed in it alone become one. */
  dropUnasked(): void {
    if (!this.#asked.dropUnused()) return;
    for (const slot of this.#slots.values()) {
      const met = this.#asked.metBy(slot.offer);
      if (slot.crew.key !== crewKey(slot.record, met)) this.#regroup(slot, met);
    }
  }

  #regroup(slot: Slot, met: readonly Atom[]): void {
    this.#moveTo(slot, met);
    this.#place(slot);
  }

  /** No queue uses the strategy any more. */
  forget(strategy: Strategy): void {
    for (const { sizes } of this.#crews.values()) for (const size of sizes) size.forget(strategy);
  }

  /** Index of the tasks table, for what workers hold. */
  changeTask(before: TaskRecord | undefined, after: TaskRecord | undefined): void {
    const had = before !== undefined && before.state === "running" ? leaseOf(before).workerId : null;
    const has = after !== undefined && after.state === "running" ? leaseOf(after).workerId : null;
    if (after !== undefined && after.spec.extras.sticky !== null) this.sticky.leased(after);
    if (had !== null && had !== has) {
      const slot = this.#slots.get(had);
      if (slot !== undefined) {
        const { spec } = before as TaskRecord;
        slot.running.delete(spec);
        slot.used -= spec.options.slots;
        if (after?.state === "completed") slot.completedCount += 1;
        this.#place(slot);
      }
    }
    if (has === null) return;
    const slot = this.#slots.get(has);
    if (slot === undefined) return;
    const record = after as TaskRecord;
    if (had !== has) {
      // It runs again because its end was taken back.
      if (before?.state === "completed") slot.completedCount -= 1;
      slot.running.add(record.spec);
      slot.used += record.spec.options.slots;
      slot.leaseOrder = ++this.#order;
      this.#place(slot);
    }
    const { timeoutMs } = record.spec.options;
    const { deadline, startedClock } = leaseOf(record);
    this.watch(slot, deadline);
    if (timeoutMs > 0) this.watch(slot, startedClock + timeoutMs);
  }

  /** Looks at the worker no later than `at` (lease clock). */
  watch(slot: Slot, at: number): void {
    if (at >= slot.watchedAt) return;
    slot.watchedAt = at;
    this.watches.push(at, slot);
  }

  /** A socket is there and takes `credit` tasks at once. */
  attach(workerId: string, credit: number): void {
    const slot = this.#slots.get(workerId);
    if (slot === undefined) return;
    if (!slot.attached) slot.health.connected(this.revision());
    slot.attached = true;
    slot.credit = credit;
    this.#healthMoved(slot);
  }

  detach(workerId: string): void {
    const slot = this.#slots.get(workerId);
    if (slot === undefined) return;
    slot.attached = false;
    slot.credit = 0;
    slot.unsentBytes = 0;
    slot.congested = false;
    slot.health.disconnected();
    this.#healthMoved(slot);
  }

  /** A lease is made that will be pushed. */
  pushing(slot: Slot, bytes: number): void {
    if (slot.attached) slot.unsentBytes += bytes;
  }

  /** A lease is made that its worker claimed. */
  claiming(slot: Slot, spec: TaskSpec, token: number): void {
    if (!slot.attached) return;
    slot.claimed ??= new Map();
    // What is over is let go of now and then: an end may be taken back.
    if (slot.claimed.size > 2 * slot.running.size + 16)
      for (const old of slot.claimed.keys()) if (!slot.running.has(old)) slot.claimed.delete(old);
    slot.claimed.set(spec, token);
  }

  /**
   * Pushes of so many bytes have left for the worker's socket, or never will; `congested`: it does not keep up.
   * `token`: of the newest lease among those that left; 0: none did.
   */
  pushed(workerId: string, bytes: number, congested: boolean, token: number): void {
    const slot = this.#slots.get(workerId);
    if (slot === undefined) return;
    // What was leased for an earlier socket is not counted for this one.
    slot.unsentBytes = Math.max(0, slot.unsentBytes - bytes);
    slot.congested = congested && slot.attached;
    if (token > 0 && slot.attached) {
      slot.health.left(token, this.clock());
      this.#look(slot);
    }
    this.#place(slot);
  }

  /** The worker's socket took something of what waited in it. */
  drained(workerId: string, congested: boolean): void {
    const slot = this.#slots.get(workerId);
    if (slot === undefined) return;
    slot.health.moved(this.clock());
    slot.congested = congested;
    this.#place(slot);
  }

  /** The worker was heard: its leases go on. */
  beat(slot: Slot, clock: number, now: number): void {
    slot.lastBeat = clock;
    slot.lastSeenAt = now;
    if (slot.lastTurn === clock) return;
    slot.turnBefore = slot.lastTurn;
    slot.lastTurn = clock;
  }

  /** Its newest beat vouches for its leases no later than this: its handlers turned so long ago. */
  turned(slot: Slot, ageMs: number): void {
    slot.lastTurn = Math.max(slot.turnBefore, this.clock() - ageMs);
    if (slot.health.turned(ageMs, this.allows.stalledMs)) this.#healthMoved(slot);
  }

  /** Every push of this worker up to the token has arrived. */
  acknowledge(slot: Slot, token: number): void {
    const changed = slot.health.acknowledged(token, this.clock(), this.allows.pushAckMs);
    if (changed) this.#healthMoved(slot);
    if (slot.health.timed > 0) this.#look(slot);
  }

  /** An attempt of the worker succeeded, `ms` after it began. */
  succeeded(slot: Slot, type: string, ms: number): void {
    this.#paces.completed(slot, type, ms);
    if (slot.health.proven) return;
    this.#keep(slot);
    if (slot.health.succeeded(this.allows.pushAckMs)) this.#healthMoved(slot);
  }

  /**
   * An attempt of the worker failed. Only a task's first failure says something of the worker: one that failed
   * before is itself what is suspected, and may go from worker to worker.
   */
  failed(slot: Slot, isFirst: boolean): boolean {
    this.#keep(slot);
    slot.failedCount += 1;
    if (!isFirst) return false;
    slot.health.failed(this.allows.pushAckMs);
    const { crew } = slot;
    // At most half of those who offer the same are in quarantine: when all fail, it is not they who are sick.
    const spared = slot.standing === "able" && crew.ableCount - 1 >= crew.quarantined.size + 1;
    const quarantined = slot.health.unfit && spared;
    if (quarantined) slot.health.quarantine(this.clock());
    this.#healthMoved(slot);
    return quarantined;
  }

  /**
   * What time has made of the worker's health. Answers the leases that were pushed and not acknowledged in time,
   * which the caller gives back.
   */
  look(slot: Slot, tokenOf: (spec: TaskSpec) => number): TaskSpec[] {
    const { health } = slot;
    const clock = this.clock();
    let overdue: TaskSpec[] = [];
    this.#keep(slot);
    if (health.overdueAt(this.allows.pushAckMs) <= clock) {
      overdue = slot.unacknowledged(tokenOf);
      if (overdue.length > 0) health.overdue(this.allows.pushAckMs);
      else if (!health.deaf) health.settle();
    }
    if (health.quarantinedUntil > 0 && health.quarantinedUntil <= clock)
      health.probation(clock, this.allows.pushAckMs);
    this.#healthMoved(slot);
    return overdue;
  }

  reasonsOf(slot: Slot): string[] {
    return slot.health.reasons(this.clock(), this.allows.pushAckMs);
  }

  /** Looks at the worker's health when something of it is due. */
  #look(slot: Slot): void {
    const { health } = slot;
    let at = health.overdueAt(this.allows.pushAckMs);
    // Of a deaf worker what was overdue is taken back already; only what left since is waited for.
    if (health.deaf && at <= this.clock()) at = Number.POSITIVE_INFINITY;
    if (health.quarantinedUntil > 0) at = Math.min(at, health.quarantinedUntil);
    if (at >= slot.lookAt) return;
    slot.lookAt = at;
    this.looks.push(at, slot);
  }

  /**
   * What entries say of a worker beside its record is about to change: should this one be taken back, so is that. Tasks that
   * were completed are counted by the table.
   */
  #keep(slot: Slot): void {
    const { health, completedCount, failedCount, pace } = slot;
    const { conduct, deaf, acknowledgeMs } = health;
    this.onUndo(() => {
      // Not if it came with what is taken back; and another one where it had left.
      const now = this.#slots.get(slot.id);
      if (now === undefined) return;
      if (now !== slot) {
        now.completedCount = completedCount;
        now.lastSeenAt = slot.lastSeenAt;
        now.aborts.push(...slot.aborts);
      }
      now.failedCount = failedCount;
      now.pace = pace;
      now.health = health;
      health.back(conduct, deaf, acknowledgeMs, this.allows.pushAckMs);
      this.#healthMoved(now);
    });
  }

  /** Everything that may have changed a worker's health ends here. */
  #healthMoved(slot: Slot): void {
    this.#place(slot);
    this.#look(slot);
    if (slot.health.state !== slot.health.told) this.changedHealth.add(slot);
  }

  #stand(slot: Slot, standing: Slot["standing"]): void {
    const { crew } = slot;
    if (slot.standing === "able") crew.ableCount -= 1;
    else if (slot.standing === "quarantined") crew.quarantined.delete(slot);
    slot.standing = standing;
    if (standing === "able") crew.ableCount += 1;
    else if (standing === "quarantined") crew.quarantined.add(slot);
    if (crew.ableCount > 0) return;
    // Nobody is left who could work: one of those in quarantine is let out before its time.
    const [spare] = crew.quarantined;
    if (spare === undefined) return;
    this.#keep(spare);
    spare.health.probation(this.clock(), this.allows.pushAckMs);
    this.#healthMoved(spare);
  }

  /** For a worker that learns by heartbeat that an attempt was voided. */
  noteAbort(record: TaskRecord, now: number): void {
    const { workerId, token } = leaseOf(record);
    const slot = this.#slots.get(workerId);
    if (slot === undefined) return;
    while (slot.aborts.length >= abortsMax || (slot.aborts[0]?.at ?? now) < now - abortAgeMs)
      slot.aborts.shift();
    slot.aborts.push({ taskId: record.spec.id, token, at: now });
  }

  /** It is not void after all. */
  dropAbort(record: TaskRecord): void {
    const aborts = this.#slots.get(leaseOf(record).workerId)?.aborts;
    const place = this.#placeOfAbort(record);
    if (place !== -1) aborts?.splice(place, 1);
  }

  /** Whether its worker is to be told that this attempt is void. */
  hasNoted(record: TaskRecord): boolean {
    return this.#placeOfAbort(record) !== -1;
  }

  #placeOfAbort(record: TaskRecord): number {
    const { workerId, token } = leaseOf(record);
    const { id } = record.spec;
    const aborts = this.#slots.get(workerId)?.aborts;
    return aborts?.findLastIndex((one) => one.taskId === id && one.token === token) ?? -1;
  }

  /** Puts the worker where its room and its socket say. */
  #place(slot: Slot): void {
    const { crew, reservedFor } = slot;
    const standing = standingOf(slot);
    if (standing !== slot.standing) this.#stand(slot, standing);
    if (reservedFor !== null && slot.roomMax < reservedFor.needs.slots) {
      this.#endReservation(reservedFor);
      return;
    }
    if (reservedFor !== null && slot.attached && slot.room >= reservedFor.needs.slots)
      this.#granted.add(slot);
    else this.#granted.delete(slot);
    crew.place(slot);
    for (const size of crew.sizes) this.#sizeMoved(size);
    if (slot.own !== null) this.#showOwn(slot.own);
    else this.#showClaim(slot);
  }

  // --- matching -------------------------------------------------------------------------------------------

  /**
   * Brings ready tasks and workers with a socket together: the most urgent task first, to the worker that meets most
   * of what it prefers, and of those to the first by its queue's strategy. `lease` must make the task running; at
   * most `max` leases are made.
   */
  match(max: number, lease: (spec: TaskSpec, slot: Slot) => void): number {
    let made = 0;
    while (made < max) {
      const woke = this.gates.wake();
      const [granted] = this.#granted;
      const lane = granted === undefined ? this.#firstToPush() : (granted.reservedFor as Lane);
      if (lane === undefined) {
        // What was woken may fit nobody who is free; what sleeps behind it may.
        if (woke) continue;
        break;
      }
      if (!this.#isOpen(lane)) continue;
      const slot = granted ?? lane.owner?.slot ?? this.#firstFor(lane);
      if (granted === undefined && this.#keeps(slot, lane, slot.room)) continue;
      lease(lane.head as TaskSpec, slot);
      made += 1;
    }
    return made;
  }

  #firstToPush(): Lane | undefined {
    let lane = this.#ownPushing.top;
    for (const size of this.#pushing) {
      const top = size.lanes.top as Lane;
      if (lane === undefined || (top !== lane && laneBefore(top, lane, this.urgent))) lane = top;
    }
    return lane;
  }

  /** Of the workers with room for the lane's tasks, one of which there is. */
  #firstFor(lane: Lane): Slot {
    const { strategy } = lane.queue;
    const before = orders[strategy];
    let best: Slot | undefined;
    let bestRank = 0;
    for (const { size, rank } of lane.links) {
      const slot = size.first(strategy);
      if (slot === undefined) continue;
      if (best === undefined || isBetter(slot, rank, best, bestRank, before)) {
        best = slot;
        bestRank = rank;
      }
    }
    return best as Slot;
  }

  get canMatch(): boolean {
    return (
      this.#pushing.size > 0 ||
      this.#ownPushing.size > 0 ||
      this.#granted.size > 0 ||
      this.gates.opening.size > 0
    );
  }

  /** The task that this worker gets next by a claim. */
  nextFor(slot: Slot): TaskSpec | undefined {
    for (;;) {
      const woke = this.gates.wake();
      const lane = this.#firstToClaim(slot);
      if (lane === undefined && !woke) return undefined;
      if (lane === undefined || !this.#isOpen(lane)) continue;
      if (slot.reservedFor === null && this.#keeps(slot, lane, slot.claimRoom)) continue;
      return lane.head;
    }
  }

  #firstToClaim(slot: Slot): Lane | undefined {
    const { claimRoom: room, reservedFor } = slot;
    if (reservedFor !== null) return reservedFor.needs.slots <= room ? reservedFor : undefined;
    let lane: Lane | undefined;
    for (const { slots, lanes } of [...slot.crew.sizes, ...(slot.own?.shelves ?? [])]) {
      if (slots > room) continue;
      const { top } = lanes;
      if (top !== undefined && (lane === undefined || laneBefore(top, lane, this.urgent))) lane = top;
    }
    return lane;
  }

  /** A claim of this worker waits for a task. */
  waitForClaim(slot: Slot): void {
    slot.claims = true;
    slot.claimOrder = ++this.#order;
    this.#place(slot);
  }

  endClaim(slot: Slot): void {
    slot.claims = false;
    this.#place(slot);
  }

  /** A worker whose waiting claim can be served now. */
  nextClaiming(): Slot | undefined {
    for (;;) {
      const woke = this.gates.wake();
      const [own] = this.#ownClaiming;
      const [size] = this.#claiming;
      const slot = own ?? size?.claiming.top;
      if (slot === undefined && !woke) return undefined;
      // What it could get may sleep since, or wait for another.
      if (slot !== undefined && this.nextFor(slot) !== undefined) return slot;
    }
  }

  /** The worker for an assignment: the named one if it fits, else the first by preference and load, socket or not. */
  choose(needs: Needs, workerId: string | undefined): { slot: Slot } | Refusal {
    if (workerId !== undefined) {
      const slot = this.#slots.get(workerId);
      if (slot === undefined) return refuse("unknown-worker", `worker ${workerId} is not registered`);
      const { state, capacity } = slot.record;
      if (state !== "online") return refuse("worker-unavailable", `worker ${workerId} is ${state}`);
      if (!fits(needs, slot.record, slot.offer))
        return refuse("worker-unavailable", `worker ${workerId} does not fit what the task requires`);
      // Whoever names a worker may try one that is in quarantine.
      if (slot.used + needs.slots <= capacity) return { slot };
      const holds = `worker ${workerId} holds ${slot.running.size} tasks`;
      return refuse(
        "worker-unavailable",
        slot.used >= capacity
          ? `${holds}, its capacity`
          : `${holds}: ${slot.used} of its ${capacity} slots are in use, and the task takes ${needs.slots}`,
      );
    }
    const asks = this.#ask(needs);
    let best: Slot | undefined;
    let bestRank = 0;
    for (const crew of this.#crews.values()) {
      if (!crew.fits(needs, asks)) continue;
      const size = crew.sizeFor(needs.slots);
      const rank = crew.rankFor(asks);
      for (const slot of [size.pushable.top, size.unattached.top])
        if (
          slot !== undefined &&
          (best === undefined || isBetter(slot, rank, best, bestRank, orders["least-loaded"]))
        ) {
          best = slot;
          bestRank = rank;
        }
      crew.release(size);
    }
    if (best === undefined) return refuse("no-worker", "no registered worker fits and has room");
    return { slot: best };
  }

  /**
   * About how many tasks come before one that waits: those before it in its group, as often as there are groups that
   * take turns. What other lanes hold is not counted.
   */
  aheadOf(lane: Lane, spec: TaskSpec): number {
    const at = this.sticky.of(spec)?.lane ?? lane;
    const groups = Math.max(1, lane.queue.groupsWaiting);
    const others = at.head === spec ? 0 : groups - 1;
    return (at.streamOf(spec) as Stream).before(spec) * groups + others;
  }

  // --- for checks and for who asks why --------------------------------------------------------------------

  *lanes(): Iterable<Lane> {
    yield* this.#lanes;
    yield* this.ownLanes();
  }

  *ownLanes(): Iterable<Lane> {
    for (const own of this.#owns.values()) yield* own.lanes.values();
  }

  crews(): Iterable<Crew> {
    return this.#crews.values();
  }
}

/** A worker that only changed its state keeps what it offers by reference. */
const offersSame = (a: WorkerRecord, b: WorkerRecord): boolean =>
  a.kind === b.kind && a.queues === b.queues && a.capabilities === b.capabilities && a.labels === b.labels;

const atomsOf = ({ asks }: Lane): Atom[] => [...asks.required, ...asks.preferred];

/** Failing workers come last, then what is preferred counts, then the order. */
function isBetter(
  a: Slot,
  rankA: number,
  b: Slot,
  rankB: number,
  before: (a: Slot, b: Slot) => boolean,
): boolean {
  if (a.health.failing !== b.health.failing) return b.health.failing;
  return rankA !== rankB ? rankA > rankB : before(a, b);
}
