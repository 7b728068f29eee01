/**
 * Lanes: where ready tasks wait, and which of them comes next. A lane holds the tasks of one queue that ask the same
 * of a worker. In it the tasks of one group that count for the same limits form a stream: they pass the same gates.
 * A stream is awake, and stands in its lane by the turn of its group, or it sleeps at the first gate that was shut
 * when it was looked at (gates.ts). Within a stream the most urgent task comes first.
 *
 * Turns are the finish tags of self-clocked fair queuing: a lease moves its group's turn by what it costs over the
 * group's weight, and a group that comes back starts one task behind the queue's newest turn. Turns only grow, so
 * that a place by an older turn is a lower bound and is mended when it comes to the top; in a queue with one group
 * nothing ever moves. Turns are volatile: they decide only which leases are made.
 */
import { IndexedHeap, PlacedHeap } from "../lib/heap.ts";
import { Line } from "../lib/line.ts";
import type { Link } from "./crews.ts";
import type { Group, QueueFlow } from "./flow.ts";
import type { Gate, Wait } from "./gates.ts";
import type { Asks, Needs } from "./offers.ts";
import type { Own } from "./own.ts";
import type { Slot } from "./slots.ts";
import { readyAt, specOrder, type TaskSpec } from "./tasks.ts";

/** Whether a comes before b, of the tasks of one group. */
export type Urgent = (a: TaskSpec, b: TaskSpec) => boolean;

/** `ageingMs`: how long a task waits to be as urgent as one of the next higher priority; 0: never. */
export const urgentBy =
  (ageingMs: number): Urgent =>
  (a, b) => {
    const { priority: priorityA } = a.options;
    const { priority: priorityB } = b.options;
    if (ageingMs === 0) {
      if (priorityA !== priorityB) return priorityA < priorityB;
    } else {
      const urgencyA = readyAt(a) + priorityA * ageingMs;
      const urgencyB = readyAt(b) + priorityB * ageingMs;
      if (urgencyA !== urgencyB) return urgencyA < urgencyB;
    }
    return specOrder(a, b) < 0;
  };

/** Tasks of a lane with the same key form a stream. */
const streamKey = ({ options: { limits }, extras: { group } }: TaskSpec): string =>
  limits.length === 0 ? (group ?? "") : `${group ?? ""}\n${limits.join("\n")}`;

/** Whether the first task of a comes before that of b; they may be of different queues. */
export function laneBefore(a: Lane, b: Lane, urgent: Urgent): boolean {
  if (a.queue === b.queue ? a.turn !== b.turn : a.queue.share !== b.queue.share)
    return a.queue === b.queue ? a.turn < b.turn : a.queue.share < b.queue.share;
  return urgent(a.head as TaskSpec, b.head as TaskSpec);
}

export class Stream {
  /** One line a priority, in the order of submission. */
  readonly lines: (Line<TaskSpec> | undefined)[] = [undefined, undefined, undefined, undefined];
  /** The most urgent of the lines' first tasks. */
  head: TaskSpec | undefined;
  /** Its group's turn when its place was last found, and that place: in its lane, or where it sleeps. */
  turn = 0;
  place = -1;
  /** Where it sleeps, or null: it is awake. */
  wait: Wait | null = null;
  /** Where it was woken, until it was leased from, sleeps elsewhere or is no more. */
  woken: Wait | null = null;

  constructor(
    readonly lane: Lane,
    readonly key: string,
    readonly group: Group,
    readonly gates: readonly Gate[],
    readonly limits: readonly string[],
  ) {}

  add(spec: TaskSpec): void {
    this.group.queued += 1;
    const { lines } = this;
    let line = lines[spec.options.priority];
    if (line === undefined) {
      line = new Line<TaskSpec>(specOrder);
      lines[spec.options.priority] = line;
    }
    line.add(spec);
  }

  remove(spec: TaskSpec): void {
    this.group.queued -= 1;
    (this.lines[spec.options.priority] as Line<TaskSpec>).remove(spec);
  }

  /** The first of each line, and of those the most urgent. */
  first(urgent: Urgent): TaskSpec | undefined {
    let found: TaskSpec | undefined;
    for (const line of this.lines) {
      const first = line?.first();
      if (first !== undefined && (found === undefined || urgent(first, found))) found = first;
    }
    return found;
  }

  /** When its oldest task was submitted: within a priority that is the first. */
  get oldestAt(): number | null {
    let oldest: number | null = null;
    for (const line of this.lines) {
      const first = line?.first();
      if (first !== undefined && (oldest === null || first.createdAt < oldest)) oldest = first.createdAt;
    }
    return oldest;
  }

  /** About how many come before: ageing is not reckoned with. */
  before(spec: TaskSpec): number {
    const { priority } = spec.options;
    let count = 0;
    for (let i = 0; i < priority; i++) count += this.lines[i]?.size ?? 0;
    return count + (this.lines[priority] as Line<TaskSpec>).before(spec);
  }

