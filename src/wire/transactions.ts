/**
 * Transactions on the wire: conditions, and the operations that are carried out when they hold or when they do not, all
 * or none of them, in one log entry. Which operations may be part of one is said beside the table of operations.
 */
import { type Static, Type } from "@sinclair/typebox";
import { KeyName } from "./kv.ts";
import { limits } from "./limits.ts";
import { LockName } from "./locks.ts";
import { Closed, Json, messageIdPattern, Name, Revision } from "./schema.ts";
import { NameOfSubscription } from "./subscriptions.ts";
import { TaskId, TaskStateSchema } from "./tasks.ts";

const exists = Type.Optional(Type.Boolean({ description: "Whether it is there." }));

/** A kind of condition for each kind of thing that is looked at: what it names comes first, then what must be so. */
export const KeyCondition = Closed({
  key: KeyName("The key that is looked at."),
  revision: Type.Optional(Revision("This is its revision; 0: there is no such key.")),
  exists,
  value: Type.Optional(Json("This is its value: the same JSON, whatever the order of its fields.")),
  atLeast: Type.Optional(Type.Number({ description: "Its value is a number, and no less than this." })),
  atMost: Type.Optional(Type.Number({ description: "Its value is a number, and no more than this." })),
});
export type KeyCondition = Static<typeof KeyCondition>;

export const TaskCondition = Closed({
  taskId: TaskId,
  state: Type.Optional(
    Type.Union([TaskStateSchema, Type.Array(TaskStateSchema, { minItems: 1, maxItems: 8 })], {
      description: "It is in this state, or in one of these.",
    }),
  ),
  revision: Type.Optional(Revision("This is the entry of its last change.")),
  exists,
});
export type TaskCondition = Static<typeof TaskCondition>;

export const LockCondition = Closed({
  lock: LockName("The name of a lock that is looked at."),
  exists: Type.Optional(Type.Boolean({ description: "Whether somebody holds it." })),
  token: Type.Optional(Revision("It is held under this token.")),
  workerId: Type.Optional(Name("It is held by this worker.")),
});
export type LockCondition = Static<typeof LockCondition>;

export const SubscriptionCondition = Closed({
  subscription: NameOfSubscription("The subscription that is looked at."),
  exists,
  revision: Type.Optional(
    Revision(
      "This is the entry of its last change, acknowledgements included; 0: there is none of the name.",
    ),
  ),
});
export type SubscriptionCondition = Static<typeof SubscriptionCondition>;

export const MessageCondition = Closed({
  messageId: Type.String({ pattern: messageIdPattern, description: "The message that is looked at." }),
  exists: Type.Optional(Type.Boolean({ description: "Whether it is kept still." })),
  subscription: Type.Optional(
    NameOfSubscription("It is not settled for this subscription: message.ack would take it, dead or not."),
  ),
});
export type MessageCondition = Static<typeof MessageCondition>;

export const Condition = Type.Union([
  KeyCondition,
  TaskCondition,
  LockCondition,
  SubscriptionCondition,
  MessageCondition,
]);
export type Condition = Static<typeof Condition>;

const operationsMax = limits.operationsPerTransactionMax;
export const Step = Closed({
  operation: Type.String({ maxLength: 64, description: "An operation's name, such as kv.put." }),
  input: Type.Optional(Json("The operation's input, as it is sent alone.")),
});
export type Step = Static<typeof Step>;
const steps = (description: string) => Type.Array(Step, { maxItems: operationsMax, description });

export const TransactionRun = Closed({
  if: Type.Optional(
    Type.Array(Condition, {
      maxItems: limits.conditionsPerTransactionMax,
      description: "What must be so, all of it, before the first operation. Default: nothing.",
    }),
  ),
  then: steps("What is carried out, in order, when the conditions hold."),
  else: Type.Optional(steps("What is carried out instead when one of them does not. Default: nothing.")),
});
export type TransactionRun = Static<typeof TransactionRun>;

export const TransactionDone = Closed({
  branch: Type.Union([Type.Literal("then"), Type.Literal("else")], {
    description: "Which of the two was carried out.",
  }),
  unmet: Type.Array(Type.Integer(), {
    description: "The conditions that do not hold, by their place in `if`.",
  }),
  revision: Revision("Of its entry; where nothing was changed, of the state that it saw."),
  results: Type.Array(Json("What the operation answers when it is sent alone."), {
    description: "In the order of the operations.",
  }),
});
export type TransactionDone = Static<typeof TransactionDone>;
