/**
 * Flow control: what is set for queues, named limits and pauses, and what follows from it. It owns the tables
 * `queues`, `limits` and `pauses`, the gate of each queue, group and limit, and the turns of groups and queues. What
 * runs behind a gate is counted from the tasks themselves, so a restart and an undo find it; turns and buckets are
 * volatile. A queue without settings and groups costs a task two additions.
 *
 * Everything may change while tasks run: what is set is read at the next task, and whoever sleeps at a gate that may
 * have opened is woken one by one (gates.ts). What runs is never stopped by a limit.
 */

import { Sorted } from "../lib/sorted.ts";
import type { Strategy } from "../wire/queues.ts";
import { Waiting } from "./backlog.ts";
import { type Bucket, Gate, type Gates, type Rate, type Shut } from "./gates.ts";
import type { Stream } from "./lanes.ts";
import type { Store, Table } from "./store.ts";
import type { TaskSpec } from "./tasks.ts";

export type BacklogPolicy = "refuse" | "drop-oldest" | "drop-newest" | "keep-latest";
export type Backlog = { readonly max: number; readonly policy: BacklogPolicy };

/** What was set for a queue; there is none where nothing is. Null: not limited. */
export type QueueRecord = {
  readonly name: string;
  readonly concurrency: number | null;
  readonly rate: Rate | null;
  readonly groupConcurrency: number | null;
  readonly groupRate: Rate | null;
  readonly weight: number | null;
  readonly groupWeights: Readonly<Record<string, number>>;
  readonly backlog: Backlog | null;
  readonly strategy: Strategy | null;
  readonly revision: number;
};

export type LimitRecord = {
  readonly name: string;
  readonly concurrency: number | null;
  readonly rate: Rate | null;
  readonly revision: number;
};

/** Of a queue, or of one group of it. Its key is `queue`, or `queue group`: names have no spaces. */
export type PauseRecord = {
  readonly queue: string;
  readonly group: string | null;
  readonly since: number;
  /** On the wall clock; 0: until it is resumed. */
  readonly until: number;
  readonly by: string;
  readonly reason: string | null;
  readonly revision: number;
};

export const pauseKey = (queue: string, group: string | null): string =>
  group === null ? queue : `${queue} ${group}`;

export type ShutGate = { gate: Gate; why: Shut };

/** Why a gate is shut, in words. */
export function shutInWords({ gate, why }: ShutGate): string {
  const of = `${gate.kind} ${gate.name}`;
  switch (why) {
    case "paused":
      return `${of} is paused`;
    case "concurrency":
      return `${gate.running} tasks of ${of} run; its limit is ${gate.concurrency}`;
    case "rate": {
      const { count, perMs } = (gate.bucket as Bucket).rate;
      return `${of} has started as many tasks as its rate allows, ${count} in ${perMs} ms`;
    }
  }
}

/** A group that has tasks, or had some so lately that it matters for its turn or its rate. */
export class Group {
  readonly gate: Gate;
  /** The finish tag of its next task. */
  turn = 0;
  weight = 1;
  /** Its streams, and the tasks in them. */
  streams = 0;
  queued = 0;
  resting = false;

  constructor(
    readonly queue: QueueFlow,
    /** Empty: the nameless group. */
    readonly name: string,
  ) {
    this.gate = new Gate("group", name);
  }
}

export class QueueFlow {
  readonly gate: Gate;
  readonly groups = new Map<string, Group>();
  settings: QueueRecord | undefined;
  weight = 1;
  strategy: Strategy = "least-loaded";
  /** The newest turn that was taken, and the largest there is. */
  turn = 0;
  turnMax = 0;
  /** The finish tag of its next task among queues. */
  share: number;
  /** Its streams. */
  streams = 0;
  /** Tasks of it are kept, whatever their state. */
  hasTasks = false;
  /** Groups that have streams, and those that are paused. */
  groupsWaiting = 0;
  groupsPaused = 0;
  /** Its tasks that wait, where the oldest may be dropped. */
  waiting: Waiting | null = null;
  /** Idle groups, to be dropped when nothing depends on them any more. */
  readonly resting: Group[] = [];

  constructor(
    readonly name: string,
    share: number,
  ) {
    this.gate = new Gate("queue", name);
    this.share = share;
  }
}

