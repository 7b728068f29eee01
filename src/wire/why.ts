/** Why a task is not running, on the wire: every reason there is now, and what it asks of workers. */
import { type Static, Type } from "@sinclair/typebox";
import { Closed, Moment, Nullable } from "./schema.ts";
import { TaskId, TaskStateSchema } from "./tasks.ts";

/** So many tasks or workers are named in a reason. */
export const namedMax = 10;

export const ReasonCode = Type.Union(
  [
    Type.Literal("ended"),
    Type.Literal("running"),
    Type.Literal("scheduled"),
    Type.Literal("blocked"),
    Type.Literal("paused"),
    Type.Literal("concurrency"),
    Type.Literal("rate"),
    Type.Literal("pinned"),
    Type.Literal("sticky"),
    Type.Literal("no-worker"),
    Type.Literal("too-large"),
    Type.Literal("kept"),
    Type.Literal("busy"),
    Type.Literal("unavailable"),
    Type.Literal("unclaimed"),
    Type.Literal("starting"),
  ],
  {
    description:
      "ended; running; scheduled: it is not time yet; blocked: it waits for other tasks; paused: its queue or group is; concurrency: as many run as may; rate: as many started as may; pinned: the only worker that may run it is not there; sticky: it waits for the worker that had the last of its name; no-worker: no registered worker fits; too-large: it takes more slots than any of those that fit has; kept: room is kept for it on a worker, and is not enough yet; busy: those that fit have no room; unavailable: some that fit may get no tasks now; unclaimed: some that fit have room and no connection, and claim nothing; starting: nothing is in its way.",
  },
);
export type ReasonCode = Static<typeof ReasonCode>;

export const Reason = Closed({
  code: ReasonCode,
  detail: Type.String({ description: "In words." }),
  untilAt: Nullable(Moment("When that ends by itself, where that is known.")),
  by: Type.Array(Type.String(), {
    description: "Whose doing it is: tasks, by id, or workers, by id, or who paused it. At most ten.",
  }),
});
export type Reason = Static<typeof Reason>;

export const TaskExplained = Closed({
  id: TaskId,
  state: TaskStateSchema,
  summary: Type.String({ description: "All reasons, in a sentence." }),
  reasons: Type.Array(Reason, { description: "Each of them alone would keep it from running." }),
  workers: Closed({
    registered: Type.Integer({ description: "Workers that are not offline." }),
    fitting: Type.Integer({ description: "Those of them that fit what it asks." }),
    free: Type.Integer({ description: "Those of the fitting that have room for it now." }),
  }),
  asks: Type.Array(
    Closed({
      asked: Type.String({ description: "One thing it asks of a worker." }),
      met: Type.Integer({ description: "Registered workers that meet it." }),
    }),
  ),
  ahead: Nullable(
    Type.Integer({
      description:
        "About how many tasks come before it: a rough number. null: it does not stand in line, because it is not ready.",
    }),
  ),
});
export type TaskExplained = Static<typeof TaskExplained>;
