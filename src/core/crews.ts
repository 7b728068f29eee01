/**
 * Crews: workers that are alike for everything that waits: of one kind, for the same queues, and with the same answer
 * to all that is asked (offers.ts). A crew keeps its workers with room by how much room that is, one `Size` for each
 * number of slots that a fitting lane's tasks take; most crews have one, for tasks of one slot.
 */
import { IndexedHeap } from "../lib/heap.ts";
import type { Strategy } from "../wire/queues.ts";
import { type Lane, Turns, type Urgent } from "./lanes.ts";
import { type Asks, type Atom, type Needs, servesQueue } from "./offers.ts";
import { orders, type Slot } from "./slots.ts";
import type { WorkerRecord } from "./workers.ts";

/** Of a crew, the lanes whose tasks take so many slots and the workers that have so much room. */
export class Size {
  /** Fitting lanes that have a task. */
  readonly lanes: Turns<Lane>;
  /** Workers with a socket and room for a push. */
  readonly pushable = new IndexedHeap<Slot>(orders["least-loaded"]);
  /** Workers without a socket and with room: for assign alone. */
  readonly unattached = new IndexedHeap<Slot>(orders["least-loaded"]);
  /** Workers whose claim waits, first come first served. */
  readonly claiming = new IndexedHeap<Slot>((a, b) => a.claimOrder < b.claimOrder);
  /** Fitting lanes, with or without tasks. */
  linked = 0;
  /** The pushable workers in the order of other strategies; made when a queue that uses one asks. */
  readonly #ordered = new Map<Strategy, IndexedHeap<Slot>>();

  constructor(
    readonly slots: number,
    urgent: Urgent,
  ) {
    this.lanes = new Turns<Lane>(urgent);
  }

  /** The pushable worker that comes first. */
  first(strategy: Strategy): Slot | undefined {
    if (strategy === "least-loaded") return this.pushable.top;
    let heap = this.#ordered.get(strategy);
    if (heap === undefined) {
      heap = new IndexedHeap<Slot>(orders[strategy]);
      for (const slot of this.pushable.items()) heap.update(slot);
      this.#ordered.set(strategy, heap);
    }
    return heap.top;
  }

  /** No queue uses the strategy any more. */
  forget(strategy: Strategy): void {
    this.#ordered.delete(strategy);
  }

  /** `room` for pushes or assignments, and for claims. */
  place(slot: Slot, room: number, claimRoom: number): void {
    const fits = room >= this.slots;
    put(this.pushable, slot, fits && slot.attached);
    for (const heap of this.#ordered.values()) put(heap, slot, fits && slot.attached);
    put(this.unattached, slot, fits && !slot.attached);
    put(this.claiming, slot, slot.claims && claimRoom >= this.slots);
  }
}

function put(heap: IndexedHeap<Slot>, slot: Slot, isIn: boolean): void {
  if (isIn) heap.update(slot);
  else heap.delete(slot);
}

/** That a crew fits a lane, and how well. */
export type Link = { readonly crew: Crew; readonly size: Size; readonly rank: number };

export class Crew {
  /** By slots, ascending; the first is for one. */
  readonly sizes: Size[];
  readonly slots = new Set<Slot>();
  /** Of its workers, how many could get tasks, and which are in quarantine. */
  ableCount = 0;
  readonly quarantined = new Set<Slot>();

  constructor(
    readonly key: string,
    readonly kind: string,
    readonly queues: readonly string[],
    /** All that is asked and that its workers meet. */
    readonly met: ReadonlySet<Atom>,
    private readonly urgent: Urgent,
  ) {
    this.sizes = [new Size(1, urgent)];
  }

  fits({ kind, queue }: Needs, { required }: Asks): boolean {
    if ((kind !== null && kind !== this.kind) || !servesQueue(this, queue)) return false;
    for (const atom of required) if (!this.met.has(atom)) return false;
    return true;
  }

  /** What it meets of what is preferred, the first counting more than all others together. */
  rankFor({ preferred }: Asks): number {
    let rank = 0;
    for (const atom of preferred) rank = 2 * rank + (this.met.has(atom) ? 1 : 0);
    return rank;
  }

  /** A lane that fits is there. */
  link({ needs, asks }: Lane): Link {
    const size = this.sizeFor(needs.slots);
    size.linked += 1;
    return { crew: this, size, rank: this.rankFor(asks) };
  }

  sizeFor(slots: number): Size {
    let at = this.sizes.findIndex((size) => size.slots >= slots);
    if (at < 0) at = this.sizes.length;
    let size = this.sizes[at];
    if (size?.slots !== slots) {
      size = new Size(slots, this.urgent);
      this.sizes.splice(at, 0, size);
      for (const slot of this.slots) placeIn([size], slot);
    }
    return size;
  }

  /** The lane is gone. */
  unlink(size: Size): void {
    size.linked -= 1;
    this.release(size);
  }

  /** Drops the size unless a lane needs it. */
  release(size: Size): void {
    if (size.linked === 0 && size.slots !== 1) this.sizes.splice(this.sizes.indexOf(size), 1);
  }

  /** Puts one of its workers where its room and its socket say. */
  place(slot: Slot): void {
    placeIn(this.sizes, slot);
  }

  remove(slot: Slot): void {
    this.slots.delete(slot);
    for (const size of this.sizes) size.place(slot, 0, 0);
  }
}

function placeIn(sizes: readonly Size[], slot: Slot): void {
  const kept = slot.reservedFor !== null;
  const room = kept ? 0 : slot.room;
  const claimRoom = kept || !slot.claims ? 0 : slot.claimRoom;
  for (const size of sizes) size.place(slot, room, claimRoom);
}

/** The key of a crew: what its workers have in common. */
export const crewKey = ({ kind, queues }: WorkerRecord, met: readonly Atom[]): string =>
  `${kind}\n${queues.join(",")}\n${met.map((atom) => atom.id).join(",")}`;
