/**
 * Fences: what a change may depend on beside its own input. `if` stands beside `input`, and the change happens only
 * while what it names is still the newest; else it is refused as `fence-lost` and nothing changes.
 */
import { type Static, Type } from "@sinclair/typebox";
import { LockName } from "./locks.ts";
import { Closed, Revision } from "./schema.ts";
import { TaskId } from "./tasks.ts";

/** The lease of a task; the token tells which of its leases. */
const LeaseFence = Closed({
  lease: TaskId,
  token: Revision("The lease's token, as it was given with the task."),
});
/** A lock by a name of its own; the token tells whose. A leadership is a lock too. */
const LockFence = Closed({
  lock: LockName("One of the lock's names."),
  token: Revision("The lock's token."),
});
export const Fence = Type.Union([LeaseFence, LockFence]);
export type Fence = Static<typeof Fence>;

/** Over HTTP a fence is a header, written so. */
export const fenceHeader = "cortex-if";
export const fenceText = (fence: Fence): string =>
  `${"lease" in fence ? `lease=${fence.lease}` : `lock=${fence.lock}`}; token=${fence.token}`;

/** The fence that a header says; null: it says none. */
export function fenceOf(text: string): Fence | null {
  const [, what, name, digits] = /^(lease|lock)=(\S+); ?token=([0-9]{1,16})$/.exec(text) ?? [];
  if (name === undefined) return null;
  return what === "lease" ? { lease: name, token: Number(digits) } : { lock: name, token: Number(digits) };
}
