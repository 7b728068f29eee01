/**
 * Own lanes: where tasks wait that one worker alone may run, for good (pinned) or for a while (sticky.ts). They are
 * lanes like others, but no crew knows them; their worker need not be registered. An empty one is dropped at once, so
 * there are never more of them than tasks.
 */
import type { QueueFlow } from "./flow.ts";
import { Lane, Turns, type Urgent } from "./lanes.ts";
import { fits, laneKey, type Needs } from "./offers.ts";
import type { Slot } from "./slots.ts";

/** The lanes of one worker whose tasks take so many slots. */
export class Shelf {
  /** Those that have a task, while the worker fits them. */
  readonly lanes: Turns<Lane>;
  /** The one that stands where matches look for it. */
  shown: Lane | null = null;

  constructor(
    readonly slots: number,
    urgent: Urgent,
  ) {
    this.lanes = new Turns<Lane>(urgent);
  }
}

export class Own {
  /** The worker, while it is registered. */
  slot: Slot | null = null;
  readonly lanes = new Map<string, Lane>();
  /** By slots, ascending. */
  readonly shelves: Shelf[] = [];

  constructor(
    readonly workerId: string,
    private readonly urgent: Urgent,
  ) {}

  lane(queue: QueueFlow, needs: Needs): Lane {
    const key = `${queue.name}\n${laneKey(needs)}`;
    let lane = this.lanes.get(key);
    if (lane === undefined) {
      lane = new Lane(queue, needs, this.urgent, this);
      this.lanes.set(key, lane);
    }
    return lane;
  }

  drop(lane: Lane): void {
    this.lanes.delete(`${lane.queue.name}\n${laneKey(lane.needs)}`);
  }

  fits({ needs }: Lane): boolean {
    return this.slot !== null && fits(needs, this.slot.record, this.slot.offer);
  }

  /** Another task comes first in the lane, none does, or the worker is another. */
  moved(lane: Lane): void {
    if (lane.head !== undefined && this.fits(lane)) this.#shelfFor(lane.needs.slots).lanes.update(lane);
    else this.shelves.find(({ slots }) => slots === lane.needs.slots)?.lanes.delete(lane);
  }

  #shelfFor(slots: number): Shelf {
    let at = this.shelves.findIndex((shelf) => shelf.slots >= slots);
    if (at < 0) at = this.shelves.length;
    let shelf = this.shelves[at];
    if (shelf?.slots !== slots) {
      shelf = new Shelf(slots, this.urgent);
      this.shelves.splice(at, 0, shelf);
    }
    return shelf;
  }

  /** Whether there is a task that takes no more than so much room. */
  hasFor(room: number): boolean {
    for (const { slots, lanes } of this.shelves) if (slots <= room && lanes.size > 0) return true;
    return false;
  }
}
