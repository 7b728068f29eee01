/**
 * Workers: their record and the operations on them. A worker is `online` or `draining` until it is silent for
 * too long or leaves; idle and busy are not kept, they are what its leases say. A worker that comes back (same
 * id, same instance) takes its session over and names the leases it still works on; the others go back to their
 * queue, nothing charged. A new instance under the id of one that died finds its leases interrupted; under the
 * id of one that lives it is refused.
 */

import { limits } from "../wire/limits.ts";
import type { Input } from "../wire/operations.ts";
import type { LabelValue } from "../wire/requirements.ts";
import type { WorkerState } from "../wire/workers.ts";
import type { Coordinator } from "./coordinator.ts";
import { abortAgeMs } from "./dispatch.ts";
import * as kv from "./kv.ts";
import * as locks from "./locks.ts";
import { noCapabilities, noLabels } from "./options.ts";
import { type Result, refuse } from "./result.ts";
import type { Slot } from "./slots.ts";
import { release as releaseSubscriptions } from "./subscriptions.ts";
import {
  assignmentText,
  giveBack,
  interrupt,
  leaseEnd,
  noteAbort,
  timeOut,
  timeoutEnd,
  tokenOf,
} from "./tasks.ts";

export type WorkerRecord = {
  readonly id: string;
  readonly instanceId: string;
  readonly kind: string;
  /** Sorted; `*` is every queue. */
  readonly queues: readonly string[];
  /** Sorted. */
  readonly capabilities: readonly string[];
  readonly labels: Readonly<Record<string, LabelValue>>;
  /** Slots. */
  readonly capacity: number;
  readonly state: "online" | "draining" | "offline";
  readonly registeredAt: number;
  /** 0 unless offline. */
  readonly offlineAt: number;
  readonly revision: number;
};

const allQueues: readonly string[] = Object.freeze(["*"]);

/** Inside a transaction: the worker is gone, and what it owned is with it. */
function release(core: Coordinator, workerId: string): void {
  kv.release(core, workerId);
  locks.release(core, workerId);
  releaseSubscriptions(core, workerId);
}

/** Lives as far as we know: heard within the silence it is allowed. */
const isLive = (core: Coordinator, slot: Slot) =>
  slot.record.state !== "offline" && core.clock < slot.lastBeat + core.config.silenceMs;

export function register(core: Coordinator, input: Input<"worker.register">): Result {
  const { workerId } = input;
  const instanceId = input.instanceId ?? workerId;
  const slot = core.dispatch.slot(workerId);
  const same = slot !== undefined && slot.record.instanceId === instanceId;
  if (slot !== undefined && !same && isLive(core, slot))
    return refuse("worker-id-in-use", `worker ${workerId} is live as instance ${slot.record.instanceId}`);
  if (slot === undefined && core.workers.size >= limits.workersMax)
    return refuse("busy", `${limits.workersMax} workers are registered`, { retryAfterMs: 60_000 });

  core.workers.put(workerId, {
    id: workerId,
    instanceId,
    kind: input.kind ?? "worker",
    queues: input.queues === undefined ? allQueues : [...input.queues].sort(),
    capabilities: input.capabilities === undefined ? noCapabilities : [...input.capabilities].sort(),
    labels: input.labels ?? noLabels,
    capacity: input.capacity ?? 1,
    state: same && slot.record.state === "draining" ? "draining" : "online",
    registeredAt: core.now,
    offlineAt: 0,
    revision: core.store.nextRevision,
  });
  const mine = core.dispatch.slot(workerId) as Slot;
  core.heard(mine);
  core.dispatch.turned(mine, 0);

  // What the instance before it owned went with it.
  if (!same) release(core, workerId);
  const named = new Map(input.holding?.map((one) => [one.taskId, one.token]));
  let kept = "";
  for (const spec of mine.held()) {
    const record = core.tasks.get(spec.row)!;
    if (!same) interrupt(core, record);
    else if (named.get(spec.id) !== tokenOf(record)) giveBack(core, record);
    else {
      named.delete(spec.id);
      kept += `${kept === "" ? "" : ","}${assignmentText(core, record)}`;
    }
  }
  return {
    ok:
      `{"worker":${workerText(core, mine)},"heartbeatMs":${core.config.heartbeatMs},` +
      `"silenceMs":${core.config.silenceMs},"leases":[${kept}],"lost":${JSON.stringify([...named.keys()])}}`,
  };
}

