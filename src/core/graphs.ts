/**
 * Graphs: tasks that wait for tasks. Two links make one: `after`, which stands in the task that waits, and `parent`,
 * which stands in the one waited for. Neither ever changes, so all of this is derived: a node for each task that is
 * linked, which counts what it waits for and knows who waits for it.
 *
 * A blocked task is *due* when nothing is left to wait for, or when what it waited for failed; `settle` makes it ready
 * or ends it then. Due is a function of the tables alone, so whether it is settled in the entry that made it due (the
 * usual case), in one of many slices, or after a restart, is one and the same: no marker, no list to be kept.
 */
import { PlacedHeap } from "../lib/heap.ts";
import { limits } from "../wire/limits.ts";
import type { Input } from "../wire/operations.ts";
import type { Coordinator } from "./coordinator.ts";
import { endsAt } from "./expiry.ts";
import { ageOf } from "./ids.ts";
import { type Link, type Links, unlinked } from "./options.ts";
import { type Refusal, type Result, refuse } from "./result.ts";
import type { Index, RowName } from "./store.ts";
import {
  cancelOne,
  finish,
  giveBack,
  held,
  isFinal,
  isNew,
  isRefusal,
  noteAbort,
  placeTakenBy,
  readyAt,
  retryOne,
  specOrder,
  standing,
  submitAll,
  type TaskRecord,
  type TaskSpec,
  unknownTask,
} from "./tasks.ts";

/** So many changes of an entry leave what is due to the next one, so that none holds the loop for long. */
const changesPerEntry = 1000;

/** Of the error of a task that ended because another did. */
export const dependencyCode = "dependency";

/** How a task stands for those that wait for it. `gone`: it is kept no longer, or not yet. */
type Standing = "gone" | "pending" | "completed" | "failed";

const standingOf = (record: TaskRecord | undefined): Standing => {
  if (record === undefined) return "gone";
  if (!isFinal(record.state)) return "pending";
  return record.state === "completed" ? "completed" : "failed";
};

/** Whether it takes children from anyone. */
export const isOpen = ({ spec, state, outcome }: TaskRecord): boolean =>
  spec.links.open && outcome.closedAt === 0 && !isFinal(state);

/** One task waits for another. */
class Edge {
  /** Its neighbours among those that wait for the same. */
  previous: Edge | null = null;
  next: Edge | null = null;

  constructor(
    readonly waiting: Node,
    readonly awaited: Node,
    readonly link: Link,
    /** `child`: the link is the parent of what is waited for; `left`: of one that is out, and perhaps not yet of the list. */
    public kind: "after" | "child" | "left",
  ) {}

  get awaitedId(): string {
    return this.kind === "child" ? (this.awaited.spec as TaskSpec).id : this.link.taskId;
  }

  /** What the task that waits calls the other. */
  get name(): string {
    return this.link.name ?? this.awaitedId;
  }
}

/** Edges to children: they come at the end and leave from anywhere, each at constant cost. */
class Children {
  #all: Edge[] = [];
  #outCount = 0;
  #isSorted = true;

  get size(): number {
    return this.#all.length - this.#outCount;
  }

  add(edge: Edge): void {
    this.#all.push(edge);
    this.#isSorted = false;
  }

  left(edge: Edge): void {
    edge.kind = "left";
    this.#outCount += 1;
    if (this.#outCount * 2 > this.#all.length) this.#collect();
  }

  #collect(): void {
    this.#all = this.#all.filter(({ kind }) => kind === "child");
    this.#outCount = 0;
  }

