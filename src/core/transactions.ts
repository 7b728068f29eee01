/**
 * Transactions: several operations as one entry, all or nothing. Each sees what those before it did, and is carried out
 * by its own handler as if it had come alone; the first that is refused refuses the whole, and the coordinator takes
 * back what was done. Nothing here knows what the operations are.
 */
import { limits } from "../wire/limits.ts";
import type { CoreOperationName, Input } from "../wire/operations.ts";
import type { Condition } from "../wire/transactions.ts";
import type { Coordinator } from "./coordinator.ts";
import * as kv from "./kv.ts";
import * as locks from "./locks.ts";
import { invalid, type Refusal, type Result, refuse } from "./result.ts";
import * as subscriptions from "./subscriptions.ts";
import * as tasks from "./tasks.ts";

export function run(core: Coordinator, input: Input<"transaction.run">): Result {
  const conditions = input.if ?? [];
  const vague = conditions.findIndex((condition) => Object.keys(condition).length === 1);
  if (vague >= 0) return invalid(`/if/${vague}`, "says nothing that must be so, such as exists");
  const unmet: number[] = [];
  for (const [i, condition] of conditions.entries()) if (!holds(core, condition)) unmet.push(i);
  const branch = unmet.length === 0 ? "then" : "else";
  const texts: string[] = [];
  let units = 0;
  for (const [i, { operation, input: given = {} }] of (input[branch] ?? []).entries()) {
    const pointer = `/${branch}/${i}`;
    const result = core.step(operation as CoreOperationName, given);
    if ("error" in result) return at(pointer, result);
    units += result.ok.length;
    if (units > limits.answerUnitsMax)
      return at(
        pointer,
        refuse("payload-too-large", `the answers up to here are more than ${limits.answerUnitsMax} bytes`),
      );
    if (core.takeNumbers(0) > limits.tasksPerGraphMax)
      return at(
        pointer,
        refuse("payload-too-large", `more than ${limits.tasksPerGraphMax} tasks are submitted up to here`),
      );
    texts.push(result.ok);
  }
  const { store } = core;
  const revision = store.changeCount > 0 ? store.nextRevision : store.revision;
  return {
    ok: `{"branch":"${branch}","unmet":[${unmet}],"revision":${revision},"results":[${texts.join(",")}]}`,
  };
}

/** What a condition is about is told by what it names. */
function holds(core: Coordinator, condition: Condition): boolean {
  if ("key" in condition) return kv.holds(core, condition);
  if ("taskId" in condition) return tasks.holds(core, condition);
  if ("lock" in condition) return locks.holds(core, condition);
  // A message may name a subscription, too.
  if ("messageId" in condition) return subscriptions.keeps(core, condition);
  return subscriptions.holds(core, condition);
}

/** The refusal of one operation as the refusal of all of them: its pointers lead into the transaction. */
function at(pointer: string, { error }: Refusal): Refusal {
  const within = error.errors?.map((one) => ({ ...one, pointer: `${pointer}/input${one.pointer}` }));
  const detail = `${pointer}: ${error.detail}`;
  return { error: { ...error, detail, errors: within ?? [{ pointer, detail: error.detail }] } };
}