export const unknownWorker = (workerId: string) =>
  refuse("unknown-worker", `worker ${workerId} is not registered`);
export const offline = (slot: Slot) =>
  refuse("worker-offline", `worker ${slot.id} was not heard for too long and is offline`);

export function unregister(core: Coordinator, input: Input<"worker.unregister">): Result {
  const slot = core.dispatch.slot(input.workerId);
  if (slot === undefined) return unknownWorker(input.workerId);
  const held = slot.held();
  for (const { row } of held) giveBack(core, core.tasks.get(row)!);
  const released = held.map(({ id }) => id);
  release(core, slot.id);
  core.workers.delete(slot.id);
  return { ok: `{"workerId":"${slot.id}","released":${JSON.stringify(released)}}` };
}

/** Volatile: no entry. */
export function heartbeat(core: Coordinator, input: Input<"worker.heartbeat">): Result {
  const slot = core.dispatch.slot(input.workerId);
  if (slot === undefined) return unknownWorker(input.workerId);
  if (slot.record.state === "offline") return offline(slot);
  if (input.instanceId !== undefined && input.instanceId !== slot.record.instanceId)
    return refuse("worker-id-in-use", `worker ${input.workerId} is instance ${slot.record.instanceId}`);
  core.heard(slot);
  if (input.loopAgeMs !== undefined) core.dispatch.turned(slot, input.loopAgeMs);
  let leases = "";
  for (const { id, row } of slot.running) {
    const record = core.tasks.get(row)!;
    const deadlineAt = Math.round(core.now + leaseEnd(core, record) - core.clock);
    leases += `${leases === "" ? "" : ","}{"taskId":"${id}","token":${tokenOf(record)},"deadlineAt":${deadlineAt}}`;
  }
  const cancels = slot.aborts
    .filter(({ taskId, token, at }) => {
      const record = core.tasks.get(taskId);
      return (
        at > core.now - abortAgeMs &&
        record !== undefined &&
        record.state !== "running" &&
        tokenOf(record) === token
      );
    })
    .map((one) => `{"taskId":"${one.taskId}","token":${one.token}}`);
  return { ok: `{"leases":[${leases}],"cancels":[${cancels.join(",")}]}` };
}

export function drain(core: Coordinator, input: Input<"worker.drain">): Result {
  const slot = core.dispatch.slot(input.workerId);
  if (slot === undefined) return unknownWorker(input.workerId);
  if (slot.record.state === "offline") return offline(slot);
  const state = input.drain === false ? "online" : "draining";
  if (slot.record.state !== state)
    core.workers.put(slot.id, { ...slot.record, state, revision: core.store.nextRevision });
  return { ok: workerText(core, slot) };
}

/**
 * Looks at a worker for silence, expired leases and attempts that ran too long. Inside a transaction. It looks
 * at what this one worker holds, and only when its earliest deadline has passed.
 */
export function inspect(core: Coordinator, slot: Slot): void {
  let next = Number.POSITIVE_INFINITY;
  for (const { row } of slot.held()) {
    const record = core.tasks.get(row)!;
    const silentAt = leaseEnd(core, record);
    const tooLongAt = timeoutEnd(core, record);
    if (tooLongAt <= core.clock) timeOut(core, record);
    else if (silentAt <= core.clock) {
      noteAbort(core, record);
      interrupt(core, record);
    } else next = Math.min(next, silentAt, tooLongAt);
  }
  if (slot.record.state !== "offline") {
    const silentAt = Math.max(slot.lastBeat + core.config.silenceMs, core.graceUntil);
    if (silentAt <= core.clock) {
      core.workers.put(slot.id, {
        ...slot.record,
        state: "offline",
        offlineAt: core.now,
        revision: core.store.nextRevision,
      });
      release(core, slot.id);
    } else next = Math.min(next, silentAt);
  }
  if (next < Number.POSITIVE_INFINITY) core.dispatch.watch(slot, next);
}

