/**
 * Changes of many tasks at once, named by their ids or by a filter. One call is one transaction of a bounded number of
 * tasks, and its answer says where the next one goes on.
 */
import { type Static, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";
import { Closed, Integer, Json, Name, Nullable, Revision } from "./schema.ts";
import { TaskFilter, TaskId, taskMove } from "./tasks.ts";

const atomic = Type.Optional(
  Type.Boolean({
    description: "Change nothing if one of them is refused, and answer with that refusal. Default false.",
  }),
);

const chosen = {
  taskIds: Type.Optional(
    Type.Array(TaskId, {
      minItems: 1,
      maxItems: limits.tasksPerChangeMax,
      description: "The tasks, by id. This or filter.",
    }),
  ),
  filter: Type.Optional(TaskFilter),
  limit: Type.Optional(
    Integer(1, limits.tasksPerChangeMax, "With filter: change at most so many. Default 1,000."),
  ),
  cursor: Type.Optional(TaskId),
  atomic,
  dryRun: Type.Optional(
    Type.Boolean({
      description:
        "Change nothing; answer what would have been. With a filter of queue and state alone, all that fit are counted at once, whatever the limit. Default false.",
    }),
  ),
};

export const TaskCancelMany = Closed({
  ...chosen,
  reason: Type.Optional(
    Type.String({ maxLength: limits.errorMessageLengthMax, description: "Why, in words." }),
  ),
});
export const TaskRetryMany = Closed(chosen);
export const TaskDeleteMany = Closed(chosen);
export const TaskMoveMany = Closed({ ...chosen, ...taskMove });

export const TaskRefused = Closed({
  id: TaskId,
  code: Type.String({ description: "The code of the error that this task alone would have had." }),
});

const outcome = {
  count: Type.Integer({ description: "How many of the tasks stand as was asked, by this call or before." }),
  refused: Type.Array(TaskRefused, { description: "The others, with the reason of each." }),
};

/** What came of a call. */
export const TasksChanged = Closed({
  ...outcome,
  cursor: Nullable(
    Type.String({
      description:
        "With filter: send it to go on with what comes next; null: that was all. A call may change few and still have a next one.",
    }),
  ),
});
export type TasksChanged = Static<typeof TasksChanged>;
export type TaskRefused = Static<typeof TaskRefused>;

export const TaskCompleteMany = Closed({
  workerId: Name("The worker that holds the leases."),
  tasks: Type.Array(
    Closed({
      taskId: TaskId,
      token: Revision("The lease's token."),
      result: Type.Optional(Json("Any JSON value. Default null.")),
    }),
    { minItems: 1, maxItems: limits.tasksPerChangeMax },
  ),
  atomic,
});
export const TasksCompleted = Closed(outcome);
export type TasksCompleted = Static<typeof TasksCompleted>;
