/**
 * Fences: what a change may depend on beside its own input. `if` stands beside `input`, and the change happens only
 * while what it names is still the newest; else it is refused as `fence-lost` and nothing changes.
 */
import type { Static } from "@sinclair/typebox";
import { Closed, Revision } from "./schema.ts";
import { TaskId } from "./tasks.ts";

/** The lease of a task; the token tells which of its leases. */
export const Fence = Closed({
  lease: TaskId,
  token: Revision("The lease's token, as it was given with the task."),
});
export type Fence = Static<typeof Fence>;

/** Over HTTP a fence is a header, written so. */
export const fenceHeader = "cortex-if";
export const fenceText = ({ lease, token }: Fence): string => `lease=${lease}; token=${token}`;

/** The fence that a header says; null: it says none. */
export function fenceOf(text: string): Fence | null {
  const [, lease, digits] = /^lease=([0-9-]{3,32}); ?token=([0-9]{1,16})$/.exec(text) ?? [];
  return lease === undefined ? null : { lease, token: Number(digits) };
}