/**
 * Looks at a worker's health: gives back what was pushed and not acknowledged in time, nothing charged, and ends its
 * quarantine. Inside a transaction.
 */
export function lookAtHealth(core: Coordinator, slot: Slot): void {
  const revoked = core.dispatch.look(slot, ({ row }) => tokenOf(core.tasks.get(row)!));
  for (const { row } of revoked) {
    const record = core.tasks.get(row)!;
    core.metrics.pushesRevoked++;
    noteAbort(core, record);
    giveBack(core, record);
  }
}

// --- as everyone sees it ----------------------------------------------------------------------------------

export const stateOf = (slot: Slot): WorkerState => shownState(slot.record, slot.running.size);

function shownState(record: WorkerRecord, running: number): WorkerState {
  if (record.state !== "online") return record.state;
  return running > 0 ? "busy" : "idle";
}

function reasonsOf(core: Coordinator, slot: Slot, record: WorkerRecord): string[] {
  const reasons: string[] = [];
  const silentMs = core.clock - slot.lastBeat;
  if (record.state === "offline") reasons.push("it is offline");
  else if (silentMs > core.config.heartbeatMs * 2)
    reasons.push(`it has been silent for ${Math.round(silentMs / 1000)} s`);
  return [...reasons, ...core.dispatch.reasonsOf(slot)];
}

/** Tasks that a worker holds, and the slots that they take. */
export type Held = { count: number; slots: number };

/** `record` and `held` as of an older revision, where that is what is shown. */
export function workerText(
  core: Coordinator,
  slot: Slot,
  record: WorkerRecord = slot.record,
  held: Held = { count: slot.running.size, slots: slot.used },
): string {
  const reasons = reasonsOf(core, slot, record);
  return (
    `{"id":"${record.id}","instanceId":"${record.instanceId}","kind":"${record.kind}",` +
    `"queues":${JSON.stringify(record.queues)},"capabilities":${JSON.stringify(record.capabilities)},` +
    `"labels":${JSON.stringify(record.labels)},"capacity":${record.capacity},"state":"${shownState(record, held.count)}",` +
    `"connected":${slot.attached},"running":${held.count},"slotsUsed":${held.slots},"healthy":${reasons.length === 0},` +
    `"health":"${slot.health.state}","healthScore":${slot.health.score},` +
    `"reasons":${JSON.stringify(reasons)},"completedCount":${slot.completedCount},"failedCount":${slot.failedCount},` +
    `"registeredAt":${record.registeredAt},"lastSeenAt":${slot.lastSeenAt || null},"revision":${record.revision}}`
  );
}

export function get(core: Coordinator, input: Input<"worker.get">): Result {
  const slot = core.dispatch.slot(input.workerId);
  return slot === undefined ? unknownWorker(input.workerId) : { ok: workerText(core, slot) };
}

export function list(core: Coordinator, input: Input<"worker.list">): Result {
  const limit = input.limit ?? 100;
  const found: Slot[] = [];
  for (const slot of core.dispatch.slots()) {
    if (input.cursor !== undefined && slot.id <= input.cursor) continue;
    if (input.kind !== undefined && slot.record.kind !== input.kind) continue;
    if (input.state !== undefined && stateOf(slot) !== input.state) continue;
    found.push(slot);
  }
  found.sort((a, b) => (a.id < b.id ? -1 : 1));
  const page = found.slice(0, limit);
  const cursor = found.length > limit ? `"${page.at(-1)?.id}"` : null;
  return { ok: `{"workers":[${page.map((slot) => workerText(core, slot)).join(",")}],"cursor":${cursor}}` };
}