  /** By the age of what is waited for: an undo and a restart bring them in another order than they came in. */
  byAge(): readonly Edge[] {
    if (this.#outCount > 0) this.#collect();
    if (!this.#isSorted)
      this.#all.sort((a, b) => specOrder(a.awaited.spec as TaskSpec, b.awaited.spec as TaskSpec));
    this.#isSorted = true;
    return this.#all;
  }

  /** In no order. */
  *[Symbol.iterator](): Iterator<Edge> {
    for (const edge of this.#all) if (edge.kind === "child") yield edge;
  }
}

const noEdges: readonly Edge[] = [];

/** Of a task; there is one for each that is linked, so no more is kept in it than what is asked of all the time. */
class Node {
  record: TaskRecord | undefined;
  standing: Standing = "gone";
  /** What it waits for: as it named them, and its children; null: it never had one. */
  after: readonly Edge[] = noEdges;
  children: Children | null = null;
  /** Who waits for it: a list whose edges know their neighbours, so that most of them cost nothing but the edge. */
  waiting: Edge | null = null;
  /** Of what it waits for: not done; failed so that it fails; completed; failed, dead or cancelled. */
  pending = 0;
  failing = 0;
  completed = 0;
  failed = 0;
  /** How many that wait for it have not ended. */
  needed = 0;
  /** Among those that are due. */
  place = -1;

  constructor(readonly row: RowName) {}

  get spec(): TaskSpec | undefined {
    return this.record?.spec;
  }

  get total(): number {
    return this.after.length + this.childrenCount;
  }

  get childrenCount(): number {
    return this.children?.size ?? 0;
  }

  get isDue(): boolean {
    const { record } = this;
    if (record?.state !== "blocked") return false;
    return this.failing > 0 || (this.pending === 0 && !isOpen(record));
  }

  /** In the order in which they are listed. */
  *edges(): Iterable<Edge> {
    yield* this.after;
    if (this.children !== null) yield* this.children.byAge();
  }

  wait(edge: Edge): void {
    edge.next = this.waiting;
    if (this.waiting !== null) this.waiting.previous = edge;
    this.waiting = edge;
  }

  waitsNoMore({ previous, next }: Edge): void {
    if (next !== null) next.previous = previous;
    if (previous !== null) previous.next = next;
    else this.waiting = next;
  }
}

/** The place of the first child behind the task of this id, which may be there no more. */
function placeBehind(children: readonly Edge[], id: string): number {
  const { revision, number } = ageOf(id);
  let low = 0;
  let high = children.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const spec = (children[middle] as Edge).awaited.spec as TaskSpec;
    if (spec.revision < revision || (spec.revision === revision && spec.number <= number)) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class Graphs implements Index<TaskRecord> {
  readonly #nodes = new Map<RowName, Node>();
  readonly #due = new PlacedHeap<Node>((a, b) => specOrder(a.spec as TaskSpec, b.spec as TaskSpec) < 0);

  /** The task whose change is being heard, and the record of it that the queues count: they hear of it after this. */
  #changing: Node | null = null;
  #counted: TaskRecord | undefined;

  constructor(private readonly core: Coordinator) {}

  change(before: TaskRecord | undefined, after: TaskRecord | undefined): void {
    const { spec } = (after ?? before) as TaskRecord;
    const { row, links } = spec;
    const isLinked = links !== unlinked;
    if (!isLinked && this.#nodes.size === 0) return;
    let node = this.#nodes.get(row);
    if (node === undefined) {
      if (!isLinked) return;
      node = new Node(row);
      this.#nodes.set(row, node);
    }
    this.#changing = node;
    this.#counted = after === undefined ? before : undefined;
    if (after === undefined) {
      for (const edge of node.after) this.#unlink(edge);
      node.after = noEdges;
      const { parent } = links;
      if (parent !== null)
        for (let edge = node.waiting; edge !== null; edge = edge.next)
          if (edge.link === parent) {
            this.#unlink(edge);
            break;
          }
    }
    this.#see(node, after);
    if (before === undefined && isLinked) this.#linkAll(node, links);
    this.#place(node);
    this.#dropUnused(node);
    this.#changing = null;
  }

  #linkAll(node: Node, { after, parent }: Links): void {
    if (after.length > 0)
      node.after = after.map((link) => this.#link(new Edge(node, this.#node(link.taskId), link, "after")));
    if (parent === null) return;
    const above = this.#node(parent.taskId);
    above.children ??= new Children();
    above.children.add(this.#link(new Edge(above, node, parent, "child")));
    this.#place(above);
  }

  #node(id: string): Node {
    const row = this.core.tasks.naming.row(id);
    let node = this.#nodes.get(row);
    if (node === undefined) {
      node = new Node(row);
      this.#nodes.set(row, node);
      this.#see(node, this.core.tasks.get(row));
      this.#place(node);
    }
    return node;
  }

  #dropUnused(node: Node): void {
    const { record } = node;
    // Blocked and left by all it waited for, it is due.
    if (record !== undefined && (record.spec.links !== unlinked || record.state === "blocked")) return;
    if (node.total === 0 && node.waiting === null) this.#nodes.delete(node.row);
  }

  /** Takes over how the task stands. To place the node is the caller's, once it knows what it waits for. */
  #see(node: Node, record: TaskRecord | undefined): void {
    const was = node.standing;
    const is = standingOf(record);
    this.#due.delete(node);
    node.record = record;
    if (was === is) return;
    for (let edge = node.waiting; edge !== null; edge = edge.next) this.#count(edge, -1);
    node.standing = is;
    for (let edge = node.waiting; edge !== null; edge = edge.next) {
      this.#count(edge, 1);
      this.#place(edge.waiting);
    }
    if (was !== "pending" && is !== "pending") return;
    const by = is === "pending" ? 1 : -1;
    for (const edge of node.after) this.#need(edge.awaited, by);
    if (node.children !== null) for (const edge of node.children) this.#need(edge.awaited, by);
  }

  #link(edge: Edge): Edge {
    edge.awaited.wait(edge);
    this.#count(edge, 1);
    if (edge.waiting.standing === "pending") this.#need(edge.awaited, 1);
    return edge;
  }

  #unlink(edge: Edge): void {
    const { waiting, awaited } = edge;
    this.#count(edge, -1);
    if (waiting.standing === "pending") this.#need(awaited, -1);
    awaited.waitsNoMore(edge);
    // A child leaves with its link; whoever waits gives up its list as a whole.
    const isChild = edge.kind === "child";
    if (isChild) waiting.children?.left(edge);
    this.#place(waiting);
    this.#dropUnused(isChild ? waiting : awaited);
  }

  /** Counts what the edge says of the task that waits. */
  #count({ waiting, awaited, link }: Edge, by: 1 | -1): void {
    switch (awaited.standing) {
      case "pending":
        waiting.pending += by;
        return;
      case "completed":
        waiting.completed += by;
        return;
      case "failed":
        waiting.failed += by;
        if (link.onFail === "fail") waiting.failing += by;
        else if (link.onFail === "wait") waiting.pending += by;
        return;
      case "gone":
        // It ended and is kept no longer: it counts as done.
        return;
    }
  }

