/**
 * Dispatch: which ready task goes to which worker. Ready tasks that ask the same (queue, kind, capabilities)
 * wait in one lane; workers that offer the same (queues, kind, capabilities) form one crew. Only lanes and
 * crews are matched, so a backlog is never scanned, and tasks whose requirements nobody meets block nobody.
 *
 * Lanes, crews and what workers hold are derived from the tables. Whether a worker has a socket, how much it
 * will take and when it was last heard are not state: they are told from outside, die with the process, and
 * decide only which leases are made, never what a log entry means.
 */
import { DeadlineHeap, IndexedHeap } from "../lib/heap.ts";
import { limits } from "../wire/limits.ts";
import type { Flow, QueueFlow } from "./flow.ts";
import type { Gates } from "./gates.ts";
import { Health } from "./health.ts";
import { Lane, laneBefore, type Stream, Turns, type Urgent } from "./lanes.ts";
import { type Refusal, refuse } from "./result.ts";
import { leaseOf, specOrder, type TaskRecord, type TaskSpec } from "./tasks.ts";
import type { WorkerRecord } from "./workers.ts";

/** What a task asks of a worker. */
export type Needs = { queue: string; kind: string | null; capabilities: readonly string[] };

/** Aborts remembered for workers that learn of them by heartbeat, and for how long. */
const abortsMax = 256;
export const abortAgeMs = 300_000;

export class Crew {
  /** Fitting lanes that have a task. */
  readonly lanes: Turns<Lane>;
  /** Workers with a socket and room for a push. */
  readonly pushable = new IndexedHeap<Slot>(lessLoaded);
  /** Workers without a socket and with room: for assign alone. */
  readonly unattached = new IndexedHeap<Slot>(lessLoaded);
  /** Workers whose claim waits, first come first served. */
  readonly claiming = new IndexedHeap<Slot>((a, b) => a.claimOrder < b.claimOrder);
  size = 0;
  /** Of its workers, how many could get tasks, and which are in quarantine. */
  ableCount = 0;
  readonly quarantined = new Set<Slot>();

  constructor(
    readonly key: string,
    readonly queues: readonly string[],
    readonly kind: string,
    readonly capabilities: readonly string[],
    urgent: Urgent,
  ) {
    this.lanes = new Turns<Lane>(urgent);
  }

  fits(needs: Needs): boolean {
    if (needs.kind !== null && needs.kind !== this.kind) return false;
    if (!this.queues.includes("*") && !this.queues.includes(needs.queue)) return false;
    for (const one of needs.capabilities) if (!this.capabilities.includes(one)) return false;
    return true;
  }
}

/** A registered worker with what is known of it beside its record. */
export class Slot {
  crew!: Crew;
  /** The tasks it holds. */
  readonly running = new Set<TaskSpec>();
  attached = false;
  credit = 0;
  /** When it was last heard, and when its handlers last turned as far as that vouches for it; on the lease clock. */
  lastBeat: number;
  lastTurn: number;
  /** The turn before the newest beat, for a beat that says that they have not turned since. */
  turnBefore: number;
  /** On the wall clock; 0: not since the daemon started. */
  lastSeenAt = 0;
  /** The earliest moment this worker is looked at for silence and expired leases. */
  watchedAt = Number.POSITIVE_INFINITY;
  health = new Health();
  /** When its health is looked at, on the lease clock. */
  lookAt = Number.POSITIVE_INFINITY;
  /** How its crew counts it. */
  standing: Standing = "none";
  /** Tasks it claimed while it had a socket: they were not pushed. */
  claimed: Set<TaskSpec> | null = null;
  completedCount = 0;
  failedCount = 0;
  /** Payloads of tasks leased to be pushed that have not left for the socket, in UTF-16 units. */
  unsentBytes = 0;
  /** The socket has more waiting than it should: nothing is pushed until it has drained. */
  congested = false;
  /** Grows with each lease made: of two equally loaded workers the one that waited longer is next. */
  leaseOrder = 0;
  claimOrder = 0;
  readonly aborts: { taskId: string; token: number; at: number }[] = [];

  constructor(
    readonly id: string,
    public record: WorkerRecord,
    lastBeat: number,
  ) {
    this.lastBeat = lastBeat;
    this.lastTurn = lastBeat;
    this.turnBefore = lastBeat;
  }

