/**
 * What the docs promise, held against what happens. The model is written from the promises (DESIGN, PROTOCOL, the
 * table of operations), not from the code: it keeps its own small account of every task, of the operations that were
 * answered, and of the records that were committed, and throws a Violation at the first thing that no promise allows.
 *
 * It sees four things: operations as they are carried out (`running`, `ran`), transactions as they are committed,
 * undone or lost in a crash (`committed`, `undone`, `recovered`), and everything that leaves the daemon (`left`).
 */
import { check } from "../../src/core/check.ts";
import { encodeEntry } from "../../src/core/codec.ts";
import type { Cause, Coordinator } from "../../src/core/coordinator.ts";
import type { Rate } from "../../src/core/gates.ts";
import type { LockRecord } from "../../src/core/locks.ts";
import type { Result } from "../../src/core/result.ts";
import type { ScheduleRecord } from "../../src/core/schedules.ts";
import type { Change, Store, Transaction } from "../../src/core/store.ts";
import { leaseOf, type TaskRecord } from "../../src/core/tasks.ts";
import type { WorkerRecord } from "../../src/core/workers.ts";
import type { Recovered } from "../../src/log/log.ts";
import { limits } from "../../src/wire/limits.ts";
import { type CoreOperationName, operations } from "../../src/wire/operations.ts";
import { priorities, type TaskState, type TaskSubmit } from "../../src/wire/tasks.ts";
import { collide } from "../support/locks.ts";
import type { Disk } from "./disk.ts";
import { Violation, type World } from "./world.ts";

export type Promises = {
  graceMs: number;
  silenceMs: number;
  pushAckMs: number;
  stalledMs: number;
  ageingMs: number;
  interruptionsMax: number;
  retentionMs: number;
  retentionCount: number;
};

type Lease = {
  workerId: string;
  token: number;
  leaseMs: number;
  /** By uptime: when it was made or last extended, and when the attempt began. */
  grantedAt: number;
  startedAt: number;
};

/** A task as it stood from a revision on. */
type Version = {
  revision: number;
  state: TaskState;
  /** Attempts that ended badly and count. */
  charged: number;
  interruptions: number;
  /** On the wall clock: it must not start earlier. */
  notBefore: number;
  lease: Lease | null;
  /** Of the newest lease, also when it is over. */
  token: number;
  result: string | null;
  finishedAt: number;
};

type Link = { id: string; onFail: string };
type Task = {
  id: string;
  number: number;
  createdRevision: number;
  submit: TaskSubmit;
  /** What it was said to wait for, children aside. */
  after: Link[];
  /** On the wall clock: it must not start earlier, whatever it waits for. */
  readyAt: number;
  versions: Version[];
};

type Move = { revision: number; task: Task; isReturn: boolean };

const top = (task: Task): Version => task.versions[task.versions.length - 1] as Version;
const finals: readonly TaskState[] = ["completed", "failed", "dead", "cancelled"];
const isFinal = (state: TaskState) => finals.includes(state);
const defaultBackoff = { strategy: "exponential", delayMs: 1000, jitter: 0.5 } as const;

/** The lease clock shows whole ms. */
const roundingMs = 2;
/** How late a revocation may come: the daemon looks four times a second, and counts from what left last. */
const revokeLateMs = 1500;

/** Of the operations that change a task; which fields there are depends on the operation, and was validated. */
type AnyInput = {
  taskId: string;
  workerId: string;
  token: number;
  result?: unknown;
  final?: boolean;
  retryInMs?: number;
  forMs?: number;
  leaseMs?: number;
  cascade?: boolean;
  holding?: { taskId: string; token: number }[];
  task?: TaskSubmit;
};

type Operation = { op: string; input: unknown; cause: Cause };

/** Of a transaction the step that is meant. */
function stepOf(running: Operation | null, op: string): Operation | null {
  if (running?.op !== "transaction.run") return running;
  const { then } = running.input as { then: { operation: string; input: unknown }[] };
  const step = then.find(({ operation }) => operation === op);
  return step === undefined ? running : { op, input: step.input, cause: running.cause };
}

/** Something that must be pushed to a worker's connection once it is durable. */
type Due = { revision: number; sink: object; key: string };

export class Model {
  readonly tasks = new Map<string, Task>();
  /** Ids of the tasks made from the submit with this tag. */
  readonly byTag = new Map<string, string[]>();
  readonly removed = new Set<string>();
  /** Every commit that stands: what a watcher must be told. */
  readonly commits: { revision: number; table: string; key: string }[] = [];
  /** Revisions that were given up: from (not included) and to (included). */
  readonly voided: { above: number; through: number }[] = [];
  /** Somebody sets limits, and tasks have groups. */
  regulated = false;
  /** The highest revision that anyone outside was told of. */
  told = 0;
  /** The time by which the daemon decides: the wall clock's, but it never goes back while the daemon lives. */
  #wall = 0;
  #recoveredAt = 0;
  /** Entries up to here that are not durable were taken back: naming their revisions tells nothing. */
  undoneThrough = 0;
  #lastToken = 0;
  #running: Operation | null = null;
  #answers = new Map<string, { text: string; revision: number; at: number }>();
  #acked = new Map<string, number>();
  #heard = new Map<string, number>();
  /** Up to when a worker's beats vouch for its leases, and did before the newest. */
  #vouched = new Map<string, { until: number; before: number }>();
  /** By worker: up to which token it said that its pushes came, and whether some were taken back since. */
  #acknowledged = new Map<string, number>();
  #deaf = new Set<string>();
  /** How long its handlers stood still, as it last said. */
  #stood = new Map<string, number>();
  /** By worker: its pushes on this connection that it did not acknowledge, oldest first. */
  #unheard = new Map<string, { id: string; token: number; at: number }[]>();
  /** Leases that went back with a registration, and its revision. */
  readonly #givenBack = new Map<string, number>();
  #due: Due[] = [];

  /** The log's rows as of #baseAt, the entries after it. */
  #base = new Map<string, string>();
  /** The same with the entries applied. */
  #rows = new Map<string, string>();
  #baseAt = 0;
  /** What left memory or came back, as a crash may take it back. */
  #moves: Move[] = [];
  /** Tasks that have left memory, by id; of one that came back, too. */
  readonly #gone = new Map<string, Task>();
  #entries: { revision: number; text: string }[] = [];

  constructor(
    readonly world: World,
    readonly promises: Promises,
    /** How long the daemon has been up and running, in ms, over all its lives. */
    readonly uptime: () => number,
    /** By the same clock, since its last start; Infinity on its first. */
    readonly sinceRestart: () => number,
  ) {}

  expect(holds: boolean, promise: string): void {
    if (!holds) throw new Violation(promise);
  }

  // --- operations -----------------------------------------------------------------------------------------

  running(op: string, input: unknown, cause: Cause, now: number): void {
    this.#running = { op, input, cause };
    this.#tellTime(now);
  }

