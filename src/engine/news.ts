/**
 * News: what a transaction means to workers, to those who watch and to those who wait. All of it is read off the
 * transaction's changes: one feed, one mechanism. What leaves goes to the outbox with the transaction's revision.
 */
import type { Step } from "../core/coordinator.ts";
import type { MessageRecord } from "../core/inboxes.ts";
import { type LockRecord, lostReason } from "../core/locks.ts";
import type { LogPiece } from "../core/logs.ts";
import type { Change, Transaction } from "../core/store.ts";
import { messageBody } from "../core/subscriptions.ts";
import { leaseOf, pushedUnits, pushText, type TaskRecord } from "../core/tasks.ts";
import type { WorkerRecord } from "../core/workers.ts";
import type { AbortReason } from "../wire/frames.ts";
import type { Deliveries } from "./deliveries.ts";
import type { Engine } from "./engine.ts";
import type { Outbox } from "./outbox.ts";
import type { Seats } from "./seats.ts";
import { type LiveTopics, messageText } from "./topics.ts";
import type { Waits } from "./waits.ts";
import { type Cause, changeText, type Watches } from "./watch.ts";

export class News {
  constructor(
    private readonly engine: Pick<Engine, "core" | "lines" | "detach" | "sessions">,
    private readonly outbox: Outbox,
    private readonly seats: Seats,
    private readonly waits: Waits,
    private readonly watches: Watches,
    private readonly bus: { topics: LiveTopics; deliveries: Deliveries },
  ) {}

