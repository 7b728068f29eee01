/**
 * The archive: tasks that have ended leave memory for a table on disk (log/archive.ts). The entry that lets one go
 * tells of it, in a line of its own, so that it is gone from one place and there in the other at once. Here is what is
 * told, by which tags it is found again, and how it is shown: as if it were still here.
 */
import type { ArchiveFilter } from "../wire/archive.ts";
import type { Input } from "../wire/operations.ts";
import type { Coordinator } from "./coordinator.ts";
import { type Failures, failuresText } from "./failures.ts";
import { type LogPiece, linesText, newestOf } from "./logs.ts";
import { type TaskRecord, taskText } from "./tasks.ts";

/** A task as it left. */
export type ArchivedTask = {
  readonly record: TaskRecord;
  readonly failures: Failures | undefined;
  /** How it stood in its graph, as JSON text. */
  readonly graph: string | null;
  /** The end of its log. */
  readonly log: LogPiece | null;
};

/** Inside a transaction that lets go of a task that has ended. */
export function archive(core: Coordinator, record: TaskRecord): void {
  if (!core.config.archives) return;
  const { row, id } = record.spec;
  core.metrics.tasksArchived++;
  core.archive.tell(row, {
    record,
    failures: core.errors.get(row),
    graph: core.graphs.viewOf(record),
    log: core.logs.table.size === 0 ? null : newestOf(core.logs.of(id)),
  });
}

/** What it is found by. A tag is one letter and what it says, so that none is taken for another. */
export function tagsOf({ spec, state }: TaskRecord): string[] {
  const { options, extras } = spec;
  const tags = [`q${options.queue}`, `t${options.type}`, `s${state}`];
  if (extras.group !== null) tags.push(`g${extras.group}`);
  if (extras.idempotencyKey !== null) tags.push(`k${extras.idempotencyKey}`);
  // The two may be one text.
  if (extras.unique !== null && extras.unique.key !== extras.idempotencyKey)
    tags.push(`k${extras.unique.key}`);
  for (const [name, value] of Object.entries(options.labels)) tags.push(`l${name}`, `l${name}=${value}`);
  return tags;
}

/** The tags that all have which a filter means. */
export function tagsOfFilter({ queue, type, state, group, key, label }: ArchiveFilter): string[] {
  const wanted = { q: queue, t: type, s: state, g: group, k: key, l: label };
  return Object.entries(wanted).flatMap(([letter, said]) => (said === undefined ? [] : [letter + said]));
}

/** As everyone sees it. */
export const archivedText = (core: Coordinator, { record, failures, graph }: ArchivedTask): string =>
  taskText(core, record, `,"errors":${failuresText(failures)},"archived":true`, graph);

/** What is kept of its log. */
export const archivedLines = ({ log }: ArchivedTask, input: Omit<Input<"task.logs">, "taskId">): string =>
  linesText(log === null ? [] : [log], input);