  #tellTime(now: number): void {
    const wall = Math.max(this.world.wall(), this.#recoveredAt);
    const right = this.world.wallWentBack ? now >= wall - roundingMs : Math.abs(now - wall) <= roundingMs;
    this.expect(right && now >= this.#wall, `the daemon takes it for ${now} and it is ${wall}`);
    this.#wall = now;
  }

  /** The operation was carried out; `changed`: it made an entry; `repeated`: it was recognised. */
  ran(result: Result, revision: number, changed: boolean, repeated: boolean): void {
    const { op, input, cause } = this.#running as Operation;
    this.#running = null;
    const isMutation = operations[op as CoreOperationName].kind === "mutation";
    if ("error" in result) this.expect(!changed, `${op} was refused and yet made an entry`);
    if (!isMutation) this.expect(!changed, `${op} made an entry`);
    const named = (input ?? {}) as { workerId?: string; token?: number };
    if (!repeated && named.workerId !== undefined && named.token !== undefined)
      this.named(named.workerId, named.token);
    // Children name the lease of their parent; a submit that is refused earlier was not read so far.
    const parent = op === "task.submit" ? ([input].flat()[0] as TaskSubmit).parent : undefined;
    const isRead = "ok" in result || result.error.code === "lease-lost";
    if (!repeated && parent?.workerId !== undefined && isRead) {
      this.named(parent.workerId, parent.token as number);
      if ("ok" in result) this.heard(parent.workerId);
    }
    if (cause.fence !== undefined && "lock" in cause.fence && !repeated)
      this.#fenced(cause.fence, result, changed);
    if (isMutation && cause.session !== null) this.#answered(op, cause, result, revision, changed);
    if ("ok" in result && !repeated) {
      const { workerId } = (input ?? {}) as { workerId?: string };
      const heard = changed ? says : saysVolatile;
      if (workerId !== undefined && heard.includes(op)) {
        this.heard(workerId);
        const { loopAgeMs } = (input ?? {}) as { loopAgeMs?: number };
        if (op === "worker.heartbeat" && loopAgeMs !== undefined) this.stood(workerId, loopAgeMs);
        if (op === "worker.register") this.stood(workerId, 0);
      }
      if (op === "task.progress") this.#heldBy(op, input as never);
      if (op === "worker.heartbeat") this.#beatAnswered(workerId as string, result.ok);
    }
  }

  #answered(op: string, cause: Cause, result: Result, revision: number, changed: boolean): void {
    const session = cause.session as string;
    const key = `${session}/${cause.seq}`;
    const acked = Math.max(this.#acked.get(session) ?? 0, cause.ackedThrough);
    this.#acked.set(session, acked);
    const known = this.#answers.get(key);
    if (known !== undefined && this.uptime() - known.at < limits.answerAgeMsMax) {
      this.expect(!changed, `${op} ${key} was repeated and had an effect a second time`);
      if ("ok" in result) {
        this.expect(result.ok === known.text, `${op} ${key} was repeated and got another answer`);
        this.world.count("repeated.same");
      } else {
        const { code } = result.error;
        this.expect(
          (code === "already-acknowledged" && cause.seq <= acked) || code === "idempotency-key-reused",
          `${op} ${key} was answered with success, and when repeated refused: ${code}`,
        );
        this.world.count("repeated.refused");
      }
    } else if (changed && "ok" in result) {
      this.#answers.set(key, { text: result.ok, revision, at: this.uptime() });
    }
  }

  wasAnswered(key: string): boolean {
    return this.#answers.has(key);
  }

  /** The worker said something: its leases go on from here. */
  #noteGivenBack(revision: number, { key, before, after }: Change<TaskRecord>): void {
    if (before?.state === "running" && after?.state !== "running")
      this.#givenBack.set(`${key} ${leaseOf(before).token}`, revision);
  }

  /** Whether a worker, when it came back, did not name this lease: it cannot begin it after that. */
  wasGivenBack(taskId: string, token: number): boolean {
    const revision = this.#givenBack.get(`${taskId} ${token}`) ?? 0;
    return revision > this.undoneThrough && !this.isVoided(revision);
  }

  heard(workerId: string): void {
    const now = this.uptime();
    this.#heard.set(workerId, now);
    const { until = 0, before = 0 } = this.#vouched.get(workerId) ?? {};
    this.#vouched.set(workerId, { until: now, before: until === now ? before : until });
  }

  /** The worker's newest beat says how long its handlers have stood still. */
  stood(workerId: string, ageMs: number): void {
    const { before = 0 } = this.#vouched.get(workerId) ?? {};
    this.#vouched.set(workerId, { until: Math.max(before, this.uptime() - ageMs), before });
    this.#stood.set(workerId, ageMs);
    if (ageMs >= this.promises.stalledMs) this.world.count("worker.stalled");
  }

  /** What a worker is given must fit what it said of itself on this connection. */
  attached(workerId: string): void {
    this.#acknowledged.delete(workerId);
    this.#unheard.delete(workerId);
    this.#deaf.delete(workerId);
  }

  /** A frame of a connection with these workers arrives at the daemon. */
  arrives(workers: string[], text: string): void {
    for (const { op, input } of JSON.parse(text) as {
      op: string;
      input?: AnyInput & { loopAgeMs?: number };
    }[]) {
      if (op === "session.ping" && input?.loopAgeMs !== undefined)
        for (const workerId of workers) this.stood(workerId, input.loopAgeMs);
      if (op === "worker.register" && input !== undefined) this.#stood.delete(input.workerId);
      // What else names a token does so once it is carried out, over whichever transport.
      if (op === "worker.acknowledge" && input?.token !== undefined && input.workerId !== undefined)
        this.named(input.workerId, input.token);
    }
  }

  /** Whoever names a token got it. */
  named(workerId: string, token: number): void {
    const acknowledged = Math.max(token, this.#acknowledged.get(workerId) ?? 0);
    this.#acknowledged.set(workerId, acknowledged);
    const left = (this.#unheard.get(workerId) ?? []).filter((push) => push.token > acknowledged);
    this.#unheard.set(workerId, left);
    this.#deaf.delete(workerId);
  }

  /** A heartbeat's answer names exactly the leases that stand. */
  #beatAnswered(workerId: string, text: string): void {
    const { leases } = JSON.parse(text) as { leases: { taskId: string; token: number }[] };
    const told = leases.map(({ taskId, token }) => `${taskId}/${token}`).sort();
    const held: string[] = [];
    for (const task of this.tasks.values()) {
      const { lease } = top(task);
      if (lease?.workerId === workerId) held.push(`${task.id}/${lease.token}`);
    }
    this.expect(
      told.join() === held.sort().join(),
      `a heartbeat of ${workerId} told ${told}, it holds ${held}`,
    );
  }

  #heldBy(op: string, input: { taskId: string; workerId: string; token: number }): Version {
    const task = this.tasks.get(input.taskId);
    const lease = task === undefined ? null : top(task).lease;
    if (lease === null || lease.token !== input.token || lease.workerId !== input.workerId)
      throw new Violation(
        `${op} of task ${input.taskId} by ${input.workerId} was accepted under token ${input.token}; its lease is ${JSON.stringify(lease)}`,
      );
    return top(task as Task);
  }

  // --- transactions ---------------------------------------------------------------------------------------

