/**
 * The trace of tasks where it is not said in their submit: by the headers of a request, or by the environment of a
 * program. What is no trace there is left out; a task is never refused for it.
 */
import { limits } from "./limits.ts";
import { traceparentPattern, tracestatePattern } from "./schema.ts";
import type { TaskSubmit, Trace } from "./tasks.ts";

const isTraceparent = new RegExp(traceparentPattern);
const isTracestate = new RegExp(tracestatePattern);

export function traceOf(
  traceparent: string | null | undefined,
  tracestate: string | null | undefined,
): Trace | null {
  if (!traceparent || !isTraceparent.test(traceparent)) return null;
  const isSound =
    tracestate && tracestate.length <= limits.tracestateLengthMax && isTracestate.test(tracestate);
  return isSound ? { traceparent, tracestate } : { traceparent };
}

/** The input of a submit, each task of it changed; what is no such input stays as it is, to be refused. */
function eachTask(input: unknown, change: (task: TaskSubmit) => TaskSubmit): unknown {
  const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
  const changed = (task: unknown) =>
    isObject(task) && !Array.isArray(task) ? change(task as TaskSubmit) : task;
  if (Array.isArray(input)) return input.map(changed);
  if (isObject(input) && "tasks" in input)
    return Array.isArray(input.tasks) ? { ...input, tasks: input.tasks.map(changed) } : input;
  return changed(input);
}

/** Those of its tasks that say no trace are in this one. */
export const inTrace = (input: unknown, trace: Trace | null): unknown =>
  trace === null ? input : eachTask(input, (task) => ("trace" in task ? task : { ...task, trace }));

/** Without any: a request that is sent again may be in another trace, and asks for the same. */
export const withoutTraces = (input: unknown): unknown => eachTask(input, ({ trace: _, ...task }) => task);