  /** How many tasks it may hold, however it gets them. */
  get allowed(): number {
    return Math.min(this.record.capacity, this.health.tasksMax);
  }

  get room(): number {
    if (this.record.state !== "online") return 0;
    if (!this.attached) return this.allowed - this.running.size;
    if (this.health.deaf || this.congested || this.unsentBytes >= limits.pushBufferBytesMax) return 0;
    return Math.min(this.allowed, this.credit) - this.running.size;
  }

  /** What it holds, in the order of submission. */
  held(): TaskSpec[] {
    return [...this.running].sort(specOrder);
  }

  /** The pushes that left and are not known to have arrived, of those it still holds. */
  unacknowledged(tokenOf: (spec: TaskSpec) => number): TaskSpec[] {
    const { arrived, sent } = this.health;
    return this.held().filter((spec) => {
      const token = tokenOf(spec);
      return token > arrived && token <= sent && this.claimed?.has(spec) !== true;
    });
  }
}

type Standing = "none" | "able" | "quarantined";

function standingOf(slot: Slot): Standing {
  if (slot.record.state !== "online") return "none";
  const { health } = slot;
  if (health.quarantinedUntil > 0) return "quarantined";
  return health.deaf || health.stalledMs > 0 ? "none" : "able";
}

/** Others before failing ones, then least loaded, then the one that waited longest, then by id. */
function lessLoaded(a: Slot, b: Slot): boolean {
  if (a.health.failing !== b.health.failing) return b.health.failing;
  const loadA = a.running.size / a.record.capacity;
  const loadB = b.running.size / b.record.capacity;
  if (loadA !== loadB) return loadA < loadB;
  if (a.leaseOrder !== b.leaseOrder) return a.leaseOrder < b.leaseOrder;
  return a.id < b.id;
}

const crewKey = (record: WorkerRecord) =>
  `${record.kind}\n${record.queues.join(",")}\n${record.capabilities.join(",")}`;

