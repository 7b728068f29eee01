/**
 * A client whose changes happen only while a lease or a lock stands: what a handler does through it is refused as
 * `fence-lost` once the task or the lock was given to somebody else, however long it slept. Reads are as they always are.
 * A change bears one fence: what is said with the call, else that of the lock it is made under, else the lease's.
 */
import type { Fence } from "../src/wire/fences.ts";
import { type Input, type Output, operations, type StateOperationName } from "../src/wire/operations.ts";
import type { TaskSubmit } from "../src/wire/tasks.ts";
import type { CallOptions } from "./connection.ts";
import { Kv } from "./kv.ts";
import { type Holdings, type LockCaller, Locks } from "./locks.ts";
import { Schedules } from "./schedules.ts";
import { type Submitted, type SubmittedAll, submitted, TaskHandle } from "./tasks.ts";
import { KeptMessages, KeptTopics } from "./topics.ts";
import { type Transacting, transacting } from "./transactions.ts";
import type { Environment } from "./transport.ts";

export class Fenced implements LockCaller {
  readonly kv: Kv;
  readonly schedules: Schedules;
  readonly locks: Locks;
  readonly topics: KeptTopics = new KeptTopics(this);
  readonly messages: KeptMessages = new KeptMessages(this);
  readonly #caller: LockCaller;
  readonly #fence: Fence;

  constructor(caller: LockCaller, fence: Fence) {
    this.#caller = caller;
    this.#fence = fence;
    this.kv = new Kv(this);
    this.schedules = new Schedules(this);
    this.locks = new Locks(this);
  }

  /** Any operation by its name. */
  call<N extends StateOperationName>(op: N, input: Input<N>, options?: CallOptions): Promise<Output<N>> {
    // A release harms nobody, and must not fail because the fence is lost.
    const changes = !(op in operations) || operations[op].kind === "mutation";
    if (!changes || op === "lock.release") return this.#caller.call(op, input, options);
    return this.#caller.call(op, input, { ...options, if: options?.if ?? this.#fence });
  }

  submit(task: TaskSubmit, options?: CallOptions): Submitted;
  submit(tasks: TaskSubmit[], options?: CallOptions): SubmittedAll;
  submit(input: TaskSubmit | TaskSubmit[], options?: CallOptions): Submitted | SubmittedAll {
    return submitted(this, input, this.call("task.submit", input, options));
  }

  /** One task by its id. */
  task(id: string): TaskHandle {
    return new TaskHandle(this, id);
  }

  /** Several operations, all or nothing, where what is asked of keys, tasks and locks holds. */
  readonly transaction: Transacting = transacting(this);

  get holdings(): Holdings {
    return this.#caller.holdings;
  }
  get workerId(): string | null {
    return this.#caller.workerId;
  }
  /** For whoever waits through it. */
  get environment(): Environment {
    return this.#caller.environment;
  }
  get waitMs(): number {
    return this.#caller.waitMs;
  }
}
