/**
 * Transactions as a program writes them: a function that says what is to be done, in the words it knows from the client.
 * Nothing is sent while it runs; its calls are noted, go out together, and are answered together, each with the type it
 * always has. So the function cannot wait for one of them, and must not be async: what depends on a value that has to be
 * read first is said as a condition.
 */
import {
  type Input,
  notAStep,
  type Output,
  operations,
  type StateOperationName,
} from "../src/wire/operations.ts";
import type { LeaseView, TaskStanding, TaskState, TaskSubmit } from "../src/wire/tasks.ts";
import type {
  Condition,
  KeyCondition,
  LockCondition,
  MessageCondition,
  Step,
  SubscriptionCondition,
  TaskCondition,
} from "../src/wire/transactions.ts";
import type { CallOptions } from "./connection.ts";
import { type KeyOf, Kv } from "./kv.ts";
import { Schedules } from "./schedules.ts";
import { type Caller, type Submitted, type SubmittedAll, submitted, TaskHandle } from "./tasks.ts";
import { KeptMessages, KeptTopics, type Message } from "./topics.ts";
import type { Environment } from "./transport.ts";

/** Nothing was done, because a condition did not hold and nothing was to be done then. */
export class ConditionsFailed extends Error {
  override name = "ConditionsFailed";
  constructor(
    /** Those that did not hold. */
    readonly unmet: Condition[],
    /** Of the state they were looked at in. */
    readonly revision: number,
  ) {
    super(`nothing was done: ${unmet.map((one) => JSON.stringify(one)).join(" and ")} did not hold`);
  }
}

/** What a branch may give back: an object or an array of what its calls gave, and of anything else. */
// biome-ignore lint/suspicious/noConfusingVoidType: a function that gives back nothing is one
export type Given = Record<string, unknown> | readonly unknown[] | void;
/** The same with every answer there. */
export type Answers<T> = T extends object ? { -readonly [K in keyof T]: Awaited<T[K]> } : T;

/**
 * Does all that `work` says, or nothing; gives back what it gives, with the answers. Where a condition does not hold,
 * `otherwise` is done instead; without it, it rejects with `ConditionsFailed`.
 */
export type Transacting = {
  <const T extends Given>(work: (tx: Transaction) => T, options?: CallOptions): Promise<Answers<T>>;
  <const T extends Given, const E extends Given>(
    work: (tx: Transaction) => T,
    otherwise: (tx: Branch) => E,
    options?: CallOptions,
  ): Promise<Answers<T> | Answers<E>>;
};

/** What is looked at before anything is done. All of it must hold. */
export class Conditions {
  constructor(private readonly note: (condition: Condition) => void) {}

  key(key: string) {
    const note = (must: Omit<KeyCondition, "key">) => this.note({ key, ...must });
    return {
      /** This is its revision; 0: there is no such key. */
      at: (revision: number) => note({ revision }),
      exists: () => note({ exists: true }),
      absent: () => note({ exists: false }),
      /** This is its value, whatever the order of its fields. */
      is: (value: unknown) => note({ value: value ?? null }),
      /** It is a number no less than this. */
      atLeast: (least: number) => note({ atLeast: least }),
      /** It is a number no more than this. */
      atMost: (most: number) => note({ atMost: most }),
    };
  }

  task(taskId: string) {
    const note = (must: Omit<TaskCondition, "taskId">) => this.note({ taskId, ...must });
    return {
      /** It is in one of these states. */
      is: (...states: TaskState[]) => note({ state: states }),
      /** This is the entry of its last change. */
      at: (revision: number) => note({ revision }),
      exists: () => note({ exists: true }),
      absent: () => note({ exists: false }),
    };
  }

  subscription(subscription: string) {
    const note = (must: Omit<SubscriptionCondition, "subscription">) => this.note({ subscription, ...must });
    return {
      exists: () => note({ exists: true }),
      absent: () => note({ exists: false }),
      /** This is the entry of its last change, acknowledgements included; 0: there is none of the name. */
      at: (revision: number) => note({ revision }),
    };
  }

  message(messageId: string) {
    const note = (must: Omit<MessageCondition, "messageId">) => this.note({ messageId, ...must });
    return {
      /** It is kept still. */
      exists: () => note({ exists: true }),
      absent: () => note({ exists: false }),
      /** It is not settled for this subscription: `message.ack` would take it. */
      waitsFor: (subscription: string) => note({ subscription }),
    };
  }

  lock(lock: string) {
    const note = (must: Omit<LockCondition, "lock">) => this.note({ lock, ...must });
    return {
      /** Somebody holds it. */
      held: () => note({ exists: true }),
      /** Nobody does. */
      free: () => note({ exists: false }),
      /** It is held under this token. */
      under: (token: number) => note({ token }),
      /** This worker holds it. */
      by: (workerId: string) => note({ workerId }),
    };
  }
}

/** Whoever said it may change it before it is sent. */
const asItIs = <T>(value: T): T => JSON.parse(JSON.stringify(value) ?? "{}");

/** One operation that was noted, and who waits for its answer. */
type Noted = { step: Step; answer: (value: unknown) => void };

