/**
 * Figures of a namespace, a sample a second: how it stands, what was counted since the sample before, and how long
 * that took. The one source for whoever draws how the daemon fares.
 */
import { type Static, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";
import { Counts } from "./queues.ts";
import { Closed, Integer, Moment, Nullable, Revision } from "./schema.ts";
import { DaemonStatus, WorkerCounts } from "./state.ts";

/** What is counted between two samples, by the names of the metrics. */
export const countedNames = [
  "operations",
  "operationsRefused",
  "tasksSubmitted",
  "tasksLeased",
  "tasksCompleted",
  "tasksRetried",
  "tasksFailed",
  "tasksDead",
  "tasksCancelled",
  "tasksInterrupted",
] as const;

const Took = (description: string) =>
  Nullable(
    Closed(
      { p50: Type.Number(), p95: Type.Number(), p99: Type.Number(), max: Type.Number() },
      {
        description: `${description}, in ms: what half, 95 and 99 of a hundred, and all of them took at most; null: there were none.`,
      },
    ),
  );

export const Stats = Closed({
  at: Moment("When the sample was taken."),
  overMs: Type.Integer({ description: "What was counted happened in so many ms before." }),
  status: DaemonStatus,
  uptimeMs: Type.Integer({ description: "Of the daemon." }),
  memoryBytes: Type.Integer({ description: "Resident memory of the daemon." }),
  logBytes: Type.Integer(),
  revision: Revision("The newest revision."),
  durableRevision: Revision("What the log holds for sure."),
  tasks: Counts,
  workers: WorkerCounts,
  health: Closed(
    {
      healthy: Type.Integer(),
      failing: Type.Integer(),
      quarantined: Type.Integer(),
      probation: Type.Integer(),
      deaf: Type.Integer(),
      stalled: Type.Integer(),
    },
    { description: "Workers that are not offline, by health." },
  ),
  schedules: Type.Integer(),
  keys: Type.Integer(),
  locks: Closed({
    held: Type.Integer(),
    waiting: Type.Integer({ description: "Requests that stand in line." }),
  }),
  messages: Closed({
    kept: Type.Integer({ description: "Messages, each stored once." }),
    waiting: Type.Integer({ description: "Of each subscription: to be delivered, at once or again later." }),
    inFlight: Type.Integer({ description: "Of each subscription: delivered, and not acknowledged yet." }),
    dead: Type.Integer({ description: "Of each subscription: failed too often, and kept." }),
  }),
  sessions: Type.Integer({ description: "Sessions that are connected." }),
  counted: Closed({
    operations: Type.Integer({ description: "Refused ones included." }),
    operationsRefused: Type.Integer(),
    tasksSubmitted: Type.Integer(),
    tasksLeased: Type.Integer(),
    tasksCompleted: Type.Integer(),
    tasksRetried: Type.Integer({ description: "Failed attempts that will be tried again." }),
    tasksFailed: Type.Integer(),
    tasksDead: Type.Integer(),
    tasksCancelled: Type.Integer(),
    tasksInterrupted: Type.Integer({ description: "Leases that ended because the worker went silent." }),
  }),
  answerMs: Took("From when an operation was read until its answer left"),
  waitMs: Took("From when a task was ready until its first lease"),
  runMs: Took("From the lease of an attempt until it was completed"),
});
export type Stats = Static<typeof Stats>;

export const StatsStart = Closed({
  historyMs: Type.Optional(
    Integer(
      0,
      limits.durationMsMax,
      "Answer the samples of so long ago as well. They are kept for about an hour, the older ones several in one. Default 0.",
    ),
  ),
});
export const StatsStarted = Closed({
  samples: Type.Array(Stats, { description: "Of the time asked for, oldest first." }),
});
export const StatsQuery = Closed({
  historyMs: Type.Optional(
    Integer(
      0,
      limits.durationMsMax,
      "The samples of so long ago, up to about an hour; the older ones are several in one. Default 0: the newest alone.",
    ),
  ),
});
export type StatsQuery = Static<typeof StatsQuery>;
export const StatsView = Closed({
  samples: Type.Array(Stats, {
    description: "Oldest first; none in the first second after a start.",
  }),
});
export type StatsView = Static<typeof StatsView>;
export const StatsStop = Closed({});
export const StatsStopped = Closed({});
