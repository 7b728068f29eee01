/**
 * Verdicts: what a handler may decide instead of returning a result or throwing an error. It returns or throws one;
 * both mean the same. A verdict says nothing against the worker, however many of them it gives. Also here: which
 * errors end a task by their class.
 */
import { limits } from "../src/wire/limits.ts";
import type { TaskStanding } from "../src/wire/tasks.ts";
import { CortexError } from "./errors.ts";
import type { AssignedTask } from "./workers.ts";

/** From now on in ms, or a moment. */
export type When = number | Date;

/** An Error, so that it may be thrown like one. Made by `Snooze`, `Cancel`, `Discard`, `Retry` and `AfterChildren`. */
export class Verdict extends Error {
  override name = "Verdict";
  constructor(
    message: string,
    readonly carryOut: (held: AssignedTask) => Promise<TaskStanding>,
  ) {
    super(message);
  }
}

/** Starts the task again at that time; the attempt is not counted. */
export const Snooze = (when: When): Verdict => new Verdict("snoozed", (held) => held.snooze(when));

/** Ends the task as cancelled. */
export const Cancel = (why: string): Verdict => new Verdict(why, (held) => held.cancel(short(why)));

/** Ends the task as failed, with this reason: it will not be tried again. */
export const Discard = (why: string): Verdict => {
  const reason = short(why);
  const error = { message: reason, code: "discarded" };
  return new Verdict(why, (held) => held.fail(error, { final: true, reason }));
};

/** Fails the attempt and tries again at that time, if attempts are left; the backoff is not asked. */
export const Retry = (when: When, why = "the handler asked for another attempt"): Verdict =>
  new Verdict(why, (held) => held.fail({ message: short(why), code: "retry" }, timeOf(when)));

/** Ends the attempt, uncharged, until the task's children are done; it runs again with what became of them. */
export const AfterChildren = (): Verdict =>
  new Verdict("waits for its children", async (held) => {
    try {
      return await held.wait();
    } catch (error) {
      // Without children there is nothing to wait for, and would be nothing the next time.
      if (!(error instanceof CortexError) || error.code !== "wrong-state") throw error;
      return held.fail({ message: error.message, code: "no-children" });
    }
  });

/** As the wire says it. */
export const timeOf = (when: When): { retryInMs: number } | { retryAt: number } =>
  typeof when === "number"
    ? { retryInMs: Math.min(Math.max(0, Math.ceil(when)), limits.durationMsMax) }
    : { retryAt: when.getTime() };

const short = (text: string) => text.slice(0, limits.errorMessageLengthMax);

// Of an abstract or private constructor too; what it is made from does not matter here.
type ErrorClass = abstract new (...given: never[]) => unknown;

export type ErrorRules = {
  /** An error of one of these classes is not tried again. */
  finalErrors?: readonly ErrorClass[] | undefined;
  /** Only an error of one of these classes is tried again. Default: all are. */
  retryErrors?: readonly ErrorClass[] | undefined;
};

/** Whether an error ends its task by its class; `finalErrors` come first. */
export function isFinalError(error: unknown, { finalErrors, retryErrors }: ErrorRules): boolean {
  const isOne = (of: ErrorClass) => error instanceof of;
  return finalErrors?.some(isOne) === true || retryErrors?.some(isOne) === false;
}
