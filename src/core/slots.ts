/**
 * A slot is a registered worker with what is known of it beside its record: what it holds, how much it may get, when
 * it was heard. All but what it holds is told from outside, dies with the process, and decides only which leases are
 * made. The orders here are the strategies of queues: which of several workers gets a task.
 */
import { limits } from "../wire/limits.ts";
import type { Strategy } from "../wire/queues.ts";
import type { Crew } from "./crews.ts";
import { Health } from "./health.ts";
import type { Lane } from "./lanes.ts";
import { Offer } from "./offers.ts";
import type { Own } from "./own.ts";
import { specOrder, type TaskSpec } from "./tasks.ts";
import type { WorkerRecord } from "./workers.ts";

export class Slot {
  crew!: Crew;
  offer: Offer;
  /** The tasks it holds, and what they take of its capacity. */
  readonly running = new Set<TaskSpec>();
  used = 0;
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
  /** Tasks it claimed while it had a socket, and under which token: they were not pushed. Some may be over. */
  claimed: Map<TaskSpec, number> | null = null;
  completedCount = 0;
  failedCount = 0;
  /** Payloads of tasks leased to be pushed that have not left for the socket, in UTF-16 units. */
  unsentBytes = 0;
  /** The socket has more waiting than it should: nothing is pushed until it has drained. */
  congested = false;
  /** Grows with each lease made: of two equally loaded workers the one that waited longer is next. */
  leaseOrder = 0;
  /** A claim of it waits; first come, first served. */
  claims = false;
  claimOrder = 0;
  /** Its own lanes, if there are any. */
  own: Own | null = null;
  /** The lane whose next task its room is kept for, because that task takes more than it has. */
  reservedFor: Lane | null = null;
  /** How long its tasks took of late, beside what tasks of their types take: 1 is as long. */
  pace = 1;
  readonly aborts: { taskId: string; token: number; at: number }[] = [];

  constructor(
    readonly id: string,
    public record: WorkerRecord,
    lastBeat: number,
  ) {
    this.offer = new Offer(record);
    this.lastBeat = lastBeat;
    this.lastTurn = lastBeat;
    this.turnBefore = lastBeat;
  }

  /** Whether it may hold another task at all, however much room it has. */
  get open(): boolean {
    return this.record.state === "online" && this.running.size < this.health.tasksMax;
  }

  /** Slots that a claim may take. */
  get claimRoom(): number {
    return this.open ? this.record.capacity - this.used : 0;
  }

  /** Slots that the next push may take, or without a socket the next assignment. */
  get room(): number {
    if (!this.open) return 0;
    if (!this.attached) return this.record.capacity - this.used;
    if (this.health.deaf || this.congested || this.unsentBytes >= limits.pushBufferBytesMax) return 0;
    return Math.min(this.record.capacity, this.credit) - this.used;
  }

  /** The room it would have if it held nothing. */
  get roomMax(): number {
    if (this.record.state !== "online" || this.health.tasksMax === 0) return 0;
    if (!this.attached) return this.record.capacity;
    return this.health.deaf ? 0 : Math.min(this.record.capacity, this.credit);
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
      return token > arrived && token <= sent && this.claimed?.get(spec) !== token;
    });
  }
}

type Standing = "none" | "able" | "quarantined";

export function standingOf(slot: Slot): Standing {
  if (slot.record.state !== "online") return "none";
  const { health } = slot;
  if (health.quarantinedUntil > 0) return "quarantined";
  return health.deaf || health.stalledMs > 0 ? "none" : "able";
}

// --- strategies -------------------------------------------------------------------------------------------

export type Order = (a: Slot, b: Slot) => boolean;

const loadOf = (slot: Slot) => slot.used / slot.record.capacity;
/** The one that waited longer, then by id. */
const waitedLonger: Order = (a, b) =>
  a.leaseOrder !== b.leaseOrder ? a.leaseOrder < b.leaseOrder : a.id < b.id;
const lessLoaded: Order = (a, b) => {
  const [loadA, loadB] = [loadOf(a), loadOf(b)];
  return loadA !== loadB ? loadA < loadB : waitedLonger(a, b);
};
/** Whatever the strategy, those that fail come last. */
const failingLast =
  (then: Order): Order =>
  (a, b) =>
    a.health.failing !== b.health.failing ? b.health.failing : then(a, b);

export const orders: Record<Strategy, Order> = {
  "least-loaded": failingLast(lessLoaded),
  "round-robin": failingLast(waitedLonger),
  fastest: failingLast((a, b) => (a.pace !== b.pace ? a.pace < b.pace : lessLoaded(a, b))),
  packed: failingLast((a, b) => {
    const [loadA, loadB] = [loadOf(a), loadOf(b)];
    return loadA !== loadB ? loadA > loadB : a.id < b.id;
  }),
};

/** The newest task's part of a worker's pace, and of what tasks of a type take. */
const paceNewestPart = 1 / 8;
const typeNewestPart = 1 / 32;
/** Types of which is known how long their tasks take. */
const typesMax = 4096;

/** How long tasks take, by type: so that a worker is not slow because its tasks are long. */
export class Paces {
  readonly #ofTypes = new Map<string, number>();

  completed(slot: Slot, type: string, ms: number): void {
    const took = Math.max(1, ms);
    const usual = this.#ofTypes.get(type);
    if (usual === undefined && this.#ofTypes.size === typesMax) this.#ofTypes.clear();
    this.#ofTypes.set(type, usual === undefined ? took : usual + (took - usual) * typeNewestPart);
    slot.pace += (took / (usual ?? took) - slot.pace) * paceNewestPart;
  }
}