  #need(node: Node, by: 1 | -1): void {
    const wasNeeded = node.needed > 0;
    node.needed += by;
    const isNeeded = node.needed > 0;
    if (wasNeeded === isNeeded || (node.standing !== "completed" && node.standing !== "failed")) return;
    const record = node === this.#changing ? this.#counted : node.record;
    // In recovery there are no queues yet: they ask when they see the task.
    if (record !== undefined) this.core.queues?.neededChanged(record, isNeeded);
  }

  #place(node: Node): void {
    if (node.isDue) this.#due.update(node);
    else this.#due.delete(node);
  }

  // --- what others ask --------------------------------------------------------------------------------------

  /** Some task is due to be made ready, or to end. */
  get isDue(): boolean {
    return this.#due.size > 0;
  }

  /** Whether a task that has not ended waits, or waited, for this one: it is kept until that has. */
  isNeeded(spec: TaskSpec): boolean {
    return this.#nodes.size > 0 && (this.#nodes.get(spec.row)?.needed ?? 0) > 0;
  }

  hasDependencies(spec: TaskSpec): boolean {
    return this.#nodes.size > 0 && (this.#nodes.get(spec.row)?.total ?? 0) > 0;
  }

  childrenCount(spec: TaskSpec): number {
    return this.#nodes.get(spec.row)?.childrenCount ?? 0;
  }

  /** Whether it has something to wait for; of a task that is to come back: as it would then. */
  mustWait({ spec, outcome }: TaskRecord): boolean {
    const { row, links } = spec;
    const node = this.#nodes.get(row);
    if ((node?.pending ?? 0) > 0 || (links.open && outcome.closedAt === 0)) return true;
    return node?.record === undefined && links.after.some((link) => this.#says(link) === "wait");
  }

  /** The first task because of which this one would end; the same of one that is to come back. */
  failingOf({ row, links }: TaskSpec): TaskSpec | undefined {
    const node = this.#nodes.get(row);
    if (node?.record === undefined) {
      const failing = links.after.find((link) => this.#says(link) === "end");
      if (failing !== undefined) return this.core.tasks.get(failing.taskId)?.spec;
    }
    if (node === undefined || node.failing === 0) return undefined;
    for (const { awaited, link } of node.edges())
      if (awaited.standing === "failed" && link.onFail === "fail") return awaited.spec as TaskSpec;
    return undefined;
  }

  /** What a link of a task that is not there would have it do, as `#count` counts for those that are. */
  #says({ taskId, onFail }: Link): "wait" | "end" | "go" {
    const standing = standingOf(this.core.tasks.get(taskId));
    if (standing === "failed") return onFail === "fail" ? "end" : onFail === "wait" ? "wait" : "go";
    return standing === "pending" ? "wait" : "go";
  }

  /** Tasks that wait for this one, have ended, and may have because it failed. */
  *endedWith({ row }: TaskSpec): Iterable<TaskSpec> {
    for (let edge = this.#nodes.get(row)?.waiting ?? null; edge !== null; edge = edge.next)
      if (edge.link.onFail === "fail" && edge.waiting.standing === "failed")
        yield edge.waiting.spec as TaskSpec;
  }

  /** Tasks that this one waits for and that have not ended. */
  *pendingOf({ row }: TaskSpec): Iterable<TaskSpec> {
    for (const { awaited } of this.#nodes.get(row)?.edges() ?? [])
      if (awaited.standing === "pending") yield awaited.spec as TaskSpec;
  }

  /** How a task stands in its graph, as JSON text; null: in none. */
  viewOf(record: TaskRecord): string | null {
    if (this.#nodes.size === 0) return null;
    const { spec } = record;
    const node = this.#nodes.get(spec.row);
    const { parent } = spec.links;
    if (node === undefined || (node.total === 0 && spec.links === unlinked)) return null;
    return (
      `{"parentId":${parent === null ? null : `"${parent.taskId}"`},"open":${isOpen(record)},` +
      `"total":${node.total},"pending":${node.pending},"completed":${node.completed},"failed":${node.failed}}`
    );
  }

  /** What became of the tasks it waited for, as the end of an assignment's text; empty where that is too much. */
  resultsOf(spec: TaskSpec): string {
    if (this.#nodes.size === 0) return "";
    const node = this.#nodes.get(spec.row);
    if (node === undefined || node.total === 0 || node.total > limits.dependenciesPushedMax) return "";
    const names = new Set<string>();
    let text = "";
    for (const edge of node.edges()) {
      // A child may be called as something else is that was waited for: it has its id.
      const name = names.has(edge.name) ? edge.awaitedId : edge.name;
      names.add(name);
      text += `${text === "" ? "" : ","}"${name}":{"taskId":"${edge.awaitedId}",${this.#endText(edge)}}`;
      if (text.length > limits.dependenciesUnitsMax) return "";
    }
    return `,"dependencies":{${text}}`;
  }

  #endText({ awaited }: Edge): string {
    const record = this.core.tasks.get(awaited.row);
    if (record === undefined) return `"state":null,"result":null,"error":null`;
    const { result, error } = record.outcome;
    return `"state":"${record.state}","result":${result},"error":${error === null ? null : JSON.stringify(error)}`;
  }

  /** A page of what it waits for, from behind the cursor on. */
  page(spec: TaskSpec, cursor: string | undefined, limit: number): string {
    const node = this.#nodes.get(spec.row);
    let text = "";
    let count = 0;
    let next: string | null = null;
    const isFull = () => count === limit || text.length >= limits.answerUnitsMax;
    const add = (edge: Edge) => {
      const type = edge.awaited.spec?.options.type;
      text +=
        `${count === 0 ? "" : ","}{"name":"${edge.name}","taskId":"${edge.awaitedId}","relation":"${edge.kind}",` +
        `"onFail":"${edge.link.onFail}","type":${type === undefined ? null : `"${type}"`},${this.#endText(edge)}}`;
      count += 1;
    };
    if (node !== undefined) {
      const { after } = node;
      const isChild = cursor?.includes("-") === true;
      let place = isChild ? after.length : Number(cursor ?? 0);
      for (; place < after.length && !isFull(); place++) add(after[place] as Edge);
      next = `${place}`;
      const children = node.children?.byAge() ?? noEdges;
      let child = isChild ? placeBehind(children, cursor as string) : 0;
      for (; child < children.length && !isFull(); child++) {
        add(children[child] as Edge);
        next = (children[child] as Edge).awaitedId;
      }
    }
    return `{"dependencies":[${text}],"cursor":${isFull() ? `"${next}"` : null}}`;
  }

  // --- what becomes of those that wait ----------------------------------------------------------------------

  /** Inside a transaction: makes ready or ends what is due, as far as it fits into the entry. */
  settle(): void {
    const { core } = this;
    for (;;) {
      const node = this.#due.top;
      if (node === undefined || core.store.changeCount >= changesPerEntry) return;
      const record = core.tasks.get(node.row) as TaskRecord;
      const failing = this.failingOf(record.spec);
      if (failing === undefined) unblock(core, record);
      else endFor(core, record, core.tasks.get(failing.row) as TaskRecord);
    }
  }

  /** For checks. */
  nodeOf(id: string): Readonly<Node> | undefined {
    return this.#nodes.get(this.core.tasks.naming.row(id));
  }
  get dueIds(): string[] {
    return this.#due.items().map(({ spec }) => (spec as TaskSpec).id);
  }
  get size(): number {
    return this.#nodes.size;
  }
}

/** Nothing is left to wait for. */
function unblock(core: Coordinator, record: TaskRecord): void {
  const { spec, outcome } = record;
  const runAt = readyAt(spec) > core.now ? readyAt(spec) : 0;
  core.tasks.put(spec.row, {
    ...record,
    state: runAt > 0 ? "scheduled" : "queued",
    runAt,
    outcome: spec.options.ttlMs === 0 ? outcome : { ...outcome, readyAt: core.now },
    revision: core.store.nextRevision,
  });
}

/** What it waited for did not complete, and it was not to go on then. */
function endFor(core: Coordinator, record: TaskRecord, other: TaskRecord): void {
  const reason = `task ${other.spec.id} (${other.spec.options.type}), for which it waited, is ${other.state}`;
  const why = other.outcome.error?.message ?? other.outcome.reason;
  const message = (why === null ? reason : `${reason}: ${why}`).slice(0, limits.errorMessageLengthMax);
  const error = { message, code: dependencyCode };
  if (other.state === "cancelled") cancelOne(core, record, error, reason);
  else {
    core.metrics.tasksFailed++;
    finish(core, record, "failed", { result: null, error, reason });
  }
}

/** The task because of which this one ended, as it was written then; null: it did not end because of another. */
export function endedBy({ outcome: { error, reason } }: TaskRecord): string | null {
  if (error?.code !== dependencyCode || reason === null) return null;
  return /^task (\S+) \(.*\), for which it waited, is /.exec(reason)?.[1] ?? null;
}

/** Cancels what a cancelled task waits for, all the way down, but what another task waits for too. */
export function cancelBelow(core: Coordinator, spec: TaskSpec, reason: string): void {
  const specs = [spec];
  for (const above of specs)
    for (const below of [...core.graphs.pendingOf(above)]) {
      if (core.graphs.isNeeded(below)) continue;
      const record = core.tasks.get(below.row) as TaskRecord;
      if (record.state === "running") noteAbort(core, record);
      cancelOne(core, record, record.outcome.error, reason);
      specs.push(below);
    }
}

/** Retries what ended because a task that is retried did, all the way up, as far as nothing else hinders it. */
export function retryAbove(core: Coordinator, spec: TaskSpec): Refusal | null {
  const specs = [spec];
  for (const below of specs)
    for (const above of [...core.graphs.endedWith(below)]) {
      const record = core.tasks.get(above.row) as TaskRecord;
      if (record.outcome.error?.code !== dependencyCode) continue;
      if (core.graphs.failingOf(above) !== undefined) continue;
      if (endsAt({ ...record, state: "blocked" }) <= core.now) continue;
      if (placeTakenBy(core, record) !== undefined) continue;
      const busy = core.limits.refuseSubmit(1);
      if (busy !== null) return busy;
      retryOne(core, record);
      specs.push(above);
    }
  return null;
}

// --- operations -------------------------------------------------------------------------------------------

export function submit(core: Coordinator, { tasks }: Input<"graph.submit">): Result {
  const made = submitAll(core, tasks, (i) => `/tasks/${i}`);
  if ("error" in made) return made;
  const duplicates: number[] = [];
  const ids = made.map((one, i) => {
    if (isNew(one)) return one.spec.id;
    duplicates.push(i);
    return one.id;
  });
  return { ok: `{"ids":["${ids.join('","')}"],"duplicates":[${duplicates.join(",")}]}` };
}

/** The attempt ends, uncharged; the task is blocked until its children are done, and runs again. */
export function wait(core: Coordinator, input: Input<"task.wait">): Result {
  const record = held(core, input);
  if (isRefusal(record)) return record;
  if (core.graphs.childrenCount(record.spec) === 0)
    return refuse("wrong-state", `task ${input.taskId} has no children to wait for`);
  giveBack(core, record, "blocked");
  if (core.graphs.isDue) core.graphs.settle();
  return standing(core.tasks.get(record.spec.row) as TaskRecord);
}

/** An open task gets no more children. */
export function close(core: Coordinator, input: Input<"task.close">): Result {
  const record = core.tasks.get(input.taskId);
  if (record === undefined) return unknownTask(input.taskId);
  const { spec, outcome } = record;
  if (!spec.links.open) return refuse("wrong-state", `task ${input.taskId} was not submitted as open`);
  if (outcome.closedAt !== 0) return standing(record);
  if (isFinal(record.state))
    return refuse(
      "wrong-state",
      `task ${input.taskId} is ${record.state}; an open task that has not ended is closed`,
    );
  const closed = {
    ...record,
    outcome: { ...outcome, closedAt: core.now },
    revision: core.store.nextRevision,
  };
  core.tasks.put(spec.row, closed);
  if (core.graphs.isDue) core.graphs.settle();
  return standing(core.tasks.get(spec.row) as TaskRecord);
}

export function dependencies(core: Coordinator, input: Input<"task.dependencies">): Result {
  const record = core.tasks.get(input.taskId);
  if (record === undefined) return unknownTask(input.taskId);
  return { ok: core.graphs.page(record.spec, input.cursor, input.limit ?? 100) };
}