  tell(transaction: Transaction): void {
    const { revision, changes } = transaction;
    const { steps, who, now } = this.engine.core;
    let { operation } = this.engine.core;
    let step = 0;
    for (let i = 0; i < changes.length; i++) {
      const change = changes[i] as Change;
      // Of several operations, each change is that of its own.
      while (step < steps.length && (steps[step] as Step).from <= i)
        operation = (steps[step++] as Step).operation;
      if (change.table.name === "tasks") {
        this.#task(
          revision,
          change.before as TaskRecord | undefined,
          change.after as TaskRecord | undefined,
          operation,
        );
        this.waits.taskChanged(change);
      } else if (change.table.name === "logs") {
        if (change.after !== undefined) this.waits.logChanged((change.after as LogPiece).taskId);
      } else if (change.table.name === "locks") {
        this.#lock(
          revision,
          change.before as LockRecord | undefined,
          change.after as LockRecord | undefined,
          operation,
        );
        this.waits.lockChanged(change);
      } else if (change.table.name === "workers") {
        this.#worker(
          revision,
          change.key,
          change.before as WorkerRecord | undefined,
          change.after as WorkerRecord | undefined,
          operation,
        );
      } else if (change.table.name === "messages") {
        if (change.after !== undefined) this.#message(revision, change.after as MessageRecord);
      } else if (change.table.name === "subscriptions" && change.after === undefined) {
        this.bus.deliveries.ended(change.key, revision);
        this.waits.subscriptionGone(change.key);
      }
      if (this.watches.size > 0) this.#change(change, { revision, at: now, operation, who });
    }
  }

  /** Whoever listens to its topic gets it too, as it is published. */
  #message(revision: number, message: MessageRecord): void {
    let body = "";
    for (const { sink, subscriptionId } of this.bus.topics.listeners(message.topic)) {
      body ||= messageBody(message);
      const text = messageText(subscriptionId, body);
      this.outbox.hold({ kind: "message", revision, sink, subscriptionId, text });
    }
  }

  #task(
    revision: number,
    before: TaskRecord | undefined,
    after: TaskRecord | undefined,
    operation: string,
  ): void {
    const had = before?.state === "running";
    const has = after?.state === "running";
    const isNew = has && (!had || leaseOf(before).token !== leaseOf(after).token);
    if (isNew && operation !== "task.claim") {
      const { workerId } = leaseOf(after);
      const sink = this.seats.sinkOf(workerId);
      if (sink !== undefined) {
        const text = pushText(this.engine.core, after);
        this.outbox.hold({
          kind: "push",
          revision,
          sink,
          text,
          workerId,
          bytes: pushedUnits(this.engine.core, after.spec),
        });
      }
    }
    if (!had || (has && !isNew)) return;
    // A worker that cancels what it holds knows of it.
    const isOwn = operation === "task.cancel" && !this.engine.core.dispatch.hasNoted(before);
    const reason = isOwn ? null : abortReason(operation, after);
    const { workerId, token } = leaseOf(before);
    const sink = reason === null ? undefined : this.seats.sinkOf(workerId);
    if (sink === undefined) return;
    const detail = JSON.stringify(
      after?.outcome.reason ?? after?.outcome.error?.message ?? endedBy(operation),
    );
    const text = `{"event":"task.aborted","taskId":"${before.spec.id}","workerId":"${workerId}","token":${token},"reason":"${reason}","detail":${detail}}`;
    this.outbox.hold({ kind: "push", revision, sink, text, workerId, bytes: 0 });
  }

  #worker(
    revision: number,
    workerId: string,
    before: WorkerRecord | undefined,
    after: WorkerRecord | undefined,
    operation: string,
  ): void {
    const { lines } = this.engine;
    const sink = this.seats.sinkOf(workerId);
    // Whoever registers takes the worker over, and who leaves is gone: an older connection has it no more.
    if (after === undefined || operation === "worker.register") {
      this.seats.remember(revision, workerId);
      if (sink !== undefined) this.engine.detach(workerId, sink);
    }
    if (after === undefined) {
      lines.debug("worker.unregistered", { workerId });
      this.waits.workerGone(workerId);
    } else if (after.state === "offline" && before?.state !== "offline") {
      lines.info("worker.offline", { workerId });
      if (sink !== undefined) this.outbox.hold({ kind: "silent", revision, sink, workerId });
    } else if (before === undefined || before.instanceId !== after.instanceId)
      lines.debug("worker.registered", { workerId, instanceId: after.instanceId });
  }

  /** Whoever holds a lock is told that it is lost, unless it did so itself. */
  #lock(
    revision: number,
    before: LockRecord | undefined,
    after: LockRecord | undefined,
    operation: string,
  ): void {
    if (before === undefined || after !== undefined || before.heldAt === 0) return;
    const { who } = this.engine.core;
    const { id, session, reason } = before;
    if (operation === "lock.steal")
      this.engine.lines.warn("lock.stolen", {
        lockId: id,
        names: before.resources.map(({ name }) => name),
        from: before.workerId ?? before.who,
        by: who,
        reason,
      });
    const isOwn = operation === "lock.release" && session === who;
    const sink = session === null || isOwn ? null : (this.engine.sessions.get(session)?.sink ?? null);
    if (sink === null) return;
    const text = `{"event":"lock.lost","lockId":"${id}","reason":"${lostReason(operation)}","detail":${JSON.stringify(reason ?? `${operation} by ${who}`)}}`;
    this.outbox.hold({ kind: "tell", revision, sink, text });
  }

  /** Progress is coalesced: one event a task and turn, at the revision it has. */
  tellProgress(): void {
    const { core } = this.engine;
    if (core.progressed.size === 0) return;
    if (this.watches.size > 0)
      for (const taskId of core.progressed) {
        const after = core.tasks.get(taskId);
        // An attempt that ended meanwhile was told with its last word.
        if (after?.state !== "running") continue;
        const { revision } = core.store;
        const who = leaseOf(after).workerId;
        const change = { table: core.tasks, key: taskId, before: after, after };
        const cause = { revision, at: core.now, operation: "task.progress", who };
        this.#change(change as never, cause, `,"progress":${core.progressOf(after)}`);
      }
    core.progressed.clear();
  }

  /** What became of workers' health is coalesced in the same way. */
  tellHealth(): void {
    const { core, lines } = this.engine;
    const { changedHealth } = core.dispatch;
    if (changedHealth.size === 0) return;
    for (const slot of changedHealth) {
      const { health, record } = slot;
      const before = health.told;
      const workerId = slot.id;
      // It left meanwhile, or is again what it was.
      if (core.dispatch.slot(workerId) !== slot || health.state === before) continue;
      health.told = health.state;
      if (health.state === "healthy") lines.info("worker.recovered", { workerId, before });
      else
        lines.warn("worker.sick", { workerId, health: health.state, reasons: core.dispatch.reasonsOf(slot) });
      if (this.watches.size === 0) continue;
      const change = { table: core.workers, key: workerId, before: record, after: record };
      const cause = {
        revision: core.store.revision,
        at: core.now,
        operation: "worker.health",
        who: "cortexd",
      };
      this.#change(change as never, cause, `,"health":"${health.state}"`);
    }
    changedHealth.clear();
  }

  /** Tells everyone who watches what the change concerns; `more` goes to the end of each event. */
  #change(change: Change, cause: Cause, more = ""): void {
    const { revision } = cause;
    this.watches.match(change, cause, ({ sink, filter: { watchId } }, about) => {
      this.outbox.hold({ kind: "change", revision, sink, watchId, text: changeText(watchId, about, more) });
    });
  }
}

const endedBy = (operation: string) =>
  operation === "lease.revoke" ? "the push was not acknowledged in time" : `the lease ended (${operation})`;

/** Why an attempt ended that its own worker did not end; null: the worker knows. */
function abortReason(operation: string, after: TaskRecord | undefined): AbortReason | null {
  switch (operation) {
    case "task.cancel":
    case "task.cancelMany":
      return "cancelled";
    case "task.expire":
      return "timeout";
    case "lease.expire":
      return after?.outcome.error?.code === "timeout" ? "timeout" : "lease-expired";
    case "lease.revoke":
      return "revoked";
    default:
      // Completed, failed, released by the worker, or told in the answer to its registration.
      return null;
  }
}
