/** The state as a whole, as everyone sees it. */
import type { Input } from "../wire/operations.ts";
import { overviewRows } from "../wire/state.ts";
import type { WorkerHealth, workerStates } from "../wire/workers.ts";
import type { Coordinator } from "./coordinator.ts";
import type { Result } from "./result.ts";
import { stateOf, workerText } from "./workers.ts";

/** Workers by state. */
export function workerCounts(core: Coordinator): Record<(typeof workerStates)[number], number> {
  const counts = { idle: 0, busy: 0, draining: 0, offline: 0 };
  for (const slot of core.dispatch.slots()) counts[stateOf(slot)] += 1;
  return counts;
}

/** Workers by health. */
export function healthCounts(core: Coordinator): Record<WorkerHealth, number> {
  const counts = { healthy: 0, failing: 0, quarantined: 0, probation: 0, deaf: 0, stalled: 0 };
  for (const slot of core.dispatch.slots())
    if (slot.record.state !== "offline") counts[slot.health.state] += 1;
  return counts;
}

/** Messages, and how they stand for all subscriptions together. */
export function messageCounts({ messages, inboxes }: Coordinator) {
  const { pendingCount, flyingCount: inFlight, deadCount: dead } = inboxes;
  return { kept: messages.size, waiting: pendingCount - inFlight, inFlight, dead };
}

export function get(core: Coordinator, _input: Input<"state.get">): Result {
  const workers: string[] = [];
  for (const slot of core.dispatch.slots()) {
    if (workers.length === overviewRows) break;
    workers.push(workerText(core, slot));
  }
  const queues: string[] = [];
  for (const name of core.flow.namesFrom("")) {
    if (queues.length === overviewRows) break;
    queues.push(core.queues.text(name));
  }
  const { revision } = core.store;
  return {
    ok:
      // The answer leaves when its revision is durable, so it may say so.
      `{"revision":${revision},"durableRevision":${revision},"namespace":"${core.namespace}",` +
      `"counts":{"tasks":${JSON.stringify(core.queues.counts)},"workers":${JSON.stringify(workerCounts(core))}},` +
      `"workers":[${workers.join(",")}],"queues":[${queues.join(",")}]}`,
  };
}