  committed(core: Coordinator, transaction: Transaction): void {
    const { revision, changes } = transaction;
    const { operation } = core;
    this.#tellTime(core.now);
    this.expect(revision > this.told, `revision ${revision} is given again: ${this.told} was told outside`);
    this.expect(revision > this.#lastRevision, `revision ${revision} came after ${this.#lastRevision}`);
    this.#lastRevision = revision;
    const header = { revision, at: 0, clock: 0, operation: "", who: "" };
    const text = encodeEntry(header, changes);
    this.#entries.push({ revision, text });
    applyText(this.#rows, text);
    this.world.trace(operation, text);
    const leased = new Set<string>();
    this.#begun.clear();
    this.#trade(operation, changes);
    // The only transactions that are made submit one task.
    const told = operation === "transaction.run" ? "task.submit" : operation;
    for (const change of changes) {
      this.commits.push({ revision, table: change.table.name, key: change.key });
      if (change.table.name === "tasks" && operation === "worker.register")
        this.#noteGivenBack(revision, change as Change<TaskRecord>);
      if (change.table.name === "tasks")
        this.#task(core, revision, told, change as Change<TaskRecord>, leased);
      else if (change.table.name === "workers") this.#worker(operation, change as Change<WorkerRecord>);
      else if (change.table.name === "locks") this.#lock(revision, change as Change<LockRecord>);
      else if (change.table.name === "schedules")
        this.#schedule(core, operation, change as Change<ScheduleRecord>);
    }
    if (changes.some(({ table }) => table.name === "locks")) this.#line();
  }

  /** A trade is a key, a counter, a task and a lock: all of it in one entry, or nothing. */
  #trade(operation: string, changes: readonly Change[]): void {
    const made = (table: string, isOf: (record: never, key: string) => boolean) =>
      changes.filter(
        ({ table: { name }, key, after }) =>
          name === table && after !== undefined && isOf(after as never, key),
      ).length;
    const keys = made("keys", (_, key) => key.startsWith("once/"));
    const counts = made("keys", (_, key) => key === "once");
    if (operation !== "transaction.run" && keys === 0 && counts === 0) return;
    const tasks = changes.filter(
      ({ table: { name }, before, after }) => name === "tasks" && before === undefined && after !== undefined,
    ).length;
    const locks = made("locks", ({ state }: LockRecord) => state === "held");
    this.expect(
      operation === "transaction.run" && keys === 1 && counts === 1 && tasks === 1 && locks === 1,
      `${operation} made ${keys} of a trade's key, ${counts} of its count, ${tasks} of its task and ${locks} of its lock`,
    );
    this.world.count("trade.made");
  }

  /** What was granted, in entries that stand. */
  #grants: { revision: number; name: string; token: number; exclusive: boolean }[] = [];

  /** A later holder has a higher token than whoever held a name before it in a way that kept it out. */
  #lock(revision: number, { key, before, after }: Change<LockRecord>): void {
    if (after?.state !== "held" || before?.state === "held") return;
    const token = Number(key.split("-")[0]);
    for (const { name, mode } of after.resources) {
      const exclusive = mode === "exclusive";
      for (const one of this.#grants)
        this.expect(
          one.name !== name || !(exclusive || one.exclusive) || one.token < token,
          `lock ${key} holds ${name} under ${token}, after ${one.token}`,
        );
      this.#grants.push({ revision, name, token, exclusive });
    }
    this.world.count(before === undefined ? "lock.atOnce" : "lock.granted");
  }

  #locks(): { id: string; token: number; record: LockRecord }[] {
    return [...this.#rows]
      .filter(([key]) => key.startsWith("lock\t"))
      .map(([key, text]) => {
        const id = key.slice("lock\t".length);
        return { id, token: Number(id.split("-")[0]), record: JSON.parse(text) as LockRecord };
      })
      .sort((a, b) => a.token - b.token);
  }

  /** Each is held exactly if none before it in line is in its way. */
  #line(): void {
    const line = this.#locks();
    for (const [i, { id, record }] of line.entries()) {
      const inTheWay = line.slice(0, i).find((one) => collide(one.record.resources, record.resources));
      this.expect(
        (record.state === "held") === (inTheWay === undefined),
        `lock ${id} is ${record.state}, and ${inTheWay?.id ?? "nobody"} is in its way`,
      );
    }
  }

