/**
 * Fences: whether what a change depends on still holds. Looked at in the change's own transaction, so that nothing
 * comes between; and after the kept answers, because what was done once is told so for ever, whoever has the task now.
 */
import type { Fence } from "../wire/fences.ts";
import type { Coordinator } from "./coordinator.ts";
import { type Refusal, refuse } from "./result.ts";
import { tokenOf } from "./tasks.ts";

/** null: it holds. */
export function refuseFence(core: Coordinator, fence: Fence): Refusal | null {
  if ("lock" in fence) {
    const { lock, token } = fence;
    if (core.bids.holder(lock, token) !== undefined) return null;
    return refuse("fence-lost", `lock ${lock} is not held under ${token}`);
  }
  const { lease, token } = fence;
  const task = core.tasks.get(lease);
  if (task?.state === "running" && tokenOf(task) === token) return null;
  const is =
    task === undefined
      ? "there is no such task"
      : task.state === "running"
        ? `it is leased under ${tokenOf(task)}`
        : `it is ${task.state}`;
  return refuse("fence-lost", `lease ${token} of task ${lease} is over: ${is}`);
}
