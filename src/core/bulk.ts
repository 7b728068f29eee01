/**
 * Deleting and moving tasks, and changing many of them at once. A call for many is one transaction over a bounded
 * number of tasks: all of them are checked first and those that may be are changed then, so that `atomic` and `dryRun`
 * are the same path ended earlier. What one task may and how it changes is the single operations' own.
 */
import { limits } from "../wire/limits.ts";
import type { Input } from "../wire/operations.ts";
import { priorities, type TaskState, taskStates } from "../wire/tasks.ts";
import { refuseBacklog } from "./backlog.ts";
import type { Coordinator } from "./coordinator.ts";
import { shared } from "./options.ts";
import { Coming } from "./queues.ts";
import { invalid, type Refusal, type Result, refuse } from "./result.ts";
import {
  cancelAsked,
  completeOne,
  forget,
  isFinal,
  looksPerPage,
  mayCancel,
  mayComplete,
  mayRetry,
  retryOne,
  standing,
  type TaskRecord,
  unknownTask,
} from "./tasks.ts";

/** A change of one task. */
type Act = {
  /** A filter without a state means tasks in these. */
  readonly from: readonly TaskState[];
  /** Why this task may not be changed, as one more than `before` that are changed with it. */
  refuse(record: TaskRecord, before: number): Refusal | null;
  carryOut(record: TaskRecord): void;
};

const unfinished: readonly TaskState[] = taskStates.filter((state) => !isFinal(state));
const waiting: readonly TaskState[] = unfinished.filter((state) => state !== "running");

// --- one task ---------------------------------------------------------------------------------------------

export function remove(core: Coordinator, input: Input<"task.delete">): Result {
  const record = core.tasks.get(input.taskId);
  if (record === undefined) return unknownTask(input.taskId);
  const refused = mayDelete(core, record);
  if (refused !== null) return refused;
  deleteOne(core, record);
  return { ok: `{"id":"${input.taskId}"}` };
}

function mayDelete(core: Coordinator, { spec, state }: TaskRecord): Refusal | null {
  if (state === "running") return refuse("wrong-state", `task ${spec.id} is running; cancel it first`);
  // What is gone counts as done for those that wait for it.
  if (!core.graphs.isNeeded(spec)) return null;
  return refuse("wrong-state", `a task that has not ended waits for task ${spec.id}, or for its result`);
}

/** A task that waits is cancelled on its way out, so that whoever depends on it hears of its end. */
function deleteOne(core: Coordinator, record: TaskRecord): void {
  const { spec } = record;
  if (!isFinal(record.state)) cancelAsked(core, record, "deleted on request");
  // Where none that have ended are kept it has gone with that.
  if (core.tasks.has(spec.row)) forget(core, spec);
}

export function move(core: Coordinator, input: Input<"task.move">): Result {
  const moving = mover(core, input);
  if ("error" in moving) return moving;
  const record = core.tasks.get(input.taskId);
  if (record === undefined) return unknownTask(input.taskId);
  const refused = moving.refuse(record, 0);
  if (refused !== null) return refused;
  moving.carryOut(record);
  return standing(core.tasks.get(input.taskId) as TaskRecord);
}

function mover(
  core: Coordinator,
  { queue, priority }: Pick<Input<"task.move">, "queue" | "priority">,
): Act | Refusal {
  if (queue === undefined && priority === undefined)
    return invalid("", "names neither a queue nor a priority: one of them, or both, say where it goes");
  /** Of the tasks that were found to fit: how many come to the queue, and with which idempotency keys. */
  let comingCount = 0;
  const keys = new Set<string>();
  const coming = new Coming();
  return {
    from: waiting,
    refuse(record) {
      const { id, options, extras } = record.spec;
      if (!waiting.includes(record.state))
        return refuse("wrong-state", `task ${id} is ${record.state}; a task that waits is moved`);
      if (queue === undefined || queue === options.queue) return null;
      const key = extras.idempotencyKey;
      const other = key === null ? undefined : core.queues.byKey(queue, key);
      if (key !== null && (other !== undefined || keys.has(key)))
        return refuse(
          "wrong-state",
          `${other === undefined ? "another of the tasks" : `task ${other.spec.id} of queue ${queue}`} has the idempotency key of task ${id}`,
        );
      // A backlog is of tasks that are ready or delayed: what is blocked is none of it.
      const counts = record.state === "blocked" ? 0 : 1;
      const full = counts === 0 ? null : refuseBacklog(core, queue, comingCount + 1);
      if (full !== null) return full;
      if (extras.workerId === null && !core.queues.hasRoomFor({ ...options, queue }, coming))
        return refuse(
          "too-many-requirement-sets",
          `tasks with ${limits.lanesMax} different combinations of queue, kind and capabilities are waiting`,
        );
      comingCount += counts;
      if (key !== null) keys.add(key);
      return null;
    },
    carryOut(record) {
      const { spec } = record;
      const wanted = {
        ...spec.options,
        queue: queue ?? spec.options.queue,
        priority: priority === undefined ? spec.options.priority : priorities.indexOf(priority),
      };
      if (wanted.queue === spec.options.queue && wanted.priority === spec.options.priority) return;
      core.tasks.put(spec.row, {
        ...record,
        spec: spec.with({ options: shared(wanted) }),
        revision: core.store.nextRevision,
      });
    },
  };
}