  /** For checks. */
  specs(): TaskSpec[] {
    return this.lines.flatMap((line) => line?.toArray() ?? []);
  }
}

const asksNothing: Asks = { required: [], preferred: [] };

export class Lane {
  /** Those that have tasks. */
  readonly streams = new Map<string, Stream>();
  readonly awake: PlacedHeap<Stream>;
  /** The crews that fit, and what is asked of them. */
  links: Link[] = [];
  asks: Asks = asksNothing;
  /** Its tasks that wait for one worker (sticky.ts): they come back here. */
  awayCount = 0;
  /** Since when others that take fewer slots are given workers before its first task; null: they are not. */
  passedAt: number | null = null;
  /** The worker whose room is kept for its first task. */
  reserved: Slot | null = null;
  /** The order of streams: by turn, then the more urgent head. */
  readonly before: (a: Stream, b: Stream) => boolean;

  constructor(
    readonly queue: QueueFlow,
    readonly needs: Needs,
    urgent: Urgent,
    /** Of one worker alone; null: of all that fit. */
    readonly owner: Own | null = null,
  ) {
    this.before = (a, b) =>
      a.turn !== b.turn ? a.turn < b.turn : urgent(a.head as TaskSpec, b.head as TaskSpec);
    this.awake = new PlacedHeap<Stream>(this.before);
  }

  /** The task that comes next if its gates are open. */
  get head(): TaskSpec | undefined {
    return this.awake.top?.head;
  }
  get turn(): number {
    return (this.awake.top as Stream).turn;
  }
  get isEmpty(): boolean {
    return this.streams.size === 0 && this.awayCount === 0;
  }

  streamOf(spec: TaskSpec): Stream | undefined {
    return this.streams.get(streamKey(spec));
  }

  openStream(spec: TaskSpec, group: Group, gates: readonly Gate[]): Stream {
    const stream = new Stream(this, streamKey(spec), group, gates, spec.options.limits);
    this.streams.set(stream.key, stream);
    return stream;
  }
}

/** What stands in turns: a lane, or what sleeps at a gate. It has a head while it stands there. */
type Ranked = { readonly queue: QueueFlow; readonly turn: number; readonly head: TaskSpec | undefined };

/** What stands here of one queue, and the queue's share when its place was last found. */
class Standing<T> {
  share: number;
  place = -1;
  constructor(
    readonly queue: QueueFlow,
    readonly items: IndexedHeap<T>,
  ) {
    this.share = queue.share;
  }
}

/**
 * The first of many, over several queues: within a queue by turn, then urgency; between queues by their shares (all
 * are 0 unless a queue has a weight), then by the urgency of what comes first in each. Two levels, because turns of
 * different queues say nothing of each other.
 */
export class Turns<T extends Ranked> {
  readonly #standings = new Map<QueueFlow, Standing<T>>();
  readonly #queues: PlacedHeap<Standing<T>>;
  readonly #before: (a: T, b: T) => boolean;
  #size = 0;

  constructor(urgent: Urgent) {
    const sooner = (a: T, b: T) => urgent(a.head as TaskSpec, b.head as TaskSpec);
    this.#before = (a, b) => (a.turn !== b.turn ? a.turn < b.turn : sooner(a, b));
    this.#queues = new PlacedHeap<Standing<T>>((a, b) =>
      a.share !== b.share ? a.share < b.share : sooner(a.items.top as T, b.items.top as T),
    );
  }

  get size(): number {
    return this.#size;
  }

  has(item: T): boolean {
    return this.#standings.get(item.queue)?.items.has(item) === true;
  }

  get top(): T | undefined {
    for (;;) {
      const first = this.#queues.top;
      if (first === undefined || first.share === first.queue.share) return first?.items.top;
      first.share = first.queue.share;
      this.#queues.update(first);
    }
  }

  /** Adds the item, or moves it to where it now belongs. */
  update(item: T): void {
    let standing = this.#standings.get(item.queue);
    if (standing === undefined) {
      standing = new Standing<T>(item.queue, new IndexedHeap<T>(this.#before));
      this.#standings.set(item.queue, standing);
    }
    const { items } = standing;
    const had = items.size;
    items.update(item);
    this.#size += items.size - had;
    this.#queues.update(standing);
  }

  delete(item: T): void {
    const standing = this.#standings.get(item.queue);
    if (standing === undefined) return;
    const { items } = standing;
    const had = items.size;
    items.delete(item);
    this.#size += items.size - had;
    if (items.size > 0) this.#queues.update(standing);
    else {
      this.#queues.delete(standing);
      // A queue that comes and goes finds its place again; those of queues that are gone must not gather.
      if (this.#standings.size > 2 * this.#queues.size + 16) this.#collect();
    }
  }

  #collect(): void {
    for (const [queue, { items }] of this.#standings) if (items.size === 0) this.#standings.delete(queue);
  }
}