export class Flow {
  readonly settings: Table<QueueRecord>;
  readonly limits: Table<LimitRecord>;
  readonly pauses: Table<PauseRecord>;
  readonly #queues = new Map<string, QueueFlow>();
  /** Their names, for who reads them in pages. */
  readonly #names = new Sorted();
  readonly #limitNames = new Sorted();
  /** By name; the users are streams and a record. */
  readonly #gates = new Map<string, { gate: Gate; users: number }>();
  /** Named groups, and queues with a weight: 0 where they are not used. */
  #groupCount = 0;
  #weighted = 0;
  /** How many queues choose their workers so. */
  readonly #strategies = new Map<Strategy, number>();
  /** The newest share that was taken. */
  #share = 0;
  /** Which resting group was looked at last. */
  #looks = 0;
  /** A bucket is taken to have been empty then. */
  readonly #emptyAt: number;

  constructor(
    store: Store,
    private readonly gates: Gates,
    private readonly clock: () => number,
    private readonly hooks: {
      /** The pause of this key ends then, on the wall clock. */
      pauseEnds: (at: number, key: string) => void;
      /** The queue's tasks that wait, in any order: walked when a policy that drops the oldest is set. */
      waitingIn: (queue: string) => Iterable<TaskSpec>;
      /** No queue chooses its workers so any more. */
      strategyUnused: (strategy: Strategy) => void;
    },
  ) {
    this.settings = store.table("queues");
    this.limits = store.table("limits");
    this.pauses = store.table("pauses");
    // Settings that are there already were recovered: what passed their gates just before is not known.
    const recovered = this.settings.size + this.limits.size > 0;
    this.#emptyAt = recovered ? clock() : Number.NEGATIVE_INFINITY;
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
    this.settings.index([{ change: (before, after) => this.#configured(before, after) }], byName);
    this.limits.index([{ change: (before, after) => this.#limited(before, after) }], byName);
    this.pauses.index([{ change: (before, after) => this.#paused(before, after) }], (a, b) =>
      pauseKey(a.queue, a.group) < pauseKey(b.queue, b.group) ? -1 : 1,
    );
  }

  // --- queues and groups ----------------------------------------------------------------------------------

  queue(name: string): QueueFlow {
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      queue = new QueueFlow(name, this.#share);
      this.#queues.set(name, queue);
      this.#names.add(name);
    }
    return queue;
  }

  /** The queue if anything is known of it. */
  known(name: string): QueueFlow | undefined {
    return this.#queues.get(name);
  }

  /** Forgets a queue of which nothing is kept and nothing is set. */
  dropUnused(queue: QueueFlow): void {
    if (queue.hasTasks || queue.settings !== undefined || queue.gate.paused || queue.groupsPaused > 0) return;
    this.#queues.delete(queue.name);
    this.#names.delete(queue.name);
    for (const name of queue.groups.keys()) if (name !== "") this.#groupCount -= 1;
  }

  group(queue: QueueFlow, name: string): Group {
    let group = queue.groups.get(name);
    if (group !== undefined) return group;
    this.#dropSome(queue.resting);
    group = new Group(queue, name);
    const { settings } = queue;
    group.weight = weightOf(settings, name);
    if (name !== "") {
      group.gate.paused = this.pauses.has(pauseKey(queue.name, name));
      this.#limitGroup(group, settings);
      this.#groupCount += 1;
    }
    queue.groups.set(name, group);
    return group;
  }

  #limitGroup({ gate }: Group, settings: QueueRecord | undefined): void {
    const concurrency = settings?.groupConcurrency ?? Number.POSITIVE_INFINITY;
    gate.limit(concurrency, settings?.groupRate ?? null, this.clock(), this.#emptyAt);
  }

  /** Per-group limits hold for named groups alone. */
  gatesOf(queue: QueueFlow, group: Group, limits: readonly string[]): Gate[] {
    const gates = [queue.gate];
    if (group.name !== "") gates.push(group.gate);
    for (const name of limits) gates.push(this.#gate(name).gate);
    return gates;
  }

  #gate(name: string): { gate: Gate; users: number } {
    let known = this.#gates.get(name);
    if (known === undefined) {
      known = { gate: new Gate("limit", name), users: 0 };
      this.#gates.set(name, known);
    }
    return known;
  }

  #release(name: string): void {
    const known = this.#gates.get(name);
    if (known?.users === 0 && known.gate.running === 0) this.#gates.delete(name);
  }

  // --- what streams tell ----------------------------------------------------------------------------------

  streamCame({ group, lane, limits }: Stream): void {
    const { queue } = lane;
    for (const name of limits) this.#gate(name).users += 1;
    if (queue.streams++ === 0) queue.share = Math.max(queue.share, this.#share + 1 / queue.weight);
    if (group.streams++ > 0) return;
    queue.groupsWaiting += 1;
    this.#turn(group, Math.max(group.turn, queue.turn + 1 / group.weight));
  }

  streamWent({ group, lane, limits }: Stream): void {
    const { queue } = lane;
    for (const name of limits) {
      this.#gate(name).users -= 1;
      this.#release(name);
    }
    queue.streams -= 1;
    // Whoever comes next begins a busy period of its own: nobody is behind any more.
    if (queue.streams === 0) queue.turn = queue.turnMax;
    group.streams -= 1;
    if (group.streams > 0) return;
    queue.groupsWaiting -= 1;
    this.#rest(group);
  }

  #turn(group: Group, turn: number): void {
    group.turn = turn;
    if (turn > group.queue.turnMax) group.queue.turnMax = turn;
  }

  /** A group without tasks is kept for as long as it would come back to another turn, or another bucket. */
  #rest(group: Group): void {
    if (group.resting) return;
    group.resting = true;
    group.queue.resting.push(group);
  }

  /** Two looks for each group that comes or rests: so those that can be dropped do not gather. */
  #dropSome(resting: Group[]): void {
    for (let looks = 0; looks < 2 && resting.length > 0; looks++) {
      this.#looks = (this.#looks + 1) % resting.length;
      const group = resting[this.#looks] as Group;
      const busy = group.streams > 0 || group.gate.running > 0;
      if (!busy && this.#matters(group)) continue;
      const last = resting.pop() as Group;
      if (last !== group) resting[this.#looks] = last;
      group.resting = false;
      if (busy) continue;
      group.queue.groups.delete(group.name);
      if (group.name !== "") this.#groupCount -= 1;
    }
  }

  #matters({ queue, turn, weight, gate }: Group): boolean {
    return turn > queue.turn + 1 / weight || (gate.bucket !== null && gate.bucket.fullAt > this.clock());
  }

  // --- what runs ------------------------------------------------------------------------------------------

  /** A task runs: told from the tables, so that a restart and an undo count alike. */
  started(queue: QueueFlow, { options, extras: { group } }: TaskSpec): void {
    queue.gate.running += 1;
    if (group !== null) this.group(queue, group).gate.running += 1;
    for (const name of options.limits) this.#gate(name).gate.running += 1;
  }

  ended(queue: QueueFlow, { options, extras }: TaskSpec): void {
    this.#left(queue.gate);
    if (extras.group !== null) {
      const group = this.group(queue, extras.group);
      this.#left(group.gate);
      if (group.gate.running === 0 && group.streams === 0) this.#rest(group);
      this.#dropSome(queue.resting);
    }
    for (const name of options.limits) {
      this.#left(this.#gate(name).gate);
      this.#release(name);
    }
  }

  #left(gate: Gate): void {
    gate.running -= 1;
    this.gates.mayOpen(gate);
  }

  /** The gates that are shut for the task, and why. */
  shutFor({
    options: { queue, limits },
    extras: { group },
  }: Pick<TaskSpec, "options" | "extras">): ShutGate[] {
    const found: ShutGate[] = [];
    const flow = this.#queues.get(queue);
    if (flow === undefined) return found;
    const gates = limits.map((name) => this.#gates.get(name)?.gate);
    if (group !== null) {
      const of = this.group(flow, group);
      if (of.streams === 0 && of.gate.running === 0) this.#rest(of);
      gates.unshift(of.gate);
    }
    gates.unshift(flow.gate);
    for (const gate of gates) {
      const why = gate?.shut(this.clock()) ?? null;
      if (gate !== undefined && why !== null) found.push({ gate, why });
    }
    return found;
  }

  /** A lease is made: takes its tokens and its turn. `cost`: the slots it takes. */
  leased(spec: TaskSpec, cost: number): void {
    if (this.#groupCount === 0 && this.settings.size === 0 && this.limits.size === 0) return;
    const clock = this.clock();
    const queue = this.queue(spec.options.queue);
    queue.gate.bucket?.take(clock);
    for (const name of spec.options.limits) this.#gates.get(name)?.gate.bucket?.take(clock);
    const group = queue.groups.get(spec.extras.group ?? "");
    if (group !== undefined) {
      group.gate.bucket?.take(clock);
      if (queue.groups.size > 1) {
        // A group that nobody could serve for a while does not save up turns.
        queue.turn = Math.max(queue.turn, group.turn);
        this.#turn(group, queue.turn + cost / group.weight);
      }
    }
    if (this.#weighted === 0) return;
    this.#share = Math.max(this.#share, queue.share);
    queue.share = this.#share + cost / queue.weight;
  }

  // --- what is set ----------------------------------------------------------------------------------------

  #configured(before: QueueRecord | undefined, after: QueueRecord | undefined): void {
    const queue = this.queue((after ?? (before as QueueRecord)).name);
    queue.settings = after;
    const clock = this.clock();
    const concurrency = after?.concurrency ?? Number.POSITIVE_INFINITY;
    queue.gate.limit(concurrency, after?.rate ?? null, clock, this.#emptyAt);
    this.gates.mayOpen(queue.gate);
    for (const group of queue.groups.values()) {
      group.weight = weightOf(after, group.name);
      if (group.name === "") continue;
      this.#limitGroup(group, after);
      this.gates.mayOpen(group.gate);
    }
    queue.weight = after?.weight ?? 1;
    queue.strategy = after?.strategy ?? "least-loaded";
    this.#chooses(after?.strategy ?? null, 1);
    this.#chooses(before?.strategy ?? null, -1);
    const policy = after?.backlog?.policy;
    if (policy !== before?.backlog?.policy) {
      const drops = policy === "drop-oldest" || policy === "keep-latest";
      queue.waiting = drops ? new Waiting(policy === "keep-latest") : null;
      if (drops) for (const spec of this.hooks.waitingIn(queue.name)) queue.waiting?.add(spec);
    }
    const had = before !== undefined && before.weight !== null;
    const has = after !== undefined && after.weight !== null;
    if (had !== has) this.#weighted += has ? 1 : -1;
    if (had && this.#weighted === 0) this.#evenOut();
    this.dropUnused(queue);
  }

  #chooses(strategy: Strategy | null, change: number): void {
    if (strategy === null) return;
    const count = (this.#strategies.get(strategy) ?? 0) + change;
    this.#strategies.set(strategy, count);
    if (count === 0) this.hooks.strategyUnused(strategy);
  }

  /** No queue has a weight any more: all stand alike. Shares only grow, so they meet at the largest. */
  #evenOut(): void {
    for (const { share } of this.#queues.values()) this.#share = Math.max(this.#share, share);
    for (const queue of this.#queues.values()) queue.share = this.#share;
  }

  #limited(before: LimitRecord | undefined, after: LimitRecord | undefined): void {
    const { name } = after ?? (before as LimitRecord);
    if (before === undefined) this.#limitNames.add(name);
    else if (after === undefined) this.#limitNames.delete(name);
    const known = this.#gate(name);
    known.users += (after === undefined ? 0 : 1) - (before === undefined ? 0 : 1);
    known.gate.limit(
      after?.concurrency ?? Number.POSITIVE_INFINITY,
      after?.rate ?? null,
      this.clock(),
      this.#emptyAt,
    );
    this.gates.mayOpen(known.gate);
    this.#release(name);
  }

  #paused(before: PauseRecord | undefined, after: PauseRecord | undefined): void {
    const { queue: name, group: groupName } = after ?? (before as PauseRecord);
    const queue = this.queue(name);
    if (groupName !== null)
      queue.groupsPaused += (after === undefined ? 0 : 1) - (before === undefined ? 0 : 1);
    const gate = groupName === null ? queue.gate : queue.groups.get(groupName)?.gate;
    if (gate !== undefined) {
      gate.paused = after !== undefined;
      this.gates.mayOpen(gate);
    }
    if (after === undefined) this.dropUnused(queue);
    else if (after.until > 0) this.hooks.pauseEnds(after.until, pauseKey(name, groupName));
  }

  // --- for those who look ---------------------------------------------------------------------------------

  queues(): Iterable<QueueFlow> {
    return this.#queues.values();
  }

  /** The names of queues in order, from `from` on. */
  namesFrom(from: string): Iterable<string> {
    return this.#names.from(from);
  }

  /** The names of the limits that are set in order, from `from` on. */
  limitNamesFrom(from: string): Iterable<string> {
    return this.#limitNames.from(from);
  }

  /** The gate of a named limit that is used or set. */
  limitGate(name: string): Gate | undefined {
    return this.#gates.get(name)?.gate;
  }

  *limitGates(): Iterable<Gate> {
    for (const { gate } of this.#gates.values()) yield gate;
  }
}

/** A group may be called as something that every object has: toString. */
const weightOf = (settings: QueueRecord | undefined, group: string): number =>
  settings !== undefined && Object.hasOwn(settings.groupWeights, group)
    ? (settings.groupWeights[group] as number)
    : 1;
