/**
 * Queues: what is derived from the tasks table by queue. Counts, the lanes its ready tasks wait in, its finished
 * tasks in the order they ended (for retention), its idempotency keys; and over all queues the order of
 * submission, for lists. A queue is there once a task was submitted to it.
 */
import { Chunks } from "../lib/chunks.ts";
import { Line } from "../lib/line.ts";
import { Ranked } from "../lib/ranked.ts";
import { limits } from "../wire/limits.ts";
import type { Input } from "../wire/operations.ts";
import { priorities, type TaskFilter, type TaskState, type taskStates } from "../wire/tasks.ts";
import { archive } from "./archive.ts";
import type { Coordinator } from "./coordinator.ts";
import type { Dispatch } from "./dispatch.ts";
import type { QueueFlow } from "./flow.ts";
import { ageOf } from "./ids.ts";
import type { Lane } from "./lanes.ts";
import { isPlain, laneKey, type Needs } from "./offers.ts";
import { pageByName, type Result } from "./result.ts";
import { flowText } from "./settings.ts";
import type { Index } from "./store.ts";
import { forget, isFinal, specOrder, type TaskRecord, type TaskSpec } from "./tasks.ts";

type Counts = Record<(typeof taskStates)[number], number>;
const noCounts = (): Counts => ({
  scheduled: 0,
  blocked: 0,
  queued: 0,
  running: 0,
  completed: 0,
  failed: 0,
  dead: 0,
  cancelled: 0,
});

const endOrder = (a: TaskRecord, b: TaskRecord) => a.revision - b.revision || specOrder(a.spec, b.spec);

/** New needs of tasks that are queued together. */
export class Coming {
  readonly keys = new Set<string>();
  /** For the last of them there was room. */
  last: Needs | null = null;
}

class Queue {
  readonly counts = noCounts();
  readonly queuedByPriority = [0, 0, 0, 0];
  readonly finished = new Line<TaskRecord>(endOrder);
  readonly keys = new Map<string, TaskSpec>();
  readonly lanes = new Map<string, Lane>();
  /** The lane of tasks that ask nothing, which most do. */
  plain: Lane | undefined;
  taskCount = 0;
  /** A look at the oldest finished task's age is due. */
  retireDue = false;

  constructor(
    readonly name: string,
    readonly flow: QueueFlow,
  ) {}
}

/** The end of one task may set many free that it waited for; they leave with the ends that follow. */
const retiredAtOnce = 1000;

const waits = ({ state }: TaskRecord) => state === "queued" || state === "scheduled";

