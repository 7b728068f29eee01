/** Schedules as a program sees them: a method an operation. */
import type { Input, Output } from "../src/wire/operations.ts";
import type { Schedule, ScheduleShown } from "../src/wire/schedules.ts";
import type { CallOptions } from "./connection.ts";
import type { Caller } from "./tasks.ts";

export class Schedules {
  readonly #caller: Caller;
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /**
   * Makes a schedule, or replaces the one of this name. Saying the same again changes nothing, and the same time keeps
   * the next run, so a program may put its schedules each time it starts.
   */
  put(schedule: Input<"schedule.put">, options?: CallOptions): Promise<Schedule> {
    return this.#caller.call("schedule.put", schedule, options);
  }
  get(name: string, { count, ...options }: CallOptions & { count?: number } = {}): Promise<ScheduleShown> {
    return this.#caller.call("schedule.get", count === undefined ? { name } : { name, count }, options);
  }
  list(filter: Input<"schedule.list"> = {}, options?: CallOptions): Promise<Output<"schedule.list">> {
    return this.#caller.call("schedule.list", filter, options);
  }
  /** With `ifRevision`, only if that is its putRevision. */
  delete(
    name: string,
    { ifRevision, ...options }: CallOptions & { ifRevision?: number } = {},
  ): Promise<Output<"schedule.delete">> {
    return this.#caller.call(
      "schedule.delete",
      ifRevision === undefined ? { name } : { name, ifRevision },
      options,
    );
  }
  pause(name: string, options?: CallOptions): Promise<Schedule> {
    return this.#caller.call("schedule.pause", { name }, options);
  }
  resume(name: string, options?: CallOptions): Promise<Schedule> {
    return this.#caller.call("schedule.resume", { name }, options);
  }
  /** Submits its task now. */
  run(name: string, options?: CallOptions): Promise<Output<"schedule.run">> {
    return this.#caller.call("schedule.run", { name }, options);
  }
  /** When a schedule would run. */
  preview(input: Input<"schedule.preview">, options?: CallOptions): Promise<Output<"schedule.preview">> {
    return this.#caller.call("schedule.preview", input, options);
  }
}
