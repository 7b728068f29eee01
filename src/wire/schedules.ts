/**
 * Schedules on the wire: when tasks are submitted by the daemon itself, and what becomes of runs whose moment passed
 * or whose last task has not ended. A run is one moment of a schedule; what it starts is a task like any other.
 */
import { type Static, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";
import { At, Closed, cronPattern, DurationMs, Integer, Moment, Name, Nullable, Revision } from "./schema.ts";
import { TaskId, TaskSubmit } from "./tasks.ts";

export const scheduleStates = ["active", "paused", "finished"] as const;
export type ScheduleState = (typeof scheduleStates)[number];
export const ScheduleStateSchema = Type.Union(
  [Type.Literal("active"), Type.Literal("paused"), Type.Literal("finished")],
  {
    description:
      "active; paused: nothing starts until it is resumed; finished: no run will ever come any more, it is kept until it is deleted.",
  },
);

const MissedPolicy = Type.Union([Type.Literal("skip"), Type.Literal("once"), Type.Literal("all")], {
  description:
    "What becomes of runs that are more than 10 s late, because the daemon was down, the schedule paused or the clock set forward. skip: nothing; once: one run in the place of all of them; all: each, the newest missedMax of them. Default once.",
});
const OverlapPolicy = Type.Union([Type.Literal("allow"), Type.Literal("skip"), Type.Literal("wait")], {
  description:
    "What a run does while the task of the last one has not ended. allow: starts beside it; skip: does not start; wait: starts when it has ended, one run at most waits. Default allow.",
});

const timing = {
  cron: Type.Optional(
    Type.String({
      pattern: cronPattern,
      maxLength: limits.cronLengthMax,
      description:
        "When, as a cron pattern: minute, hour, day of the month, month, day of the week, with seconds before them if there are six. Or @hourly, @daily, @weekly, @monthly, @yearly. This or everyMs.",
      examples: ["30 2 * * MON-FRI"],
    }),
  ),
  timeZone: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: limits.timeZoneLengthMax,
      description: "The IANA name of the time zone the pattern is read in. Default UTC.",
      examples: ["Europe/Berlin"],
    }),
  ),
  everyMs: Type.Optional(
    DurationMs(
      "When, as the time between two runs, in ms: counted from startAt, or else from when the schedule got this time. This or cron.",
      limits.everyMsMin,
    ),
  ),
  startAt: Type.Optional(At("No run before this moment (ms since 1970, UTC).")),
  endAt: Type.Optional(At("No run after this moment (ms since 1970, UTC).")),
};

/** What a run submits. When, and the key that makes a submit unique, are the schedule's to say. */
export const ScheduleTask = Type.Omit(
  TaskSubmit,
  ["idempotencyKey", "unique", "runAt", "deadlineAt", "ref", "after", "parent", "open", "trace"],
  {
    description: "The task each run submits; its idempotencyKey is `schedule/NAME/MOMENT`.",
  },
);
export type ScheduleTask = Static<typeof ScheduleTask>;

const name = Name("The schedule's name.");
const ifRevision = Type.Optional(
  Revision("Only if this is the putRevision of the schedule as it is; 0: only if there is none."),
);

export const SchedulePut = Closed({
  name,
  ...timing,
  jitterMs: Type.Optional(
    DurationMs("Each run starts by chance up to so many ms later, so that not all start at once. Default 0."),
  ),
  missed: Type.Optional(MissedPolicy),
  missedMax: Type.Optional(
    Integer(1, limits.missedRunsMax, "How many missed runs start at most, where missed is all. Default 100."),
  ),
  overlap: Type.Optional(OverlapPolicy),
  paused: Type.Optional(
    Type.Boolean({
      description: "Pause or resume it as well. Default: a new one runs, another stays as it is.",
    }),
  ),
  task: ScheduleTask,
  ifRevision,
});
export type SchedulePut = Static<typeof SchedulePut>;

const fields = {
  name: Type.String(),
  cron: Nullable(Type.String()),
  timeZone: Type.String(),
  everyMs: Nullable(Type.Integer()),
  startAt: Nullable(Moment("No run before.")),
  endAt: Nullable(Moment("No run after.")),
  jitterMs: Type.Integer(),
  missed: MissedPolicy,
  missedMax: Type.Integer(),
  overlap: OverlapPolicy,
  task: ScheduleTask,
  state: ScheduleStateSchema,
  nextAt: Nullable(
    Moment(
      "The moment of the next run, before jitter; while it is paused the first that was not run. null: none comes.",
    ),
  ),
  waitingAt: Nullable(Moment("The moment of the run that waits for the last one's task to end.")),
  lastAt: Nullable(Moment("The moment the last run was for.")),
  lastTaskId: Nullable(TaskId),
  runsCount: Type.Integer({ description: "Runs started so far." }),
  skippedCount: Type.Integer({ description: "Runs not started because the last one's task had not ended." }),
  createdAt: Moment("When it was first put."),
  putRevision: Revision("The revision of its last put that changed it: for ifRevision."),
  revision: Revision("The revision of its last change; runs are changes too."),
};
export const Schedule = Closed(fields);
export type Schedule = Static<typeof Schedule>;

const nextRuns = Type.Array(Moment("A moment."), {
  description: "The moments of the next runs, before jitter.",
});
const count = Type.Optional(
  Integer(1, limits.nextRunsMax, "How many of the next runs are shown. Default 5."),
);

export const ScheduleRef = Closed({ name });
export const ScheduleGet = Closed({ name, count });
export const ScheduleShown = Closed({ ...fields, nextRuns });
export type ScheduleShown = Static<typeof ScheduleShown>;

export const ScheduleList = Closed({
  state: Type.Optional(ScheduleStateSchema),
  cursor: Type.Optional(Name("From the page before.")),
  limit: Type.Optional(Integer(1, limits.pageMax, "Rows on the page. Default 100.")),
});
export const SchedulePage = Closed({
  schedules: Type.Array(Schedule, { description: "By name." }),
  cursor: Nullable(
    Type.String({
      description:
        "Send it to get the next page; null: there is none. A page may be short of `limit` and still have a next one.",
    }),
  ),
});
export type SchedulePage = Static<typeof SchedulePage>;

export const ScheduleDelete = Closed({ name, ifRevision });
export const ScheduleDeleted = Closed({ name: Type.String() });

export const ScheduleRan = Closed({ name: Type.String(), taskId: TaskId });

export const SchedulePreview = Closed({
  ...timing,
  from: Type.Optional(At("Show the runs after this moment (ms since 1970, UTC). Default now.")),
  count,
});
export const ScheduleRuns = Closed({ nextRuns });