export class Queues implements Index<TaskRecord> {
  readonly #queues = new Map<string, Queue>();
  #laneCount = 0;
  readonly counts = noCounts();
  /** Every task in the order of submission; those in #left are gone and not yet collected. */
  #order = new Chunks<TaskSpec>();
  #orderDirty = false;
  readonly #left = new Set<TaskSpec>();
  /** What somebody will look for among all the others, in the order of submission too. */
  readonly #sought: Readonly<Record<"failed" | "dead", Ranked<TaskSpec>>> = {
    failed: new Ranked(specOrder),
    dead: new Ranked(specOrder),
  };

  /** `onRetireDue` is told when a queue's oldest finished task ended, so that its age is looked at in time. */
  constructor(
    private readonly core: Coordinator,
    private readonly dispatch: Dispatch,
    private readonly onRetireDue: (queue: string, finishedAt: number) => void,
  ) {}

  change(before: TaskRecord | undefined, after: TaskRecord | undefined): void {
    if (before !== undefined && after !== undefined && before.spec !== after.spec) {
      this.#replaced(before, after);
      return;
    }
    const { spec } = (after ?? before) as TaskRecord;
    const queue = this.#queueOf(spec);
    if (before !== undefined) this.#remove(queue, before);
    else this.#born(queue, spec);
    if (after !== undefined) this.#add(queue, after);
    else this.#gone(queue, spec);
  }

  #queueOf({ options }: TaskSpec): Queue {
    let queue = this.#queues.get(options.queue);
    if (queue === undefined) {
      queue = new Queue(options.queue, this.core.flow.queue(options.queue));
      queue.flow.hasTasks = true;
      this.#queues.set(options.queue, queue);
      const made = queue;
      this.core.store.onUndo(() => this.#dropEmpty(made));
    }
    return queue;
  }

  /** Another spec has taken the place of a task's, perhaps in another queue: its age stays, and its key goes with it. */
  #replaced(before: TaskRecord, after: TaskRecord): void {
    const from = this.#queueOf(before.spec);
    const to = this.#queueOf(after.spec);
    this.#remove(from, before);
    this.#add(to, after);
    from.taskCount -= 1;
    to.taskCount += 1;
    const { idempotencyKey } = before.spec.extras;
    if (idempotencyKey !== null) {
      from.keys.delete(idempotencyKey);
      to.keys.set(idempotencyKey, after.spec);
    }
    this.#sort();
    this.#order.set(this.#placeOf(after.spec.id), after.spec);
  }

  #add(queue: Queue, record: TaskRecord): void {
    queue.counts[record.state] += 1;
    if (queue.flow.waiting !== null && waits(record)) queue.flow.waiting.add(record.spec);
    this.counts[record.state] += 1;
    if (record.state === "queued") {
      const { options } = record.spec;
      queue.queuedByPriority[options.priority] = (queue.queuedByPriority[options.priority] as number) + 1;
      this.dispatch.enter(this.#laneOf(queue, record.spec), record.spec);
    } else if (record.state === "running") this.core.flow.started(queue.flow, record.spec);
    else if (isFinal(record.state)) {
      this.#soughtOf(record.state)?.add(record.spec);
      if (!this.core.graphs.isNeeded(record.spec)) this.#mayRetire(queue, record);
    }
  }

  #mayRetire(queue: Queue, record: TaskRecord): void {
    queue.finished.add(record);
    if (queue.retireDue) return;
    queue.retireDue = true;
    this.onRetireDue(queue.name, record.outcome.finishedAt);
  }

  /** A task that has ended is waited for by others, or no more: only then may it be let go of. */
  neededChanged(record: TaskRecord, needed: boolean): void {
    const queue = this.#queues.get(record.spec.options.queue) as Queue;
    if (needed) queue.finished.remove(record);
    else this.#mayRetire(queue, record);
  }

  #remove(queue: Queue, record: TaskRecord): void {
    queue.counts[record.state] -= 1;
    if (queue.flow.waiting !== null && waits(record)) queue.flow.waiting.remove(record.spec);
    this.counts[record.state] -= 1;
    if (record.state === "queued") {
      const { options } = record.spec;
      queue.queuedByPriority[options.priority] = (queue.queuedByPriority[options.priority] as number) - 1;
      this.dispatch.leave(this.#laneOf(queue, record.spec), record.spec);
    } else if (record.state === "running") this.core.flow.ended(queue.flow, record.spec);
    else if (isFinal(record.state)) {
      this.#soughtOf(record.state)?.remove(record.spec);
      if (!this.core.graphs.isNeeded(record.spec)) queue.finished.remove(record);
    }
  }

  #born(queue: Queue, spec: TaskSpec): void {
    queue.taskCount += 1;
    const { idempotencyKey } = spec.extras;
    if (idempotencyKey !== null) queue.keys.set(idempotencyKey, spec);
    if (this.#left.delete(spec)) return;
    const { last } = this.#order;
    if (last !== undefined && specOrder(last, spec) > 0) this.#orderDirty = true;
    this.#order.push(spec);
  }

  #gone(queue: Queue, spec: TaskSpec): void {
    queue.taskCount -= 1;
    const { idempotencyKey } = spec.extras;
    if (idempotencyKey !== null) queue.keys.delete(idempotencyKey);
    const order = this.#order;
    if (order.first !== spec) this.#left.add(spec);
    else
      do order.shift();
      while (order.first !== undefined && this.#left.delete(order.first));
    if (this.#left.size > 4096 && this.#left.size * 2 > this.#order.size) {
      this.#order = Chunks.from(this.#order.toArray().filter((one) => !this.#left.has(one)));
      this.#left.clear();
    }
  }

  /** What the entry of this revision made was taken back, and the revision is used again: nothing of it may stay. */
  undone(revision: number): void {
    this.#sort();
    for (let { last } = this.#order; last?.revision === revision; last = this.#order.last) {
      this.#left.delete(last);
      this.#order.pop();
    }
  }

  #soughtOf(state: TaskState): Ranked<TaskSpec> | undefined {
    return state === "failed" || state === "dead" ? this.#sought[state] : undefined;
  }

  #laneOf(queue: Queue, { options, extras: { workerId } }: TaskSpec): Lane {
    return workerId === null
      ? this.#laneFor(queue, options)
      : this.dispatch.ownLane(workerId, queue.flow, options);
  }

  /** The lane of tasks that any worker may run, opened where there is none. */
  #laneFor(queue: Queue, needs: Needs): Lane {
    if (isPlain(needs)) {
      if (queue.plain === undefined) {
        queue.plain = this.dispatch.openLane(queue.flow, needs);
        this.#laneCount += 1;
      }
      return queue.plain;
    }
    const key = laneKey(needs);
    let lane = queue.lanes.get(key);
    if (lane === undefined) {
      lane = this.dispatch.openLane(queue.flow, needs);
      queue.lanes.set(key, lane);
      this.#laneCount += 1;
    }
    return lane;
  }

  /**
   * Whether tasks with these needs may be queued: known needs always, new ones up to `lanesMax`. `coming`: new needs of
   * others that are queued with them, to which these are added.
   */
  hasRoomFor(needs: Needs, coming?: Coming): boolean {
    if (coming === undefined) return this.#hasRoomFor(needs);
    const hasRoom = needs === coming.last || this.#hasRoomFor(needs, coming.keys);
    if (hasRoom) coming.last = needs;
    return hasRoom;
  }

  #hasRoomFor(needs: Needs, coming?: Set<string>): boolean {
    const queue = this.#queues.get(needs.queue);
    const lane = isPlain(needs) ? queue?.plain : queue?.lanes.get(laneKey(needs));
    if (lane !== undefined && (coming === undefined || !lane.isEmpty)) return true;
    const key = coming && `${needs.queue} ${laneKey(needs)}`;
    if (key !== undefined && coming?.has(key)) return true;
    const hasRoom = () => this.#laneCount + (coming?.size ?? 0) < limits.lanesMax;
    if (!hasRoom()) {
      for (const one of this.#queues.values()) this.#dropEmpty(one);
      this.dispatch.dropUnasked();
    }
    if (!hasRoom()) return false;
    if (key !== undefined) coming?.add(key);
    return true;
  }

  /** The lane of a task that waits. */
  laneWith(spec: TaskSpec): Lane {
    return this.#laneOf(this.#queues.get(spec.options.queue) as Queue, spec);
  }

  /** The empty lanes of a queue, and the queue itself if it has no tasks. */
  #dropEmpty(queue: Queue): void {
    if (queue.plain?.isEmpty) {
      this.#drop(queue.plain);
      queue.plain = undefined;
    }
    for (const [key, lane] of queue.lanes) {
      if (!lane.isEmpty) continue;
      this.#drop(lane);
      queue.lanes.delete(key);
    }
    if (queue.taskCount > 0) return;
    this.#queues.delete(queue.name);
    queue.flow.hasTasks = false;
    this.core.flow.dropUnused(queue.flow);
  }

  #drop(lane: Lane): void {
    this.dispatch.closeLane(lane);
    this.#laneCount -= 1;
  }

  /** How many tasks of the queue wait: ready, or delayed. */
  waiting(name: string): number {
    const counts = this.#queues.get(name)?.counts;
    return counts === undefined ? 0 : counts.queued + counts.scheduled;
  }

  /** Those tasks, oldest first. Walks all tasks: for a setting that changes, never on a hot path. */
  *waitingIn(name: string): Iterable<TaskSpec> {
    if (this.waiting(name) === 0) return;
    for (const spec of this.#order.toArray()) {
      if (spec.options.queue !== name || this.#left.has(spec)) continue;
      if (waits(this.core.tasks.get(spec.row) as TaskRecord)) yield spec;
    }
  }

  /** The kept task of this queue that was submitted with the key. */
  byKey(queue: string, key: string): TaskRecord | undefined {
    const spec = this.#queues.get(queue)?.keys.get(key);
    return spec === undefined ? undefined : this.core.tasks.get(spec.row);
  }

  /** Inside a transaction: lets go of the queue's oldest finished tasks beyond the number that is kept. */
  retire(core: Coordinator, name: string): void {
    const queue = this.#queues.get(name) as Queue;
    for (let i = 0; i < retiredAtOnce && queue.finished.size > core.config.retentionCount; i++)
      letGo(core, queue.finished.first() as TaskRecord);
  }

  /** Inside a transaction: lets go of what ended before `before`, at most `max`; answers whether more is due. */
  retireOld(core: Coordinator, name: string, before: number, max: number): boolean {
    const queue = this.#queues.get(name);
    if (queue === undefined) return false;
    queue.retireDue = false;
    let count = 0;
    for (let old = queue.finished.first(); old !== undefined; old = queue.finished.first()) {
      if (old.outcome.finishedAt > before) {
        queue.retireDue = true;
        this.onRetireDue(name, old.outcome.finishedAt);
        return false;
      }
      if (count++ === max) {
        queue.retireDue = true;
        return true;
      }
      letGo(core, old);
    }
    return false;
  }

  /**
   * Takes the tasks that fit, newest first from behind the filter's cursor on, until `isEnough`; looks at no more than
   * `looks`. The cursor to go on from, which is the last task looked at; null: there are no more.
   */
  look(
    filter: TaskFilter & { cursor?: string },
    looks: number,
    isEnough: () => boolean,
    take: (record: TaskRecord) => void,
  ): string | null {
    const { state, createdAfter = 0 } = filter;
    const sought = state === undefined ? undefined : this.#soughtOf(state);
    let last: string | null = null;
    let looked = 0;
    for (const spec of sought === undefined
      ? this.#newestFirst(filter.cursor)
      : backwards(sought, filter.cursor)) {
      // Whoever was submitted before them all was submitted too early.
      if (spec.createdAt <= createdAfter) return null;
      if (looked++ === looks || isEnough()) return last;
      last = spec.id;
      const record = this.core.tasks.get(spec.row) as TaskRecord;
      if (fits(record, filter)) take(record);
    }
    return null;
  }

  /** How many tasks are in one of these states, by the counts that are kept. */
  countOf(name: string | undefined, states: readonly TaskState[]): number {
    const counts = name === undefined ? this.counts : this.#queues.get(name)?.counts;
    return counts === undefined ? 0 : states.reduce((sum, state) => sum + counts[state], 0);
  }

  /** Specs from the newest to the oldest, from before `cursor` on. */
  *#newestFirst(cursor: string | undefined): Iterable<TaskSpec> {
    this.#sort();
    const order = this.#order;
    for (let i = (cursor === undefined ? order.size : this.#placeOf(cursor)) - 1; i >= 0; i--) {
      const spec = order.at(i) as TaskSpec;
      if (!this.#left.has(spec)) yield spec;
    }
  }

  #sort(): void {
    if (!this.#orderDirty) return;
    this.#order = Chunks.from(this.#order.toArray().sort(specOrder));
    this.#orderDirty = false;
  }

  /** The first place whose task is not before `id`. */
  #placeOf(id: string): number {
    const { revision, number } = ageOf(id);
    let low = 0;
    let high = this.#order.size;
    while (low < high) {
      const middle = (low + high) >> 1;
      const spec = this.#order.at(middle) as TaskSpec;
      if (spec.revision < revision || (spec.revision === revision && spec.number < number)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** For checks. */
  finishedOf(name: string): TaskRecord[] {
    return this.#queues.get(name)?.finished.toArray() ?? [];
  }

  /** A queue as everyone sees it, whether or not it has tasks. */
  text(name: string): string {
    const queue = this.#queues.get(name);
    const byPriority = priorities.map((one, i) => `"${one}":${queue?.queuedByPriority[i] ?? 0}`).join(",");
    return (
      `{"name":"${name}","counts":${JSON.stringify(queue?.counts ?? noCounts())},` +
      `"queuedByPriority":{${byPriority}},"oldestAt":${queue === undefined ? null : oldestIn(queue, this.dispatch.ownLanes())},` +
      `${flowText(this.core, name)}}`
    );
  }
}

/** Inside a transaction: a task that has ended leaves memory for the archive. */
function letGo(core: Coordinator, record: TaskRecord): void {
  archive(core, record);
  forget(core, record.spec);
}

/** So many lanes and streams are looked at for the oldest task of a queue. */
const looksMax = 1000;

/** When the oldest ready task was submitted; null: none is ready, or to find it would take too long. */
function oldestIn({ plain, lanes, flow }: Queue, ownLanes: Iterable<Lane>): number | null {
  let oldest: number | null = null;
  let looks = 0;
  for (const some of [plain === undefined ? [] : [plain], lanes.values(), ownLanes])
    for (const lane of some) {
      if (++looks > looksMax) return null;
      if (lane.queue !== flow) continue;
      for (const stream of lane.streams.values()) {
        if (++looks > looksMax) return null;
        const at = stream.oldestAt;
        if (at !== null && (oldest === null || at < oldest)) oldest = at;
      }
    }
  return oldest;
}

const backwards = (sought: Ranked<TaskSpec>, cursor: string | undefined): Iterable<TaskSpec> =>
  sought.backwards(cursor === undefined ? undefined : (ageOf(cursor) as TaskSpec));

/** Whether the task is one of those the filter means. */
export function fits({ spec, state, lease }: TaskRecord, filter: TaskFilter): boolean {
  const { options, extras, createdAt } = spec;
  const { queue, type, group, label, workerId, createdBefore, createdAfter } = filter;
  if (queue !== undefined && options.queue !== queue) return false;
  if (type !== undefined && options.type !== type) return false;
  if (filter.state !== undefined && state !== filter.state) return false;
  if (group !== undefined && extras.group !== group) return false;
  if (label !== undefined && !hasLabel(options.labels, label)) return false;
  if (workerId !== undefined && (state !== "running" || lease?.workerId !== workerId)) return false;
  if (createdBefore !== undefined && createdAt >= createdBefore) return false;
  return createdAfter === undefined || createdAt > createdAfter;
}

function hasLabel(labels: Readonly<Record<string, string>>, label: string): boolean {
  const sign = label.indexOf("=");
  if (sign < 0) return Object.hasOwn(labels, label);
  const key = label.slice(0, sign);
  return Object.hasOwn(labels, key) && labels[key] === label.slice(sign + 1);
}

export const list = (core: Coordinator, input: Input<"queue.list">): Result =>
  pageByName(
    "queues",
    input,
    (from) => core.flow.namesFrom(from),
    (name) => core.queues.text(name),
  );
