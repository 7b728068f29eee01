/**
 * What the attempts of a task failed of: the newest few, with their stacks. A table of its own, so that a task that
 * never failed pays nothing, and one that did writes it with a failure and not with every change. A row goes with its
 * task. Also here: which errors are final.
 */
import { limits } from "../wire/limits.ts";
import type { TaskError } from "../wire/tasks.ts";
import type { Coordinator } from "./coordinator.ts";
import type { TaskOptions } from "./options.ts";
import { leaseOf, type TaskRecord, type TaskSpec } from "./tasks.ts";

export type Failure = {
  readonly attempt: number;
  readonly at: number;
  readonly workerId: string;
  readonly error: TaskError;
};

/** Oldest first, never empty. */
export type Failures = readonly Failure[];

const unitsOf = ({ workerId, error }: Failure): number =>
  workerId.length + error.message.length + (error.code?.length ?? 0) + (error.stack?.length ?? 0);

/** What they take in memory. */
export const sizeOfFailures = (failures: Failures | undefined): number =>
  failures === undefined ? 0 : failures.reduce((units, one) => units + unitsOf(one), 0);

/** Inside a transaction: remembers what became of a running attempt. The oldest are forgotten for it. */
export function noteFailure(core: Coordinator, record: TaskRecord, error: TaskError): void {
  const { row } = record.spec;
  const failures: Failure[] = [
    ...(core.errors.get(row) ?? []),
    { attempt: record.attempt, at: core.now, workerId: leaseOf(record).workerId, error },
  ];
  let units = sizeOfFailures(failures);
  while (failures.length > limits.errorsPerTaskMax || units > limits.errorUnitsPerTaskMax)
    units -= unitsOf(failures.shift() as Failure);
  core.errors.put(row, failures);
}

/** Inside a transaction: the task is gone. */
export function forgetFailures(core: Coordinator, { row }: TaskSpec): void {
  if (core.errors.has(row)) core.errors.delete(row);
}

export function failuresText(failures: Failures | undefined): string {
  const texts = failures?.map(
    ({ attempt, at, workerId, error }) =>
      `{"attempt":${attempt},"at":${at},"workerId":"${workerId}",${JSON.stringify(error).slice(1)}`,
  );
  return `[${texts?.join(",") ?? ""}]`;
}

/** Whether the task says that an error with this code ends it. */
export function isFinalCode({ finalCodes, retryCodes }: TaskOptions, code: string | undefined): boolean {
  if (code !== undefined && finalCodes.includes(code)) return true;
  return retryCodes !== null && (code === undefined || !retryCodes.includes(code));
}