export class Dispatch {
  readonly #slots = new Map<string, Slot>();
  readonly #crews = new Map<string, Crew>();
  /** Crews that have a ready lane and a worker to push to. */
  readonly #pushing = new Set<Crew>();
  /** Crews that have a ready lane and a waiting claim. */
  readonly #claiming = new Set<Crew>();
  readonly #lanes = new Set<Lane>();
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
  ) {}

  // --- lanes ----------------------------------------------------------------------------------------------

  openLane(queue: QueueFlow, needs: Needs): Lane {
    const lane = new Lane(queue, needs, this.urgent);
    for (const crew of this.#crews.values()) if (crew.fits(needs)) lane.crews.push(crew);
    this.#lanes.add(lane);
    return lane;
  }

  closeLane(lane: Lane): void {
    this.#lanes.delete(lane);
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
    if (first) this.laneMoved(lane);
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
    for (const crew of lane.crews) {
      const had = crew.lanes.size;
      if (lane.head === undefined) crew.lanes.delete(lane);
      else crew.lanes.update(lane);
      if (had === 0 || crew.lanes.size === 0) this.#crewMoved(crew);
    }
  }

  /** Whether the lane's first task may start now; if not, something else comes first since. */
  #isOpen(lane: Lane): boolean {
    const stream = lane.awake.top as Stream;
    if (stream.turn < stream.group.turn) {
      // Its group had a turn in another lane meanwhile.
      stream.turn = stream.group.turn;
      lane.awake.update(stream);
      this.laneMoved(lane);
      return false;
    }
    const gate = this.gates.shutFor(stream);
    if (gate === null) return true;
    this.gates.sleep(stream, gate);
    return false;
  }

  #crewMoved(crew: Crew): void {
    const ready = crew.lanes.size > 0;
    if (ready && crew.pushable.size > 0) this.#pushing.add(crew);
    else this.#pushing.delete(crew);
    if (ready && crew.claiming.size > 0) this.#claiming.add(crew);
    else this.#claiming.delete(crew);
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
    if (after === undefined) {
      if (slot === undefined) return;
      this.#leaveCrew(slot);
      this.#slots.delete(id);
      return;
    }
    if (slot === undefined) {
      slot = new Slot(id, after, this.clock());
      this.#slots.set(id, slot);
      this.#joinCrew(slot);
    } else {
      const moved = crewKey(slot.record) !== crewKey(after);
      const claims = slot.crew.claiming.has(slot);
      // Another process: what was wrong with the last one says nothing of it.
      if (slot.record.instanceId !== after.instanceId) {
        const { told } = slot.health;
        slot.health = new Health();
        slot.health.told = told;
        this.changedHealth.add(slot);
      }
      if (moved) this.#leaveCrew(slot);
      slot.record = after;
      if (moved) this.#joinCrew(slot);
      // A claim that waits goes on waiting, now for what the worker fits since.
      if (moved && claims) slot.crew.claiming.update(slot);
    }
    this.#place(slot);
    // A look costs little; leases may be older than the record seen here (recovery, an undo).
    if (after.state !== "offline") this.watch(slot, this.clock());
  }

  #joinCrew(slot: Slot): void {
    const key = crewKey(slot.record);
    let crew = this.#crews.get(key);
    if (crew === undefined) {
      const { queues, kind, capabilities } = slot.record;
      crew = new Crew(key, queues, kind, capabilities, this.urgent);
      this.#crews.set(key, crew);
      for (const lane of this.#lanes) {
        if (!crew.fits(lane.needs)) continue;
        lane.crews.push(crew);
        if (lane.head !== undefined) crew.lanes.update(lane);
      }
    }
    crew.size += 1;
    slot.crew = crew;
  }

  #leaveCrew(slot: Slot): void {
    const { crew } = slot;
    crew.pushable.delete(slot);
    crew.unattached.delete(slot);
    crew.claiming.delete(slot);
    this.#stand(slot, "none");
    crew.size -= 1;
    if (crew.size === 0) {
      this.#crews.delete(crew.key);
      for (const lane of this.#lanes)
        if (crew.fits(lane.needs)) lane.crews = lane.crews.filter((one) => one !== crew);
      this.#pushing.delete(crew);
      this.#claiming.delete(crew);
    } else this.#crewMoved(crew);
  }

  /** Index of the tasks table, for what workers hold. */
  changeTask(before: TaskRecord | undefined, after: TaskRecord | undefined): void {
    const had = before !== undefined && before.state === "running" ? leaseOf(before).workerId : null;
    const has = after !== undefined && after.state === "running" ? leaseOf(after).workerId : null;
    if (had !== null && had !== has) {
      const slot = this.#slots.get(had);
      if (slot !== undefined) {
        const { spec } = before as TaskRecord;
        slot.running.delete(spec);
        slot.claimed?.delete(spec);
        this.#place(slot);
      }
    }
    if (has === null) return;
    const slot = this.#slots.get(has);
    if (slot === undefined) return;
    const record = after as TaskRecord;
    if (had !== has) {
      slot.running.add(record.spec);
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
  claiming(slot: Slot, spec: TaskSpec): void {
    if (!slot.attached) return;
    slot.claimed ??= new Set();
    slot.claimed.add(spec);
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

  succeeded(slot: Slot): void {
    slot.completedCount += 1;
    if (slot.health.succeeded(this.allows.pushAckMs)) this.#healthMoved(slot);
  }

  /**
   * An attempt of the worker failed. Only a task's first failure says something of the worker: one that failed
   * before is itself what is suspected, and may go from worker to worker.
   */
  failed(slot: Slot, isFirst: boolean): boolean {
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

  /** Everything that may have changed a worker's health ends here. */
  #healthMoved(slot: Slot): void {
    this.#place(slot);
    this.#look(slot);
    if (slot.health.state !== slot.health.told) this.changedHealth.add(slot);
  }

  #stand(slot: Slot, standing: Standing): void {
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

  /** Whether its worker is to be told that this attempt is void. */
  hasNoted(record: TaskRecord): boolean {
    const { workerId, token } = leaseOf(record);
    const { id } = record.spec;
    const aborts = this.#slots.get(workerId)?.aborts;
    return aborts?.findLast((one) => one.taskId === id && one.token === token) !== undefined;
  }

  /** Puts the worker where its room and its socket say. */
  #place(slot: Slot): void {
    const { crew } = slot;
    const standing = standingOf(slot);
    if (standing !== slot.standing) this.#stand(slot, standing);
    const room = slot.room > 0;
    if (room && slot.attached) crew.pushable.update(slot);
    else crew.pushable.delete(slot);
    if (room && !slot.attached) crew.unattached.update(slot);
    else crew.unattached.delete(slot);
    this.#crewMoved(crew);
  }

  // --- matching -------------------------------------------------------------------------------------------

  /**
   * Brings ready tasks and workers with a socket together: the most urgent task first, to the least loaded and
   * healthiest of the workers it fits. `lease` must make the task running; at most `max` leases are made.
   */
  match(max: number, lease: (spec: TaskSpec, slot: Slot) => void): number {
    let made = 0;
    while (made < max) {
      const woke = this.gates.wake();
      if (this.#pushing.size === 0) {
        // What was woken may fit nobody who is free; what sleeps behind it may.
        if (woke) continue;
        break;
      }
      let lane: Lane | undefined;
      for (const crew of this.#pushing) {
        const top = crew.lanes.top as Lane;
        if (lane === undefined || (top !== lane && laneBefore(top, lane, this.urgent))) lane = top;
      }
      if (!this.#isOpen(lane as Lane)) continue;
      let best: Slot | undefined;
      for (const crew of (lane as Lane).crews) {
        const slot = crew.pushable.top;
        if (slot !== undefined && (best === undefined || lessLoaded(slot, best))) best = slot;
      }
      lease((lane as Lane).head as TaskSpec, best as Slot);
      made += 1;
    }
    return made;
  }

  get canMatch(): boolean {
    return this.#pushing.size > 0 || this.gates.opening.size > 0;
  }

  /** The task that this worker gets next. */
  nextFor(slot: Slot): TaskSpec | undefined {
    for (;;) {
      const woke = this.gates.wake();
      const lane = slot.crew.lanes.top;
      if (lane === undefined && !woke) return undefined;
      if (lane !== undefined && this.#isOpen(lane)) return lane.head;
    }
  }

  /** A claim of this worker waits for a task. */
  waitForClaim(slot: Slot): void {
    slot.claimOrder = ++this.#order;
    slot.crew.claiming.update(slot);
    this.#crewMoved(slot.crew);
  }

  endClaim(slot: Slot): void {
    slot.crew.claiming.delete(slot);
    this.#crewMoved(slot.crew);
  }

  /** A worker whose waiting claim can be served now. */
  nextClaiming(): Slot | undefined {
    for (;;) {
      const woke = this.gates.wake();
      const [crew] = this.#claiming;
      if (crew === undefined && !woke) return undefined;
      if (crew !== undefined && this.#isOpen(crew.lanes.top as Lane)) return crew.claiming.top;
    }
  }

  /** The worker for an assignment: the named one if it fits, else the least loaded that does, socket or not. */
  choose(needs: Needs, workerId: string | undefined): { slot: Slot } | Refusal {
    if (workerId !== undefined) {
      const slot = this.#slots.get(workerId);
      if (slot === undefined) return refuse("unknown-worker", `worker ${workerId} is not registered`);
      const { state, capacity } = slot.record;
      if (state !== "online") return refuse("worker-unavailable", `worker ${workerId} is ${state}`);
      if (!slot.crew.fits(needs))
        return refuse("worker-unavailable", `worker ${workerId} does not fit what the task requires`);
      // Whoever names a worker may try one that is in quarantine.
      if (slot.running.size >= capacity)
        return refuse(
          "worker-unavailable",
          `worker ${workerId} holds ${slot.running.size} tasks, its capacity`,
        );
      return { slot };
    }
    let best: Slot | undefined;
    for (const crew of this.#crews.values()) {
      if (!crew.fits(needs)) continue;
      for (const slot of [crew.pushable.top, crew.unattached.top])
        if (slot !== undefined && (best === undefined || lessLoaded(slot, best))) best = slot;
    }
    if (best === undefined) return refuse("no-worker", "no registered worker fits and has room");
    return { slot: best };
  }

  /** For checks: every lane, and every crew. */
  lanes(): Iterable<Lane> {
    return this.#lanes;
  }

  crews(): Iterable<Crew> {
    return this.#crews.values();
  }
}