/** One of the two things a transaction may do. */
export class Branch implements Caller {
  readonly kv: BranchKv = new BranchKv(this);
  readonly schedules: Schedules = new Schedules(this);
  readonly topics: KeptTopics = new KeptTopics(this);
  readonly messages: KeptMessages = new KeptMessages(this);
  readonly #caller: Caller;
  readonly #noted: Noted[] = [];
  #isSent = false;
  /** Thrown where it would be sent: a method that is async would make a rejection of it, of which nobody hears in time. */
  #wrong: unknown = null;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** Any operation by its name. */
  call<N extends StateOperationName>(op: N, input: Input<N>, options?: CallOptions): Promise<Output<N>> {
    if (!(op in operations)) throw new TypeError(`${op} is not an operation`);
    const reason = notAStep(op);
    if (reason !== null) throw new TypeError(`${op} cannot be part of a transaction: ${reason}`);
    if (this.#isSent)
      throw new TypeError(`${op} came after the transaction was sent: its function must not wait`);
    for (const [name, said] of Object.entries(options ?? {}))
      if (said !== undefined)
        this.#wrong ??= new TypeError(
          `${op} takes no ${name} in a transaction: it goes with the whole, behind the function`,
        );
    let noted: unknown;
    try {
      noted = asItIs(input);
    } catch (error) {
      this.#wrong ??= error;
    }
    // Where the whole is refused the caller is told so once, and these are never answered.
    return new Promise((answer) =>
      this.#noted.push({ step: { operation: op, input: noted }, answer: answer as Noted["answer"] }),
    );
  }

  submit(task: TaskSubmit): Submitted;
  submit(tasks: TaskSubmit[]): SubmittedAll;
  submit(input: TaskSubmit | TaskSubmit[]): Submitted | SubmittedAll {
    return submitted(this.#caller, input, this.call("task.submit", input));
  }

  /** One task by its id. */
  task(id: string): TaskHandle {
    return new TaskHandle(this, id);
  }

  /** Ends a task that is held under this lease; what its handler returns after that counts no more. */
  complete(
    taskId: string,
    { workerId, token }: Pick<LeaseView, "workerId" | "token">,
    result: unknown = null,
  ): Promise<TaskStanding> {
    return this.call("task.complete", { taskId, workerId, token, result });
  }

  /** Acknowledges a message, as part of what it asked for: all of it is refused where somebody else did before. */
  ack({ subscription, id }: Pick<Message, "subscription" | "id">): Promise<Output<"message.ack">> {
    if (subscription === null || id === null) throw new TypeError("the message waits for no acknowledgement");
    return this.call("message.ack", { subscription, messageId: id });
  }

  /** For the files of the primitives. */
  get environment(): Environment {
    return this.#caller.environment;
  }
  get waitMs(): number {
    return this.#caller.waitMs;
  }

  /** For this file alone: what was noted, after which nothing more may be. */
  sent(): Step[] {
    this.#isSent = true;
    if (this.#wrong !== null) throw this.#wrong;
    return this.#noted.map(({ step }) => step);
  }
  answered(results: readonly unknown[]): void {
    for (const [i, { answer }] of this.#noted.entries()) answer(results[i]);
  }
}

/** What a transaction does where its conditions hold. */
export class Transaction extends Branch {
  readonly conditions: Condition[] = [];
  readonly if: Conditions = new Conditions((condition) => this.conditions.push(asItIs(condition)));
}

/** A key that is not there would refuse the whole if it were read as it is alone. */
class BranchKv extends Kv {
  override async get<T = unknown>(key: string): Promise<KeyOf<T> | null> {
    return (await this.getMany<T>([key]))[0] ?? null;
  }
}

type More = [options?: CallOptions] | [otherwise: (tx: Branch) => Given, options?: CallOptions];

/** How the transactions of a client are carried out. */
export const transacting = (caller: Caller): Transacting =>
  ((work: (tx: Transaction) => Given, ...more: More) => {
    const [first, options] = more;
    return typeof first === "function"
      ? transact(caller, work, first, options)
      : transact(caller, work, null, first);
  }) as Transacting;

async function transact(
  caller: Caller,
  work: (tx: Transaction) => Given,
  otherwise: ((tx: Branch) => Given) | null,
  options: CallOptions | undefined,
): Promise<unknown> {
  const tx = new Transaction(caller);
  const branches = { then: tx, else: new Branch(caller) };
  const given = { then: checked(work(tx)), else: otherwise && checked(otherwise(branches.else)) };
  const input: Input<"transaction.run"> = { then: tx.sent() };
  if (tx.conditions.length > 0) input.if = tx.conditions;
  const steps = branches.else.sent();
  if (steps.length > 0) input.else = steps;
  const { branch, unmet, revision, results } = await caller.call("transaction.run", input, options);
  if (branch === "else" && otherwise === null)
    throw new ConditionsFailed(
      unmet.map((i) => tx.conditions[i] as Condition),
      revision,
    );
  branches[branch].answered(results);
  return filled(given[branch]);
}

function checked(given: Given): Given {
  if (typeof (given as { then?: unknown } | undefined)?.then !== "function") return given;
  throw new TypeError(
    "the function of a transaction gives back an object or an array of what its calls gave; it is not async, and waits for none of them",
  );
}

async function filled(given: Given | null): Promise<unknown> {
  if (typeof given !== "object" || given === null) return given;
  if (Array.isArray(given)) return Promise.all(given);
  const names = Object.keys(given);
  const values = await Promise.all(Object.values(given));
  return Object.fromEntries(names.map((name, i) => [name, values[i]]));
}