// --- many -------------------------------------------------------------------------------------------------

export const cancelMany = (core: Coordinator, input: Input<"task.cancelMany">): Result =>
  change(core, input, {
    from: unfinished,
    refuse: mayCancel,
    carryOut: (record) => cancelAsked(core, record, input.reason),
  });

export function retryMany(core: Coordinator, input: Input<"task.retryMany">): Result {
  /** What makes those unique that were found to fit, and what they ask of workers. */
  const keys = new Set<string>();
  const coming = new Coming();
  return change(core, input, {
    from: ["failed", "dead", "cancelled"],
    refuse(record, before) {
      const refused = mayRetry(core, record, before + 1, coming);
      const { unique } = record.spec.extras;
      if (refused !== null || unique === null) return refused;
      if (keys.has(unique.key))
        return refuse(
          "wrong-state",
          `task ${record.spec.id} is unique by the same as another of the tasks, which takes its place`,
        );
      keys.add(unique.key);
      return null;
    },
    carryOut: (record) => retryOne(core, record),
  });
}

export const deleteMany = (core: Coordinator, input: Input<"task.deleteMany">): Result =>
  change(core, input, {
    from: taskStates.filter((state) => state !== "running"),
    refuse: (record) => mayDelete(core, record),
    carryOut: (record) => deleteOne(core, record),
  });

export function moveMany(core: Coordinator, input: Input<"task.moveMany">): Result {
  const moving = mover(core, input);
  return "error" in moving ? moving : change(core, input, moving);
}

/** Of the input of any of them. */
type Choice = Input<"task.retryMany">;
type RefusedOne = { id: string; error: Refusal["error"] };

function change(core: Coordinator, input: Choice, act: Act): Result {
  const { taskIds, filter, atomic, dryRun } = input;
  if ((taskIds === undefined) === (filter === undefined))
    return invalid("", "the tasks are named by taskIds or by filter, by one of the two");
  if (taskIds !== undefined && (input.cursor !== undefined || input.limit !== undefined))
    return invalid("", "limit and cursor go with filter");
  if (dryRun && filter !== undefined && input.cursor === undefined && isCounted(filter)) {
    const { queue, state } = filter;
    const states = state === undefined ? act.from : act.from.filter((one) => one === state);
    return answer(core.queues.countOf(queue, states), [], null);
  }
  const fitting: TaskRecord[] = [];
  const refused: RefusedOne[] = [];
  const check = (record: TaskRecord) => {
    const why = act.refuse(record, fitting.length);
    if (why === null) fitting.push(record);
    else refused.push({ id: record.spec.id, error: why.error });
  };
  let cursor: string | null = null;
  if (taskIds !== undefined) {
    for (const id of new Set(taskIds)) {
      const record = core.tasks.get(id);
      if (record === undefined) refused.push({ id, error: unknownTask(id).error });
      else check(record);
    }
  } else {
    const limit = input.limit ?? limits.tasksPerChangeMax;
    const isEnough = () => fitting.length + refused.length === limit;
    const from = input.cursor === undefined ? filter : { ...filter, cursor: input.cursor };
    cursor = core.queues.look(from ?? {}, looksPerPage, isEnough, (record) => {
      if (act.from.includes(record.state)) check(record);
    });
  }
  if (atomic && refused.length > 0) return refusedWhole(refused);
  if (!dryRun)
    // One that another's change has changed stands as that left it.
    for (const record of fitting) if (core.tasks.get(record.spec.row) === record) act.carryOut(record);
  return answer(fitting.length, refused, cursor);
}

/** Whether the counts that are kept by queue and state tell how many tasks fit. */
const isCounted = (filter: NonNullable<Choice["filter"]>): boolean =>
  Object.keys(filter).every((field) => field === "queue" || field === "state");

const refusedText = (refused: readonly RefusedOne[]): string =>
  refused.map(({ id, error }) => `{"id":"${id}","code":"${error.code}"}`).join(",");

const answer = (count: number, refused: readonly RefusedOne[], cursor: string | null): Result => ({
  ok: `{"count":${count},"refused":[${refusedText(refused)}],"cursor":${cursor === null ? null : `"${cursor}"`}}`,
});

function refusedWhole(refused: readonly RefusedOne[]): Refusal {
  const { error } = refused[0] as RefusedOne;
  const others = refused.length === 1 ? "" : ` (and ${refused.length - 1} more are refused)`;
  return { error: { ...error, detail: `${error.detail}${others}; nothing was changed` } };
}

export function completeMany(core: Coordinator, input: Input<"task.completeMany">): Result {
  const { workerId, tasks } = input;
  const done: { record: TaskRecord; result: string | null }[] = [];
  const refused: RefusedOne[] = [];
  for (const one of tasks) {
    const checked = mayComplete(core, { ...one, workerId });
    if ("error" in checked) refused.push({ id: one.taskId, error: checked.error });
    else done.push(checked);
  }
  if (input.atomic && refused.length > 0) return refusedWhole(refused);
  // Named twice, it is completed once.
  for (const { record, result } of done)
    if (result !== null && core.tasks.get(record.spec.row) === record) completeOne(core, record, result);
  return { ok: `{"count":${done.length},"refused":[${refusedText(refused)}]}` };
}
