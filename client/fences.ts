/**
 * A client whose changes happen only while a lease stands: what a handler does through it is refused as `fence-lost`
 * once the task was given to somebody else, however long the handler slept. Reads are as they always are.
 */
import type { Fence } from "../src/wire/fences.ts";
import { type Input, type Output, operations, type StateOperationName } from "../src/wire/operations.ts";
import type { TaskSubmit, TaskSubmitted } from "../src/wire/tasks.ts";
import type { CallOptions } from "./connection.ts";
import { Kv } from "./kv.ts";
import { Schedules } from "./schedules.ts";
import { type Caller, Submitted, SubmittedAll, TaskHandle } from "./tasks.ts";
import { type Transacting, transacting } from "./transactions.ts";
import type { Environment } from "./transport.ts";

export class Fenced implements Caller {
  readonly kv: Kv;
  readonly schedules: Schedules;
  readonly #caller: Caller;
  readonly #fence: Fence;

  constructor(caller: Caller, fence: Fence) {
    this.#caller = caller;
    this.#fence = fence;
    this.kv = new Kv(this);
    this.schedules = new Schedules(this);
  }

  /** Any operation by its name. */
  call<N extends StateOperationName>(op: N, input: Input<N>, options?: CallOptions): Promise<Output<N>> {
    if (operations[op].kind !== "mutation") return this.#caller.call(op, input, options);
    return this.#caller.call(op, input, { ...options, if: this.#fence });
  }

  submit(task: TaskSubmit, options?: CallOptions): Submitted;
  submit(tasks: TaskSubmit[], options?: CallOptions): SubmittedAll;
  submit(input: TaskSubmit | TaskSubmit[], options?: CallOptions): Submitted | SubmittedAll {
    const answer = this.call("task.submit", input, options);
    return Array.isArray(input)
      ? new SubmittedAll(this, answer as Promise<TaskSubmitted[]>)
      : new Submitted(this, answer as Promise<TaskSubmitted>);
  }

  /** One task by its id. */
  task(id: string): TaskHandle {
    return new TaskHandle(this, id);
  }

  /** Several operations, all or nothing, where what is asked of keys and tasks holds. */
  readonly transaction: Transacting = transacting(this);

  /** For whoever waits through it. */
  get environment(): Environment {
    return this.#caller.environment;
  }
  get waitMs(): number {
    return this.#caller.waitMs;
  }
}
