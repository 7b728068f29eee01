/**
 * What is counted of entries: how often, and of tasks how long. It is in no record, so whoever may have to take entries back
 * notes it from time to time and puts back what was noted before them. Each of it is counted inside a transaction that changes
 * something; nothing else may be counted here.
 */
import type { Histogram } from "../lib/histogram.ts";
import type { Coordinator } from "./coordinator.ts";

export const entryCounts = [
  "tasksSubmitted",
  "tasksLeased",
  "tasksCompleted",
  "tasksRetried",
  "tasksFailed",
  "tasksDead",
  "tasksCancelled",
  "tasksDropped",
  "tasksInterrupted",
  "tasksSnoozed",
  "tasksArchived",
  "pushesRevoked",
  "quarantines",
  "scheduleRuns",
  "messagesPublished",
  "messagesAcknowledged",
  "messagesRedelivered",
  "messagesDead",
  "messagesDropped",
] as const;

type EntryCounts = Record<(typeof entryCounts)[number], number>;

/** What the core counts; plain numbers that are handed in. */
export type CoreMetrics = EntryCounts & {
  /** Of no entry: the answer was kept. */
  operationsRepeated: number;
};

/** What was counted up to a moment; of `counts` what is counted of entries alone. */
export type Counted = { readonly counts: Readonly<EntryCounts>; wait: Histogram; run: Histogram };

export const counted = ({ metrics, took }: Counting): Counted => ({
  // With each batch: a copy of all that is counted costs a fifteenth of one by names.
  counts: { ...metrics },
  wait: took.wait.total.copy(),
  run: took.run.total.copy(),
});

/** Back to what was counted then. What the figures of a second have told stays told. */
export function recount({ metrics, took }: Counting, { counts, wait, run }: Counted): void {
  for (const name of entryCounts) metrics[name] = counts[name];
  took.wait.total.become(wait);
  took.run.total.become(run);
}

type Counting = Pick<Coordinator, "metrics" | "took">;