  /** A change under a lock happens exactly while that is held. */
  #fenced({ lock, token }: { lock: string; token: number }, result: Result, changed: boolean): void {
    const isHeld = this.#locks().some(
      (one) =>
        one.token === token &&
        one.record.state === "held" &&
        one.record.resources.some(({ name }) => name === lock),
    );
    const isRefused = "error" in result && result.error.code === "fence-lost";
    this.expect(
      !changed || isHeld,
      `a change was fenced by lock ${lock} under ${token}, and was made without it`,
    );
    this.expect(
      !isRefused || !isHeld,
      `a change was refused as fence-lost under lock ${lock}, held under ${token}`,
    );
    this.world.count(isRefused ? "lock.fenced" : "lock.wrote");
  }

  #lastRevision = 0;

  /** By schedule: the moments whose tasks this transaction made. */
  readonly #begun = new Map<string, number[]>();

  /** Runs start at moments of their schedule that have come, each once, and as its policies say. */
  #schedule(core: Coordinator, operation: string, { key, before, after }: Change<ScheduleRecord>): void {
    const runs = this.#begun.get(key) ?? [];
    // What follows in the same entry is another look at it: the run before may have been dropped meanwhile.
    this.#begun.delete(key);
    if (operation !== "schedule.fire") {
      this.expect(
        this.#running?.op === operation && operation.startsWith("schedule."),
        `schedule ${key} was changed by ${operation}`,
      );
      return;
    }
    if (before === undefined || after === undefined)
      throw new Violation(`a run made or removed schedule ${key}`);
    const { spec } = before;
    this.expect(
      after.spec === spec && before.state === "active",
      `schedule ${key} ran and is ${before.state}`,
    );
    this.expect(
      after.runsCount === before.runsCount + runs.length,
      `schedule ${key} counts ${after.runsCount - before.runsCount} runs and made ${runs.length} tasks`,
    );
    const queue = spec.task.queue ?? "default";
    const backlog = core.flow.settings.get(queue)?.backlog;
    // Its own runs may have filled the queue: what is left of them comes once there is room.
    const isFull = backlog?.policy === "refuse" && core.queues.waiting(queue) >= backlog.max;
    this.expect(
      after.nextAt > (isFull ? Math.max(0, ...runs) : this.#wall),
      `schedule ${key} goes on at ${after.nextAt}, and it is ${this.#wall}`,
    );
    // What waits may be of a time that a put has replaced since.
    const due = runs.filter((at) => at !== before.waitingAt);
    const late = due.filter((at) => this.#wall - at > 10_000);
    const most = { skip: 0, once: 1, all: spec.missedMax }[spec.missed];
    this.expect(
      late.length <= most,
      `schedule ${key} ran for ${late.length} missed moments (${spec.missed})`,
    );
    for (const at of due)
      this.expect(
        (at - spec.anchorAt) % spec.everyMs === 0 &&
          at > spec.anchorAt &&
          at >= before.nextAt &&
          at <= this.#wall,
        `schedule ${key} ran for ${at}, which is no moment that had come`,
      );
    if (spec.overlap !== "allow" && runs.length > 0) {
      const last = before.lastTaskId === null ? undefined : this.tasks.get(before.lastTaskId);
      // A task that is dropped has ended: the next run does not wait for it.
      const dropsAtOnce = backlog?.policy === "drop-newest";
      this.expect(
        (runs.length === 1 || dropsAtOnce) && (last === undefined || isFinal(top(last).state)),
        `schedule ${key} ran beside its last task (${spec.overlap})`,
      );
    }
    this.world.count("schedule.ran", runs.length);
    this.world.count("schedule.late", late.length);
    this.world.count("schedule.skipped", after.skippedCount - before.skippedCount);
    if (runs.includes(before.waitingAt)) this.world.count("schedule.waited");
  }

  /** What a run submits is what its schedule says, under the key of its moment. */
  #submitOfRun(core: Coordinator, { spec }: TaskRecord): TaskSubmit {
    const idempotencyKey = spec.extras.idempotencyKey as string;
    const [, name, at] = idempotencyKey.split("/") as [string, string, string];
    const schedule = core.schedules.get(name) as ScheduleRecord;
    this.#begun.set(name, [...(this.#begun.get(name) ?? []), Number(at)]);
    return { ...schedule.spec.task, payload: JSON.parse(schedule.spec.payload), idempotencyKey };
  }

  #worker(operation: string, { key, before, after }: Change<WorkerRecord>): void {
    if (after === undefined || operation !== "worker.register") {
      if (after?.state === "offline" && before?.state !== "offline") {
        const silent = this.uptime() - (this.#heard.get(key) ?? 0);
        const { silenceMs } = this.promises;
        this.expect(
          silent >= silenceMs - roundingMs && this.sinceRestart() >= this.promises.graceMs - roundingMs,
          `worker ${key} went offline ${silent.toFixed(1)} ms after it was heard; ${silenceMs} ms are allowed`,
        );
        this.world.count("worker.offline");
      }
      return;
    }
    const input = this.#running?.input as { workerId: string; instanceId?: string; queues?: string[] };
    this.expect(
      this.#running?.op === "worker.register" && input.workerId === key,
      `worker ${key} was registered by nobody`,
    );
    if (before === undefined || before.instanceId === after.instanceId) return;
    this.world.count("worker.replaced");
    if (before.state === "offline") return;
    const silent = this.uptime() - (this.#heard.get(key) ?? 0);
    this.expect(
      silent >= this.promises.silenceMs - roundingMs,
      `worker ${key} was replaced by another instance ${silent.toFixed(1)} ms after it was heard`,
    );
  }

  #task(
    core: Coordinator,
    revision: number,
    operation: string,
    { key, before, after }: Change<TaskRecord>,
    leased: Set<string>,
  ): void {
    if (after === undefined) {
      this.#retired(this.tasks.get(key), key, revision);
      return;
    }
    const gone = operation === "task.retry" ? this.#gone.get(key) : undefined;
    if (before === undefined && gone === undefined) {
      this.#created(core, revision, operation, key, after, leased);
      return;
    }
    if (before === undefined) this.#returned(gone as Task, revision, after);
    const task = this.tasks.get(key);
    this.expect(task !== undefined, `task ${key} changed and was never submitted`);
    const known = task as Task;
    const old = top(known);
    if (before !== undefined) {
      this.expect(
        old.state === before.state,
        `task ${key} was ${old.state} and changed from ${before.state}`,
      );
      this.expect(before.spec === after.spec, `what was submitted of task ${key} changed`);
    }
    known.versions.push(this.#next(core, revision, operation, known, old, after, leased));
    const now = top(known);
    const attempts = known.submit.attempts ?? 3;
    this.expect(after.attempt <= attempts, `task ${key} is in attempt ${after.attempt} of ${attempts}`);
    // A final state keeps the number of the attempt that brought it there.
    if (!isFinal(after.state)) {
      const charged = now.charged + (now.lease === null ? 0 : 1);
      this.expect(
        after.attempt === charged,
        `task ${key} is ${after.state} by ${operation} and counts ${after.attempt} attempts, there were ${charged}`,
      );
    }
    this.expect(
      after.interruptions === now.interruptions,
      `task ${key} counts ${after.interruptions} interruptions, there were ${now.interruptions}`,
    );
    this.world.count(`task.${after.state}`, before?.state === after.state ? 0 : 1);
  }

  #created(
    core: Coordinator,
    revision: number,
    operation: string,
    id: string,
    record: TaskRecord,
    leased: Set<string>,
  ): void {
    const current = stepOf(this.#running, operation);
    const asked =
      current !== null &&
      current.op === operation &&
      (operation === "task.submit" || operation === "graph.submit" || operation === "task.assign");
    const isRun = current === null && operation === "schedule.fire";
    this.expect(asked || isRun, `task ${id} was made by ${operation}`);
    const { spec } = record;
    const { options } = spec;
    const input = current?.input as { task?: TaskSubmit; tasks?: TaskSubmit[] };
    const submitted = isRun
      ? this.#submitOfRun(core, record)
      : operation === "task.submit"
        ? (input as TaskSubmit | TaskSubmit[])
        : (input.tasks ?? input.task);
    const submit = (Array.isArray(submitted) ? submitted[spec.number] : submitted) as TaskSubmit;
    const same =
      options.queue === (submit.queue ?? "default") &&
      options.type === submit.type &&
      spec.payload === JSON.stringify(submit.payload ?? null) &&
      priorities[options.priority] === (submit.priority ?? "normal") &&
      options.attempts === (submit.attempts ?? 3) &&
      options.kind === (submit.kind ?? null) &&
      options.leaseMs === (submit.leaseMs ?? 30_000) &&
      options.timeoutMs === (submit.timeoutMs ?? 0) &&
      spec.extras.group === (submit.group ?? null) &&
      options.limits.join() === [...(submit.limits ?? [])].sort().join() &&
      options.capabilities.join() === [...(submit.capabilities ?? [])].sort().join() &&
      options.requires.join() === [...(submit.requires ?? [])].sort().join() &&
      options.prefers.join() === (submit.prefers ?? []).join() &&
      options.slots === (submit.slots ?? 1) &&
      spec.extras.workerId === (submit.workerId ?? null) &&
      spec.extras.sticky === (submit.sticky ?? null);
    if (!same) throw new Violation(`task ${id} is not what was submitted: ${JSON.stringify(spec)}`);
    if (submit.idempotencyKey !== undefined)
      for (const other of this.tasks.values())
        this.expect(
          other.submit.idempotencyKey !== submit.idempotencyKey || other.submit.queue !== submit.queue,
          `tasks ${other.id} and ${id} were both made under the idempotency key ${submit.idempotencyKey}`,
        );
    const tag = tagOf(submit);
    if (tag !== null) {
      const ids = this.byTag.get(tag) ?? [];
      this.expect(ids.length === 0, `one submit made two tasks, ${ids} and ${id}`);
      this.byTag.set(tag, [...ids, id]);
    }
    const delayMs = submit.delayMs ?? 0;
    const refs = Array.isArray(submitted) ? submitted.map(({ ref }) => ref) : [];
    const after = (submit.after ?? []).map((one) => {
      const { task, onFail = "fail" } = typeof one === "string" ? { task: one } : one;
      return { id: refs.includes(task) ? `${revision}-${refs.indexOf(task)}` : task, onFail };
    });
    const version: Version = {
      revision,
      state: after.length > 0 ? "blocked" : delayMs > 0 ? "scheduled" : "queued",
      charged: 0,
      interruptions: 0,
      notBefore: delayMs > 0 ? this.#wall + delayMs : 0,
      lease: null,
      token: 0,
      result: null,
      finishedAt: 0,
    };
    const task: Task = {
      id,
      number: spec.number,
      createdRevision: revision,
      submit,
      after,
      readyAt: version.notBefore,
      versions: [version],
    };
    this.tasks.set(id, task);
    this.world.count("task.submitted");
    if (record.state === "running")
      task.versions[0] = this.#leased(core, revision, operation, task, version, record, leased);
    else this.expect(record.state === version.state, `task ${id} was submitted and is ${record.state}`);
  }

  #retired(task: Task | undefined, id: string, revision: number): void {
    this.expect(task !== undefined && isFinal(top(task).state), `task ${id} was removed before it ended`);
    for (const other of this.tasks.values())
      this.expect(
        isFinal(top(other).state) || !this.#waitsFor(other).some((link) => link.id === id),
        `task ${id} was removed while ${other.id} waits for it`,
      );
    const { finishedAt } = top(task as Task);
    const { retentionMs, retentionCount } = this.promises;
    let younger = 0;
    for (const other of this.tasks.values())
      if (isFinal(top(other).state) && other.submit.queue === task?.submit.queue) younger++;
    this.expect(
      this.#wall - finishedAt >= retentionMs || younger > retentionCount,
      `task ${id} was removed ${this.#wall - finishedAt} ms after it ended, one of ${younger} kept`,
    );
    this.world.count("task.retired");
    this.#gone.set(id, task as Task);
    this.#move({ revision, task: task as Task, isReturn: false });
  }

  /** A retry brings a task back from the archive. */
  #returned(task: Task, revision: number, { spec }: TaskRecord): void {
    const input = stepOf(this.#running, "task.retry")?.input as AnyInput | undefined;
    this.expect(input?.taskId === task.id, `task ${task.id} came back, and nobody asked for it`);
    this.expect(!this.tasks.has(task.id), `task ${task.id} came back, and had not left`);
    const { payload, priority } = task.submit;
    this.expect(
      spec.payload === JSON.stringify(payload ?? null) &&
        priorities[spec.options.priority] === (priority ?? "normal"),
      `task ${task.id} came back as another: ${JSON.stringify(spec)}`,
    );
    this.world.count("task.returned");
    this.#move({ revision, task, isReturn: true });
  }

  /** Leaves memory, or comes back. */
  #move(move: Move): void {
    this.#moves.push(move);
    this.#carryOut(move.task, move.isReturn);
  }

  #carryOut(task: Task, isThere: boolean): void {
    if (isThere) {
      this.tasks.set(task.id, task);
      this.removed.delete(task.id);
    } else {
      this.tasks.delete(task.id);
      this.removed.add(task.id);
    }
  }

  /** All that a task waits for or has waited for. */
  #waitsFor(task: Task): Link[] {
    const children: Link[] = [];
    for (const { id, submit } of this.tasks.values())
      if (submit.parent?.taskId === task.id) children.push({ id, onFail: submit.parent.onFail ?? "fail" });
    return [...task.after, ...children];
  }

  /** Whether what a link names is over for who waits: completed, ignored, or kept no longer. */
  #isDone({ id, onFail }: Link): boolean {
    const state = this.state(id);
    return state === undefined || state === "completed" || (isFinal(state) && onFail === "ignore");
  }

  /** A blocked task goes on when all is done, and ends when something failed that it does not ignore. */
  #unblocked(base: Version, task: Task, after: TaskRecord): Version {
    const links = this.#waitsFor(task);
    const failed = links.filter(({ onFail }) => onFail === "fail").map(({ id }) => this.state(id));
    this.world.count(`graph.${after.state}`);
    switch (after.state) {
      case "queued":
      case "scheduled":
        for (const link of links)
          this.expect(
            this.#isDone(link),
            `task ${task.id} is ${after.state} and waits for ${link.id}, which is ${this.state(link.id)}`,
          );
        this.expect(
          (after.state === "scheduled") === task.readyAt > this.#wall,
          `task ${task.id} is ${after.state} at ${this.#wall}, and was to start at ${task.readyAt}`,
        );
        return { ...base, notBefore: after.state === "scheduled" ? task.readyAt : 0 };
      case "failed":
      case "cancelled":
        this.expect(
          failed.some((state) =>
            after.state === "cancelled" ? state === "cancelled" : state === "failed" || state === "dead",
          ),
          `task ${task.id} is ${after.state} while it waits for tasks that are ${failed}`,
        );
        return this.#ended({ ...base, lease: null });
      default:
        throw new Violation(`task ${task.id} was blocked and is ${after.state}`);
    }
  }

  /** The task's next version, if the change is one that the life cycle knows. */
  #next(
    core: Coordinator,
    revision: number,
    operation: string,
    task: Task,
    old: Version,
    after: TaskRecord,
    leased: Set<string>,
  ): Version {
    const base: Version = { ...old, revision, state: after.state };
    const input = this.#running?.input as AnyInput;
    const wrong = (): never => {
      throw new Violation(
        `task ${task.id} went from ${old.state} to ${after.state} by ${operation}, which no life cycle knows`,
      );
    };
    if (after.state === "running" && old.state !== "running")
      return this.#leased(core, revision, operation, task, old, after, leased);
    const isCancelled = operation === "task.cancel" && (input.taskId === task.id || input.cascade === true);
    const follows = this.#waitsFor(task).some(
      ({ id, onFail }) => onFail === "fail" && this.state(id) === "cancelled",
    );
    const isDropped = operation.endsWith(".submit") && old.revision === revision && !follows;
    if (old.state === "blocked" && !(after.state === "cancelled" && (isCancelled || isDropped)))
      return this.#unblocked(base, task, after);
    switch (operation) {
      case "task.wait":
        this.#heldBy(operation, input);
        if (old.state !== "running" || after.state !== "blocked") wrong();
        this.world.count("graph.parentWaits");
        return { ...base, lease: null };
      case "task.ready":
        if (old.state !== "scheduled" || after.state !== "queued") wrong();
        this.expect(
          this.#wall >= old.notBefore,
          `task ${task.id} is ready ${old.notBefore - this.#wall} ms early`,
        );
        return { ...base, notBefore: 0 };
      case "task.submit":
      case "graph.submit":
      case "schedule.fire":
      case "schedule.run":
        // A backlog is full: whoever waited is dropped.
        if (!["queued", "scheduled", "blocked"].includes(old.state) || after.state !== "cancelled") wrong();
        this.expect(
          core.flow.settings.get(task.submit.queue ?? "default")?.backlog !== null,
          `task ${task.id} was dropped, and its queue has no bound`,
        );
        this.world.count("task.dropped");
        return this.#ended(base);
      case "task.cancel":
        if (isFinal(old.state) || after.state !== "cancelled") wrong();
        return this.#ended({ ...base, lease: null });
      case "task.retry":
        if (!["failed", "dead", "cancelled"].includes(old.state)) wrong();
        if (after.state !== (this.#waitsFor(task).every((link) => this.#isDone(link)) ? "queued" : "blocked"))
          wrong();
        return { ...base, charged: 0, interruptions: 0, notBefore: 0, finishedAt: 0, result: null };
      case "task.snooze":
        this.#heldBy(operation, input);
        if (after.state !== "scheduled") wrong();
        this.world.count("task.snoozed");
        return { ...base, lease: null, notBefore: this.#wall + (input.forMs as number) };
      case "task.complete": {
        this.#heldBy(operation, input);
        if (after.state !== "completed") wrong();
        const { result } = input;
        this.expect(
          after.outcome.result === JSON.stringify(result ?? null),
          `task ${task.id} has another result than its worker gave`,
        );
        return this.#ended({ ...base, lease: null, result: after.outcome.result });
      }
      case "task.fail": {
        this.#heldBy(operation, input);
        const { final, retryInMs } = input;
        if (final === true) {
          if (after.state !== "failed") wrong();
          return this.#ended({ ...base, lease: null });
        }
        return this.#failed(base, task, after, retryInMs);
      }
      case "lease.revoke": {
        const { lease } = old;
        if (lease === null || after.state !== "queued") return wrong();
        // Who does not hear of one push does not hear of those behind it.
        const waited = this.uptime() - (this.#unheard.get(lease.workerId)?.[0]?.at ?? this.uptime());
        this.expect(
          waited >= this.promises.pushAckMs - 250 - roundingMs,
          `task ${task.id} was revoked after ${lease.workerId} had acknowledged nothing for ${waited.toFixed(1)} ms; ${this.promises.pushAckMs} are allowed`,
        );
        this.expect(
          lease.token > (this.#acknowledged.get(lease.workerId) ?? 0),
          `task ${task.id} was revoked under token ${lease.token}, which ${lease.workerId} had acknowledged`,
        );
        this.#deaf.add(lease.workerId);
        this.world.count("lease.revoked");
        return { ...base, lease: null };
      }
      case "task.release":
        this.#heldBy(operation, input);
        if (after.state !== "queued") wrong();
        return { ...base, lease: null };
      case "task.extend": {
        this.#heldBy(operation, input);
        if (after.state !== "running" || leaseOf(after).token !== old.token) wrong();
        const { leaseMs = task.submit.leaseMs ?? 30_000 } = input;
        return { ...base, lease: { ...(old.lease as Lease), leaseMs, grantedAt: this.uptime() } };
      }
      case "worker.unregister":
        if (old.lease === null || after.state !== "queued") wrong();
        this.expect(
          input.workerId === old.lease?.workerId,
          `task ${task.id} was given back by another worker`,
        );
        return { ...base, lease: null };
      case "worker.register": {
        if (old.lease === null || input.workerId !== old.lease.workerId) wrong();
        const named =
          input.holding?.some((one) => one.taskId === task.id && one.token === old.token) ?? false;
        const charged = after.interruptions > old.interruptions;
        // The same instance keeps what it names; another one's leases are interrupted.
        if (!charged) {
          this.expect(
            !named,
            `task ${task.id} was taken from ${input.workerId}, which said that it holds it`,
          );
          if (after.state !== "queued") wrong();
          return { ...base, lease: null };
        }
        return this.#interrupted(base, after);
      }
      case "lease.expire": {
        const { lease } = old;
        if (lease === null) return wrong();
        this.expect(
          this.sinceRestart() >= this.promises.graceMs - roundingMs,
          `task ${task.id} lost its lease within the grace after a restart`,
        );
        const up = this.uptime();
        if (after.outcome.error?.code === "timeout" && after.interruptions === old.interruptions) {
          const ranMs = up - lease.startedAt;
          this.expect(
            (task.submit.timeoutMs ?? 0) > 0 && ranMs >= (task.submit.timeoutMs as number) - roundingMs,
            `task ${task.id} timed out after ${ranMs.toFixed(1)} ms; ${task.submit.timeoutMs} are allowed`,
          );
          this.world.count("lease.timeout");
          return this.#failed(base, task, after, undefined);
        }
        const silentMs = up - Math.max(lease.grantedAt, this.#vouched.get(lease.workerId)?.until ?? 0);
        this.expect(
          silentMs >= lease.leaseMs - roundingMs,
          `task ${task.id} was taken from ${lease.workerId} ${silentMs.toFixed(1)} ms after it was heard; its lease allows ${lease.leaseMs}`,
        );
        this.world.count("lease.expired");
        return this.#interrupted(base, after);
      }
      default:
        return wrong();
    }
  }

  #ended(version: Version): Version {
    return { ...version, finishedAt: this.#wall };
  }

  #interrupted(base: Version, after: TaskRecord): Version {
    const interruptions = base.interruptions + 1;
    const dead = interruptions >= this.promises.interruptionsMax;
    this.expect(
      after.state === (dead ? "dead" : "queued"),
      `a task interrupted ${interruptions} times is ${after.state}`,
    );
    const next = { ...base, interruptions, lease: null };
    return dead ? this.#ended(next) : next;
  }

  #failed(base: Version, task: Task, after: TaskRecord, retryInMs: number | undefined): Version {
    const attempts = task.submit.attempts ?? 3;
    const charged = base.charged + 1;
    const next = { ...base, charged, lease: null };
    if (charged >= attempts) {
      this.expect(
        after.state === "dead",
        `task ${task.id} failed ${charged} of ${attempts} times and is ${after.state}`,
      );
      return this.#ended(next);
    }
    const backoff = { ...defaultBackoff, ...task.submit.backoff };
    const grown =
      backoff.delayMs *
      { fixed: 1, linear: charged, polynomial: charged ** 2, exponential: 2 ** (charged - 1), list: 0 }[
        backoff.strategy
      ];
    const least = retryInMs ?? Math.min(grown, backoff.maxMs ?? 3_600_000) * (1 - backoff.jitter);
    this.expect(
      after.state === "scheduled" || (after.state === "queued" && least < 1),
      `task ${task.id} failed attempt ${charged} of ${attempts} and is ${after.state}`,
    );
    return { ...next, notBefore: after.state === "queued" ? 0 : this.#wall + Math.floor(least) };
  }

  #leased(
    core: Coordinator,
    revision: number,
    operation: string,
    task: Task,
    old: Version,
    after: TaskRecord,
    leased: Set<string>,
  ): Version {
    const { id, submit } = task;
    this.expect(
      ["task.dispatch", "task.claim", "task.assign"].includes(operation),
      `task ${id} was leased by ${operation}`,
    );
    const assigned = operation === "task.assign";
    this.expect(
      old.state === "queued" || (assigned && old.state === "scheduled"),
      `task ${id} was leased while it was ${old.state}`,
    );
    this.expect(
      assigned || this.#wall >= old.notBefore,
      `task ${id} started ${old.notBefore - this.#wall} ms early`,
    );
    const { token, workerId } = leaseOf(after);
    this.expect(token === revision, `task ${id} was leased under token ${token} by entry ${revision}`);
    this.expect(
      token > this.#lastToken || (leased.size > 0 && token === this.#lastToken),
      `token ${token} was given before`,
    );
    this.expect(!leased.has(id), `one entry leased task ${id} twice`);
    leased.add(id);
    this.#lastToken = token;
    const worker = core.workers.get(workerId);
    this.expect(
      worker?.state === "online",
      `task ${id} was leased to ${workerId}, which is ${worker?.state}`,
    );
    this.expect(
      fits(submit, worker as WorkerRecord),
      `task ${id} was leased to ${workerId}, which does not fit it`,
    );
    this.expect(
      operation !== "task.dispatch" || !this.#deaf.has(workerId),
      `task ${id} was leased to ${workerId}, which is deaf`,
    );
    this.expect(
      assigned || (this.#stood.get(workerId) ?? 0) < this.promises.stalledMs,
      `task ${id} was leased to ${workerId}, whose handlers stood still for ${this.#stood.get(workerId)} ms`,
    );
    this.#mayStart(core, task);
    let held = 0;
    for (const other of this.tasks.values())
      if (top(other).lease?.workerId === workerId) held += other.submit.slots ?? 1;
    const room = (worker as WorkerRecord).capacity - held;
    this.expect((submit.slots ?? 1) <= room, `${workerId} got task ${id} beyond its capacity`);
    if (!assigned && this.promises.ageingMs === 0) this.#mostUrgent(task, worker as WorkerRecord);
    const up = this.uptime();
    this.world.count("lease.made");
    return {
      ...old,
      revision,
      state: "running",
      notBefore: 0,
      token,
      lease: { workerId, token, leaseMs: submit.leaseMs ?? 30_000, grantedAt: up, startedAt: up },
    };
  }

  /** What a task must pass, each with what is set for it now. */
  #gatesOf(core: Coordinator, { queue = "default", group, limits = [] }: TaskSubmit) {
    const { flow } = core;
    const of = flow.settings.get(queue);
    const gates: { key: string; concurrency: number | null; rate: Rate | null; isPaused: boolean }[] = [
      {
        key: `queue ${queue}`,
        concurrency: of?.concurrency ?? null,
        rate: of?.rate ?? null,
        isPaused: flow.pauses.has(queue),
      },
      ...limits.map((name) => {
        const { concurrency = null, rate = null } = flow.limits.get(name) ?? {};
        return { key: `limit ${name}`, concurrency, rate, isPaused: false };
      }),
    ];
    if (group !== undefined)
      gates.push({
        key: `group ${queue} ${group}`,
        concurrency: of?.groupConcurrency ?? null,
        rate: of?.groupRate ?? null,
        isPaused: flow.pauses.has(`${queue} ${group}`),
      });
    return gates;
  }

  #runningBehind(core: Coordinator, key: string): number {
    let count = 0;
    for (const other of this.tasks.values())
      if (top(other).lease !== null && this.#gatesOf(core, other.submit).some((gate) => gate.key === key))
        count++;
    return count;
  }

  /** No limit is passed at any moment, and no rate over any stretch of time. */
  #mayStart(core: Coordinator, { id, submit }: Task): void {
    const up = this.uptime();
    for (const { key, concurrency, rate, isPaused } of this.#gatesOf(core, submit)) {
      this.expect(!isPaused, `task ${id} was leased while ${key} was paused`);
      if (concurrency !== null) {
        const runs = this.#runningBehind(core, key);
        this.expect(
          runs < concurrency,
          `task ${id} was leased beside ${runs} of ${key}, and ${concurrency} may run`,
        );
        if (runs + 1 === concurrency) this.world.count("gate.concurrency");
      }
      const said = JSON.stringify(rate);
      const known = this.#starts.get(key);
      const starts = known?.rate === said ? known.at : [];
      starts.push(up);
      if (starts.length > 100) starts.shift();
      this.#starts.set(key, { rate: said, at: starts });
      if (rate === null) continue;
      const tokenMs = rate.perMs / rate.count;
      for (const [i, from] of starts.entries()) {
        const most = rate.burst + (up - from + roundingMs) / tokenMs;
        this.expect(
          starts.length - i <= most,
          `task ${id} is start ${starts.length - i} of ${key} in ${(up - from).toFixed(1)} ms; its rate is ${said}`,
        );
      }
      if (starts.length > 1) this.world.count("gate.rate");
    }
  }

  /** By what it must pass: when tasks started under the rate that is set. */
  readonly #starts = new Map<string, { rate: string; at: number[] }>();

  /** Whether a task is kept back; whether a bucket has a token is the daemon's to know. */
  #isKeptBack(core: Coordinator, submit: TaskSubmit): boolean {
    return this.#gatesOf(core, submit).some(({ key, concurrency, rate, isPaused }) => {
      if (isPaused) this.world.count("gate.paused");
      return (
        isPaused || rate !== null || (concurrency !== null && this.#runningBehind(core, key) >= concurrency)
      );
    });
  }

  /**
   * By priority, then by age since submit; of tasks that pass the same and ask the same, where there are limits: what
   * sleeps at a gate that opens is woken one by one, and what asks something else may be awake before it. Room may be kept for a task that takes several slots, and a task may wait for the worker that had the last of its name:
   * of those nothing is said here.
   */
  #mostUrgent(task: Task, worker: WorkerRecord): void {
    if ((task.submit.slots ?? 1) > 1) return;
    const rank = (one: Task) => priorities.indexOf(one.submit.priority ?? "normal");
    const sort = ({ queue, group, limits, workerId, kind, capabilities, requires, prefers }: TaskSubmit) =>
      JSON.stringify([queue, group, limits, workerId, kind, capabilities, requires, prefers]);
    for (const other of this.tasks.values()) {
      if (other === task || top(other).state !== "queued" || !fits(other.submit, worker)) continue;
      if (this.regulated && sort(other.submit) !== sort(task.submit)) continue;
      if (other.submit.sticky !== undefined || (other.submit.slots ?? 1) > 1) continue;
      const before =
        rank(other) - rank(task) ||
        other.createdRevision - task.createdRevision ||
        other.number - task.number;
      this.expect(
        before > 0,
        `${worker.id} got task ${task.id} while task ${other.id}, more urgent, was queued`,
      );
    }
  }

  /** A full disk: the transaction is taken back, newest first. */
  undone(revision: number): void {
    const entry = this.#entries.pop();
    this.expect(
      entry?.revision === revision,
      `entry ${revision} was undone, the newest was ${entry?.revision}`,
    );
    this.undoneThrough = Math.max(this.undoneThrough, revision);
    this.#giveUp(revision - 1);
    this.#replay();
    this.world.count("entry.undone");
  }

  #replay(): void {
    this.#rows = new Map(this.#base);
    for (const { text } of this.#entries) applyText(this.#rows, text);
  }

  /** Entries above the revision never were. */
  #giveUp(through: number): void {
    for (let last = this.#moves.at(-1); last !== undefined && last.revision > through; ) {
      this.#carryOut(last.task, !last.isReturn);
      this.#moves.pop();
      last = this.#moves.at(-1);
    }
    for (const task of [...this.tasks.values(), ...this.#gone.values()]) {
      while (task.versions.length > 0 && top(task).revision > through) task.versions.pop();
      if (task.versions.length > 0) continue;
      this.tasks.delete(task.id);
      this.#gone.delete(task.id);
    }
    for (const [tag, [id]] of this.byTag) if (Number(id?.split("-")[0]) > through) this.byTag.delete(tag);
    for (const [key, { revision }] of this.#answers) if (revision > through) this.#answers.delete(key);
    while ((this.commits.at(-1)?.revision ?? 0) > through) this.commits.pop();
    this.#grants = this.#grants.filter(({ revision }) => revision <= through);
    this.#due = this.#due.filter((one) => one.revision <= through);
  }

  // --- what leaves ----------------------------------------------------------------------------------------

  /** Text leaves the daemon; nothing in it may be newer than what is durable. */
  left(text: string, durable: number): void {
    for (const found of text.matchAll(/"(?:revision|token|durableRevision)":(\d+)|"id":"(\d+)-/g)) {
      const revision = Number(found[1] ?? found[2]);
      if (revision > durable)
        throw new Violation(
          `revision ${revision} left the daemon, but only ${durable} is durable: ${text.slice(0, 300)}`,
        );
      if (revision > this.told) this.told = revision;
    }
  }

  due(revision: number, sink: object, key: string): void {
    this.#due.push({ revision, sink, key });
  }

  pushed(sink: object, text: string): void {
    const push = JSON.parse(text) as {
      event: string;
      taskId?: string;
      token?: number;
      task?: { id: string };
      lease?: { token: number; workerId: string };
    };
    const id = (push.taskId ?? push.task?.id) as string;
    const key = `${push.event} ${id} ${push.token ?? push.lease?.token}`;
    if (push.lease !== undefined) {
      const { token, workerId } = push.lease;
      const before = this.#unheard.get(workerId) ?? [];
      this.#unheard.set(workerId, [...before, { id, token, at: this.uptime() }]);
    }
    this.#due = this.#due.filter((one) => one.sink !== sink || one.key !== key);
  }

  /** After each step: everything that had to be pushed was. */
  pushesDone(durable: number): void {
    for (const one of this.#due)
      this.expect(one.revision > durable, `${one.key} is durable and was not pushed to its worker`);
  }

  /** Now and then: what was not acknowledged in time was taken back. The daemon could do so for `couldMs`. */
  revokesDone(isAttached: (workerId: string) => boolean, couldMs: number): void {
    const { pushAckMs } = this.promises;
    for (const [workerId, pushes] of this.#unheard)
      for (const { id, token, at } of isAttached(workerId) ? pushes : []) {
        const task = this.tasks.get(id);
        if (task === undefined || top(task).lease?.token !== token) continue;
        const waited = this.uptime() - at;
        this.expect(
          Math.min(waited, couldMs) <= 2 * pushAckMs + revokeLateMs,
          `task ${id} was pushed to ${workerId} ${waited.toFixed(0)} ms ago, is not acknowledged and not revoked`,
        );
      }
  }

  // --- the state as a whole -------------------------------------------------------------------------------

  /** After each step: no ready task and free worker stand side by side. */
  matched(core: Coordinator): void {
    if (core.queues.counts.queued === 0) return;
    for (const slot of core.dispatch.slots()) {
      if (!slot.attached || slot.room <= 0 || slot.reservedFor !== null) continue;
      for (const task of this.tasks.values())
        if (
          top(task).state === "queued" &&
          fits(task.submit, slot.record) &&
          slot.room >= (task.submit.slots ?? 1) &&
          task.submit.sticky === undefined &&
          !this.#isKeptBack(core, task.submit)
        )
          throw new Violation(
            `task ${task.id} is queued and ${slot.id} is free for it, and they do not meet`,
          );
    }
  }

  /** The tables are what the entries that stand add up to, and everything derived from them is right. */
  verify(core: Coordinator, when: string): void {
    let count = 0;
    for (const [id, text] of rowsOf(core.store)) {
      count++;
      if (this.#rows.get(id) !== text)
        throw new Violation(
          `${when}, ${id} is\n    ${text}\n  and should be\n    ${this.#rows.get(id) ?? "not there"}`,
        );
    }
    const expected = [...this.#rows.keys()].filter((id) => !isArchived(id));
    if (count !== expected.length) {
      const kept = new Map(rowsOf(core.store));
      const lost = expected.find((id) => !kept.has(id));
      throw new Violation(`${when}, ${lost} is not there and should be`);
    }
    const trades = [...core.keys.values()].filter(({ key }) => key.startsWith("once/")).length;
    const counted = Number(core.keys.get("once")?.value ?? 0);
    this.expect(counted === trades, `${when}, ${counted} trades are counted, and ${trades} are there`);
    const problems = check(core);
    this.expect(problems.length === 0, `${when}, the state is not sound: ${problems[0]}`);
  }

  /** The tasks that entries which stand let go of. */
  get archived(): string[] {
    return [...this.#rows.keys()].filter(isArchived).map((id) => id.slice(id.indexOf("\t") + 1));
  }

  /** Each of these is in the archive, as it was. */
  verifyArchive(taskIds: readonly string[], disk: Disk): void {
    for (const taskId of taskIds) {
      const text = this.#rows.get(`archive\t${taskId}`);
      const found = disk.archived(taskId);
      this.expect(found === text, `task ${taskId} left memory, and the archive says ${found}`);
      this.world.count("task.archived");
    }
  }

  /** Entries up to here outlive everything: they need not be kept one by one. */
  settled(revision: number): void {
    let count = 0;
    for (const entry of this.#entries) {
      if (entry.revision > revision) break;
      applyText(this.#base, entry.text);
      this.#baseAt = entry.revision;
      count++;
    }
    if (count === 0) return;
    this.#entries.splice(0, count);
    this.#moves = this.#moves.filter((one) => one.revision > revision);
    for (const task of this.tasks.values())
      while (task.versions.length > 1 && (task.versions[1] as Version).revision <= revision)
        task.versions.shift();
  }

  /** The last entry that anyone outside was told of. */
  get toldEntry(): number {
    let last = Math.min(this.#baseAt, this.told);
    for (const { revision } of this.#entries) if (revision <= this.told) last = revision;
    return last;
  }

  get lastEntry(): number {
    return this.#entries.at(-1)?.revision ?? this.#baseAt;
  }

  /** The daemon starts again at `revision`; it promised to come back at `least` or later. */
  recovered({ revision, ceiling, at }: Recovered, least: number): void {
    this.#wall = 0;
    this.#recoveredAt = at;
    this.expect(revision >= least, `recovered to revision ${revision}, but ${least} was promised to survive`);
    this.expect(
      revision === this.#baseAt || this.#entries.some((entry) => entry.revision === revision),
      `recovered to revision ${revision}, where no entry ended`,
    );
    this.expect(ceiling >= this.told, `goes on from revision ${ceiling}, but ${this.told} was told outside`);
    const last = this.lastEntry;
    if (last > revision) {
      this.world.count("entry.lost");
      this.voided.push({ above: revision, through: ceiling });
      while ((this.#entries.at(-1)?.revision ?? 0) > revision) this.#entries.pop();
      this.#giveUp(revision);
      this.#replay();
    }
    this.#lastRevision = revision;
    this.#forgetHealth();
  }

  /** It dies with the process. */
  #forgetHealth(): void {
    this.#due = [];
    for (const known of [this.#acknowledged, this.#unheard, this.#stood, this.#deaf]) known.clear();
  }

  /** A daemon that keeps nothing starts again: all there was is gone, and it promised no more. */
  forgotten(ceiling: number): void {
    this.expect(ceiling >= this.told, `goes on from revision ${ceiling}, but ${this.told} was told outside`);
    this.#wall = 0;
    this.#recoveredAt = 0;
    this.#base.clear();
    this.#rows.clear();
    this.#baseAt = 0;
    this.#entries = [];
    this.voided.push({ above: 0, through: ceiling });
    this.#giveUp(0);
    this.#lastRevision = 0;
    this.#forgetHealth();
  }

  isVoided(revision: number): boolean {
    return this.voided.some((one) => revision > one.above && revision <= one.through);
  }

  state(id: string): TaskState | undefined {
    const task = this.tasks.get(id);
    return task === undefined ? undefined : top(task).state;
  }

  token(id: string): number {
    const task = this.tasks.get(id);
    return task === undefined ? 0 : top(task).token;
  }

  get unfinished(): string[] {
    return [...this.tasks.values()]
      .filter((task) => !isFinal(top(task).state))
      .map((task) => `${task.id} (${JSON.stringify(top(task))})`);
  }
}

/** Operations by which a worker is heard: with an entry, and without. */
const says = [
  ...["worker.register", "task.claim", "task.complete", "task.fail", "task.release", "task.extend"],
  ...["task.wait", "task.snooze"],
  ...["task.progress", "worker.heartbeat"],
];
const saysVolatile = ["task.claim", "task.progress", "worker.heartbeat"];

const tagOf = (submit: TaskSubmit): string | null =>
  ((submit.payload ?? null) as { tag?: string } | null)?.tag ?? null;

/** What the cast's tasks require, and of whom it holds. */
const asked: Record<string, (worker: WorkerRecord) => boolean> = {
  gpu: ({ labels }) => labels.gpu === true,
  "mem >= 16": ({ labels }) => Number(labels.mem) >= 16,
};

function fits(submit: TaskSubmit, worker: WorkerRecord): boolean {
  return (
    (submit.kind === undefined || submit.kind === worker.kind) &&
    (worker.queues.includes("*") || worker.queues.includes(submit.queue ?? "default")) &&
    (submit.workerId === undefined || submit.workerId === worker.id) &&
    (submit.capabilities ?? []).every((one) => worker.capabilities.includes(one)) &&
    (submit.requires ?? []).every((one) => asked[one]!(worker))
  );
}

function applyText(rows: Map<string, string>, text: string): void {
  for (const line of text.split("\n")) {
    const key = line.indexOf("\t") + 1;
    if (line[0] === "-") rows.delete(line.slice(1));
    else if (line[0] === "+") {
      const end = line.indexOf("\t", key);
      rows.set(line.slice(1, end), line.slice(end + 1));
    }
  }
}

/** What is told of once is no part of the state. */
const isArchived = (id: string) => id.startsWith("archive\t");

/** The log's rows of a record, made once: records are never changed. */
const rowsOfRecord = new WeakMap<object, [string, string][]>();

function* rowsOf(store: Store): Iterable<[string, string]> {
  for (const table of store.tables())
    for (const [key, after] of table.entries()) {
      let rows = rowsOfRecord.get(after as object);
      if (rows === undefined) {
        const made = new Map<string, string>();
        const header = { revision: 0, at: 0, clock: 0, operation: "", who: "" };
        applyText(made, encodeEntry(header, [{ table, key, before: undefined, after }]));
        rows = [...made];
        rowsOfRecord.set(after as object, rows);
      }
      yield* rows;
    }
}
