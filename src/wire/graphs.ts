/** Graphs on the wire: tasks that wait for each other, submitted together, and what a task waits for, in pages. */
import { type Static, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";
import { Closed, dependencyCursorPattern, Integer, Json, Nullable } from "./schema.ts";
import { OnFailSchema, TaskError, TaskId, TaskStateSchema, TaskSubmit } from "./tasks.ts";

export const GraphSubmit = Closed({
  tasks: Type.Array(TaskSubmit, { minItems: 1, maxItems: limits.tasksPerGraphMax }),
});

export const GraphSubmitted = Closed({
  ids: Type.Array(TaskId, { description: "In the order sent." }),
  duplicates: Type.Array(Type.Integer(), {
    description: "The places in `ids` whose idempotency key was known: the ids are the earlier tasks'.",
  }),
});
export type GraphSubmitted = Static<typeof GraphSubmitted>;

export const TaskDependencies = Closed({
  taskId: TaskId,
  cursor: Type.Optional(
    Type.String({ pattern: dependencyCursorPattern, description: "From the page before." }),
  ),
  limit: Type.Optional(Integer(1, limits.pageMax, "Rows on the page. Default 100.")),
});

export const DependencyRow = Closed({
  name: Type.String({ description: "Its `ref`, or else its id: its name among the results." }),
  taskId: TaskId,
  relation: Type.Union([Type.Literal("after"), Type.Literal("child")], {
    description: "after: named when the task was submitted; child: it named the task as its parent.",
  }),
  onFail: OnFailSchema,
  type: Nullable(Type.String()),
  state: Nullable(TaskStateSchema),
  result: Json("What it returned, or null."),
  error: Nullable(TaskError),
});
export type DependencyRow = Static<typeof DependencyRow>;

export const DependencyPage = Closed({
  dependencies: Type.Array(DependencyRow, {
    description:
      "Those of `after` in their order, then children, oldest first. `state` null: no longer kept.",
  }),
  cursor: Nullable(
    Type.String({
      description:
        "Send it to get the next page; null: there is none. A page may be short of `limit` and still have a next one.",
    }),
  ),
});
export type DependencyPage = Static<typeof DependencyPage>;
