/** Tasks on the wire: what may be sent, what comes back. The life cycle is drawn in core/tasks.ts. */
import { type Static, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";
import {
  At,
  Closed,
  DurationMs,
  Integer,
  Json,
  Labels,
  labelFilterPattern,
  Moment,
  Name,
  Names,
  Nullable,
  Revision,
  taskIdPattern,
  traceparentPattern,
  tracestatePattern,
  uniquePartPattern,
} from "./schema.ts";

export const priorities = ["critical", "high", "normal", "low"] as const;
export type Priority = (typeof priorities)[number];
export const PrioritySchema = Type.Union(
  [Type.Literal("critical"), Type.Literal("high"), Type.Literal("normal"), Type.Literal("low")],
  { description: "Tasks of a higher priority are pushed first; waiting makes a task more urgent (ageing)." },
);

export const taskStates = [
  "scheduled",
  "blocked",
  "queued",
  "running",
  "completed",
  "failed",
  "dead",
  "cancelled",
] as const;
export type TaskState = (typeof taskStates)[number];
export const TaskStateSchema = Type.Union(
  [
    Type.Literal("scheduled"),
    Type.Literal("blocked"),
    Type.Literal("queued"),
    Type.Literal("running"),
    Type.Literal("completed"),
    Type.Literal("failed"),
    Type.Literal("dead"),
    Type.Literal("cancelled"),
  ],
  {
    description:
      "scheduled: delayed, or waiting to be tried again; blocked: waits for other tasks; queued: ready; running: leased to a worker; completed; failed: ended by a final error; dead: out of attempts or interruptions; cancelled.",
  },
);

export const TaskId = Type.String({
  pattern: taskIdPattern,
  description: "A task's id: the revision that made it, and its number in that entry.",
  examples: ["1042-0"],
});

export const Backoff = Closed(
  {
    strategy: Type.Union(
      [
        Type.Literal("fixed"),
        Type.Literal("exponential"),
        Type.Literal("linear"),
        Type.Literal("polynomial"),
        Type.Literal("list"),
      ],
      {
        description:
          "With n the failed attempts so far. fixed: delayMs each time; linear: delayMs × n; polynomial: delayMs × n to the power; exponential: delayMs, doubled with each; list: the n-th of delaysMs, the last one from then on.",
      },
    ),
    delayMs: Type.Optional(DurationMs("The first delay, in ms; not with a list. Default 1,000.")),
    delaysMs: Type.Optional(
      Type.Array(DurationMs("One delay, in ms."), {
        minItems: 1,
        maxItems: limits.backoffDelaysMax,
        description: "The delays of a list, in ms; with no other strategy.",
      }),
    ),
    power: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: limits.backoffPowerMax,
        description: "Of the polynomial strategy alone. Default 2.",
      }),
    ),
    maxMs: Type.Optional(DurationMs("The longest delay, in ms. Default 3,600,000; for a list none.")),
    jitter: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: 1,
        description:
          "Which part of the delay is drawn by chance: 0 none, 1 all of it (full jitter). Default 0.5.",
      }),
    ),
  },
  {
    description:
      "How long to wait before a failed attempt is tried again. Default: exponential from 1,000 ms.",
  },
);
export type Backoff = Static<typeof Backoff>;

export const Unique = Closed(
  {
    by: Type.Optional(
      Type.Array(
        Type.String({ pattern: uniquePartPattern, minLength: 1, maxLength: limits.pointerLengthMax }),
        {
          maxItems: limits.uniquePartsMax,
          uniqueItems: true,
          description:
            "What makes two tasks the same: queue, type, group, payload, or JSON pointers into the payload such as /order/id. Default: queue, type and payload; with a key the queue.",
        },
      ),
    ),
    key: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: limits.idempotencyKeyLengthMax,
        description: "A key of your own, beside what `by` says.",
      }),
    ),
    while: Type.Optional(
      Type.Union([Type.Literal("waiting"), Type.Literal("unfinished")], {
        description:
          "How long the earlier task stands for the later: until a worker begins it, or until it has ended. Default unfinished; with forMs no longer than that.",
      }),
    ),
    forMs: Type.Optional(
      DurationMs(
        "How long from its submission on, in ms, whatever has become of it, also when it is not kept any more.",
        1,
      ),
    ),
    keep: Type.Optional(
      Type.Union([Type.Literal("earlier"), Type.Literal("newer")], {
        description:
          "earlier: the later submit changes nothing. newer: it takes the place of what the earlier one asked for, unless a worker has begun it. Default earlier.",
      }),
    ),
    debounceMs: Type.Optional(
      DurationMs("Start when no submit like it has come for so long; the newest one counts. In ms.", 1),
    ),
    maxWaitMs: Type.Optional(
      DurationMs(
        "With debounceMs: start so long after the first one at the latest, in ms. Default: never mind.",
        1,
      ),
    ),
  },
  {
    description:
      "Makes no second task of the same: a later submit answers with the earlier task. It holds for array submits in their order.",
  },
);
export type Unique = Static<typeof Unique>;

const Codes = (description: string) =>
  Type.Array(Type.String({ minLength: 1, maxLength: limits.nameLengthMax }), {
    maxItems: limits.labelsMax,
    uniqueItems: true,
    description,
  });
export const onFails = ["fail", "ignore", "wait"] as const;
export type OnFail = (typeof onFails)[number];
export const OnFailSchema = Type.Union([Type.Literal("fail"), Type.Literal("ignore"), Type.Literal("wait")], {
  description:
    "What becomes of the task that waits, where the one it waits for ends failed, dead or cancelled. fail: it ends so too (failed, or cancelled); ignore: that counts as done; wait: it waits until somebody retries the other and that completes. Default fail.",
});

const dependencyName = "A task: its id, or its `ref` where it comes in the same submit.";
export const Dependency = Closed(
  { task: Name(dependencyName), onFail: Type.Optional(OnFailSchema) },
  { description: "A task to wait for, and what happens where it fails." },
);

export const Parent = Closed(
  {
    taskId: TaskId,
    onFail: Type.Optional(OnFailSchema),
    workerId: Type.Optional(Name("Of a running parent: the worker that holds its lease.")),
    token: Type.Optional(Revision("Of a running parent: its lease's token.")),
  },
  {
    description:
      "The task that waits for this one: a running one, whose worker names its lease and says `task.wait` then; or an open one.",
  },
);
const Requirements = (description: string) =>
  Type.Array(Type.String({ minLength: 1, maxLength: limits.requirementLengthMax }), {
    maxItems: limits.requirementsMax,
    uniqueItems: true,
    description,
  });

export const Trace = Closed(
  {
    traceparent: Type.String({
      pattern: traceparentPattern,
      description: "The trace, and the span in it that submitted the task.",
    }),
    tracestate: Type.Optional(
      Type.String({
        pattern: tracestatePattern,
        maxLength: limits.tracestateLengthMax,
        description: "What tracing systems add to that.",
      }),
    ),
  },
  { description: "The W3C Trace Context it was submitted in; whoever runs it gets it as it is." },
);
export type Trace = Static<typeof Trace>;

export const TaskSubmit = Closed({
  queue: Type.Optional(Name("The queue. Default `default`.")),
  type: Name("What is to be done; a worker chooses its handler by it."),
  payload: Type.Optional(Json("Any JSON value. Default null.")),
  priority: Type.Optional(PrioritySchema),
  attempts: Type.Optional(
    Integer(1, limits.attemptsMax, "How often it may be tried before it is dead. Default 3."),
  ),
  backoff: Type.Optional(Backoff),
  finalCodes: Type.Optional(
    Codes("An error with one of these codes is final: the task is failed, and not tried again."),
  ),
  retryCodes: Type.Optional(
    Codes("Only an error with one of these codes is tried again; any other is final. Default: all are."),
  ),
  interruptionsMax: Type.Optional(
    Integer(
      1,
      limits.attemptsMax,
      "How often a worker may go silent while running it before it is dead. Default: what the daemon is told.",
    ),
  ),
  leaseMs: Type.Optional(
    DurationMs(
      "The silence a worker is allowed before the task is taken back, in ms. Default 30,000.",
      limits.leaseMsMin,
    ),
  ),
  timeoutMs: Type.Optional(
    DurationMs(
      "The longest an attempt may run, in ms, whatever its worker says. Default: none.",
      limits.leaseMsMin,
    ),
  ),
  delayMs: Type.Optional(DurationMs("Start no earlier than this many ms from now. Default 0.")),
  runAt: Type.Optional(
    At("Start no earlier than this moment (ms since 1970, UTC); one that is past is now. This or delayMs."),
  ),
  ttlMs: Type.Optional(
    DurationMs(
      "How long it may wait, once it is ready, for a worker to begin it; then it is failed, with the error code `expired`. In ms. Default: for ever.",
      1,
    ),
  ),
  deadlineAt: Type.Optional(
    At(
      "By when it must have ended (ms since 1970, UTC), whatever it is doing; then it is failed, with the error code `deadline`. Default: none.",
    ),
  ),
  idempotencyKey: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: limits.idempotencyKeyLengthMax,
      description:
        "A second submit to the same queue with the same key makes no task and answers with the first one's id, for as long as that task is kept.",
    }),
  ),
  unique: Type.Optional(Unique),
  kind: Type.Optional(Name("Only workers of this kind may run it.")),
  capabilities: Type.Optional(Names("Only workers that have all of these may run it.")),
  requires: Type.Optional(
    Requirements(
      "Only workers whose labels and capabilities meet all of these may run it: `gpu`, `!spot`, `mem >= 16`, `node >= 18.2`, `zone != eu`, `model in [a, b]`, `zone not in [eu, us]`.",
    ),
  ),
  prefers: Type.Optional(
    Requirements(
      "Of the workers that have room those come first that meet the first of these, then the second, and so on. Nothing waits for a worker it prefers.",
    ),
  ),
  slots: Type.Optional(Integer(1, limits.slotsMax, "Slots of a worker's capacity that it takes. Default 1.")),
  workerId: Type.Optional(
    Name("Only this worker may run it, whether or not it is registered yet; it must fit like all others."),
  ),
  sticky: Type.Optional(
    Name("Tasks of one such name go to the worker that had the last of them, if it is there and fits."),
  ),
  stickyMs: Type.Optional(
    DurationMs(
      "How long it waits for that worker to have room, once another could have begun it; then any worker may. In ms. Default 10,000.",
    ),
  ),
  labels: Type.Optional(Labels("For people and filters; dispatch does not read them.")),
  group: Type.Optional(
    Name(
      "Whose task it is (a tenant, a host, an account): the groups of a queue take fair turns, and each has the queue's per-group limits.",
    ),
  ),
  limits: Type.Optional(
    Type.Array(Name("One named limit."), {
      maxItems: limits.limitsPerTaskMax,
      uniqueItems: true,
      description: "The named limits it counts for. One that is not set limits nothing.",
    }),
  ),
  ref: Type.Optional(
    Name("What the tasks that wait for it call it: in `after` of the same submit, and among their results."),
  ),
  after: Type.Optional(
    Type.Array(Type.Union([Name(dependencyName), Dependency]), {
      maxItems: limits.dependenciesMax,
      description: "The tasks it waits for: it is blocked until they are done.",
    }),
  ),
  parent: Type.Optional(Parent),
  trace: Type.Optional(Trace),
  open: Type.Optional(
    Type.Boolean({
      description:
        "It takes children from anyone, and is blocked until it is closed (`task.close`) and they are done. Default false.",
    }),
  ),
});
export type TaskSubmit = Static<typeof TaskSubmit>;

export const TaskSubmitInput = Type.Union([
  TaskSubmit,
  Type.Array(TaskSubmit, { minItems: 1, maxItems: limits.tasksPerSubmitMax }),
]);

export const TaskSubmitted = Closed({
  id: TaskId,
  state: TaskStateSchema,
  duplicate: Type.Boolean({
    description: "The idempotency key was known, or there was one like it: this is the earlier task.",
  }),
  replaced: Type.Optional(
    Type.Boolean({ description: "true: the earlier task is now what this submit asks for." }),
  ),
});
export type TaskSubmitted = Static<typeof TaskSubmitted>;

export const LeaseView = Closed({
  workerId: Name("The worker that holds it."),
  token: Revision("The fencing token: the revision of the entry that made the lease."),
  deadlineAt: Moment("When it ends if the worker stays silent."),
});
export type LeaseView = Static<typeof LeaseView>;

export const TaskError = Closed({
  message: Type.String({ maxLength: limits.errorMessageLengthMax }),
  code: Type.Optional(Type.String({ maxLength: limits.nameLengthMax })),
  stack: Type.Optional(Type.String({ maxLength: limits.errorStackLengthMax })),
});
export type TaskError = Static<typeof TaskError>;

/** One attempt that failed or was interrupted. */
export const FailedAttempt = Closed({
  attempt: Type.Integer({ description: "Which attempt it was; an interrupted one is counted no further." }),
  at: Moment("When it ended."),
  workerId: Type.String({ description: "The worker that had it." }),
  message: Type.String(),
  code: Type.Optional(
    Type.String({
      description:
        "The error's. `timeout`: it ran longer than it may; `deadline`: the task's time was over; `interrupted`: its worker went silent.",
    }),
  ),
  stack: Type.Optional(Type.String()),
});
export type FailedAttempt = Static<typeof FailedAttempt>;
/** How a task stands in its graph. */
export const GraphView = Closed(
  {
    parentId: Nullable(TaskId),
    open: Type.Boolean({ description: "It takes children and waits to be closed." }),
    total: Type.Integer({ description: "Tasks it waits for or has waited for, children included." }),
    pending: Type.Integer({ description: "Of those, how many it still waits for." }),
    completed: Type.Integer({ description: "Of those, how many are completed." }),
    failed: Type.Integer({ description: "Of those, how many are failed, dead or cancelled." }),
  },
  { description: "The task it is a child of, and what it waits for: `task.dependencies` lists them." },
);
export type GraphView = Static<typeof GraphView>;

/** A task as everyone sees it. `payload`, `progress` and `result` are the JSON values that were sent. */
export const Task = Closed({
  id: TaskId,
  queue: Type.String(),
  type: Type.String(),
  payload: Json("What was submitted."),
  priority: PrioritySchema,
  state: TaskStateSchema,
  attempt: Type.Integer({ description: "Attempts started so far; interrupted ones are not counted." }),
  attempts: Type.Integer({ description: "Attempts allowed." }),
  interruptions: Type.Integer({ description: "How often a worker went silent while running it." }),
  backoff: Backoff,
  finalCodes: Type.Array(Type.String()),
  retryCodes: Nullable(Type.Array(Type.String(), { description: "null: all errors are tried again." })),
  interruptionsMax: Nullable(Type.Integer({ description: "null: what the daemon is told." })),
  leaseMs: Type.Integer(),
  timeoutMs: Nullable(Type.Integer()),
  expiresAt: Nullable(Moment("When its time to live ends; null once a worker has begun it.")),
  deadlineAt: Nullable(Moment("By when it must have ended.")),
  idempotencyKey: Nullable(Type.String()),
  uniqueHash: Nullable(Type.String({ description: "A hash of what makes it unique." })),
  kind: Nullable(Type.String()),
  capabilities: Type.Array(Type.String()),
  requires: Type.Array(Type.String(), { description: "As submitted, each in its one spelling." }),
  prefers: Type.Array(Type.String()),
  slots: Type.Integer(),
  workerId: Nullable(Type.String({ description: "The only worker that may run it." })),
  sticky: Nullable(Type.String()),
  stickyMs: Nullable(Type.Integer()),
  labels: Type.Record(Type.String(), Type.String()),
  group: Nullable(Type.String()),
  limits: Type.Array(Type.String()),
  trace: Nullable(Trace),
  graph: Nullable(GraphView),
  createdAt: Moment("When it was submitted."),
  runAt: Nullable(Moment("When it becomes ready; null once it is.")),
  startedAt: Nullable(Moment("When the newest attempt started.")),
  finishedAt: Nullable(Moment("When it reached a final state.")),
  lease: Nullable(LeaseView),
  progress: Json("What the worker reported last, or null."),
  result: Json("What the worker returned, or null."),
  error: Nullable(TaskError),
  reason: Nullable(
    Type.String({
      description: "Why it is dead, cancelled or discarded, or ended for another task, in words.",
    }),
  ),
  revision: Revision("The revision of its last change."),
});
export type Task = Static<typeof Task>;

/** One task, looked at by itself. */
export const TaskShown = Closed({
  ...Task.properties,
  errors: Type.Array(FailedAttempt, {
    description: `What its attempts failed of, oldest first: the newest ${limits.errorsPerTaskMax}, or fewer where their stacks are long.`,
  }),
  archived: Type.Boolean({
    description: "It has left memory and is read from the archive, where nothing changes it any more.",
  }),
});
export type TaskShown = Static<typeof TaskShown>;

export const TaskRef = Closed({ taskId: TaskId });

export const taskMove = {
  queue: Type.Optional(Name("The queue it goes to.")),
  priority: Type.Optional(PrioritySchema),
};
export const TaskMove = Closed({ taskId: TaskId, ...taskMove });

export const TaskDeleted = Closed({ id: TaskId });

export const TaskGet = Closed({
  taskId: TaskId,
  waitMs: Type.Optional(
    Integer(0, limits.waitMsMax, "Wait up to this long for a final state, then answer as it is."),
  ),
});

export const LabelFilter = Type.String({
  pattern: labelFilterPattern,
  maxLength: 2 * limits.nameLengthMax + 1,
  description: "Only tasks with this label: its key, or KEY=VALUE.",
  examples: ["tenant=acme"],
});

/** Which tasks are meant: those that fit all that is said. */
const taskFilter = {
  queue: Type.Optional(Name("Only this queue.")),
  type: Type.Optional(Name("Only this type.")),
  state: Type.Optional(TaskStateSchema),
  group: Type.Optional(Name("Only tasks of this group.")),
  label: Type.Optional(LabelFilter),
  workerId: Type.Optional(Name("Only tasks leased to this worker.")),
  createdBefore: Type.Optional(At("Only tasks submitted before this moment (ms since 1970, UTC).")),
  createdAfter: Type.Optional(At("Only tasks submitted after this moment (ms since 1970, UTC).")),
};
export const TaskFilter = Closed(taskFilter);
export type TaskFilter = Static<typeof TaskFilter>;

export const TaskList = Closed({
  ...taskFilter,
  cursor: Type.Optional(TaskId),
  limit: Type.Optional(Integer(1, limits.pageMax, "Rows on the page. Default 100.")),
});

export const TaskPage = Closed({
  tasks: Type.Array(Task, { description: "Newest first." }),
  cursor: Nullable(
    Type.String({
      description:
        "Send it to get the next page; null: there is none. A page may be short of `limit` and still have a next one.",
    }),
  ),
});
export type TaskPage = Static<typeof TaskPage>;

export const TaskRetry = Closed({
  taskId: TaskId,
  cascade: Type.Optional(
    Type.Boolean({
      description: "Retry too what ended because this one did, all the way up. Default false.",
    }),
  ),
});

const held = {
  taskId: TaskId,
  workerId: Name("The worker that holds the lease."),
  token: Revision("The lease's token."),
};
const why = Type.String({ maxLength: limits.errorMessageLengthMax, description: "Why, in words." });

export const TaskCancel = Closed({
  taskId: TaskId,
  reason: Type.Optional(why),
  workerId: Type.Optional(Name("With token: only under this worker's lease, which thereby ends.")),
  token: Type.Optional(Revision("The lease's token.")),
  cascade: Type.Optional(
    Type.Boolean({
      description:
        "Cancel what it waits for too, all the way down, unless another task waits for that. Default false.",
    }),
  ),
});

export const TaskComplete = Closed({ ...held, result: Type.Optional(Json("Any JSON value. Default null.")) });
export const TaskFail = Closed({
  ...held,
  error: Type.Union([Type.String({ maxLength: limits.errorMessageLengthMax }), TaskError], {
    description: "What went wrong: a message, or message, code and stack.",
  }),
  final: Type.Optional(
    Type.Boolean({ description: "Do not try again: the task is failed at once. Default false." }),
  ),
  reason: Type.Optional(
    Type.String({
      maxLength: limits.errorMessageLengthMax,
      description:
        "With final: why the handler gave the task up, in words. Such a decision is not held against its worker.",
    }),
  ),
  retryInMs: Type.Optional(DurationMs("Try again after this long, instead of the backoff.")),
  retryAt: Type.Optional(At("Try again at this moment (ms since 1970, UTC). This or retryInMs.")),
});
export const TaskSnooze = Closed({
  ...held,
  forMs: Type.Optional(DurationMs("Start it again after this long. This or until.")),
  until: Type.Optional(At("Start it again at this moment (ms since 1970, UTC).")),
});
export const TaskRelease = Closed(held);
export const TaskWait = Closed(held);
export const TaskExtend = Closed({
  ...held,
  leaseMs: Type.Optional(
    DurationMs("The new silence allowed, from now. Default: the task's.", limits.leaseMsMin),
  ),
});
export const TaskProgress = Closed({ ...held, progress: Json("Any JSON value; the newest one is kept.") });

export const TaskLog = Closed({
  ...held,
  lines: Type.Array(Type.String({ maxLength: limits.logLineLengthMax }), {
    minItems: 1,
    maxItems: limits.logLinesPerRequestMax,
    description: "What the handler has to say, a line a text.",
  }),
});
const LineNumber = (description: string) => Type.Integer({ minimum: 0, description });
export const TaskLogged = Closed({
  id: TaskId,
  next: LineNumber("The number of the line that will come next."),
});
export const TaskLogs = Closed({
  taskId: TaskId,
  from: Type.Optional(
    Integer(
      0,
      Number.MAX_SAFE_INTEGER,
      "From the line of this number on: `next` of the answer before. Default 0.",
    ),
  ),
  limit: Type.Optional(Integer(1, limits.logLinesMax, "Lines at most. Default 1,000.")),
  waitMs: Type.Optional(
    Integer(0, limits.waitMsMax, "Wait up to this long for such a line, or for the end of the task."),
  ),
});
export const TaskLogLines = Closed({
  lines: Type.Array(
    Closed({
      number: LineNumber("Counts all lines the task ever had, from 0."),
      at: Moment("When it came."),
      attempt: Type.Integer({ description: "The attempt that wrote it." }),
      text: Type.String(),
    }),
    { description: "Oldest first." },
  ),
  first: LineNumber("The number of the oldest line that is kept."),
  next: LineNumber("Where to read on."),
});
export type TaskLogLines = Static<typeof TaskLogLines>;

/** What an operation on one task answers: where it stands now. */
export const TaskStanding = Closed({
  id: TaskId,
  state: TaskStateSchema,
  revision: Revision("The revision of its last change."),
});
export type TaskStanding = Static<typeof TaskStanding>;

export const TaskAssign = Closed({
  taskId: Type.Optional(TaskId),
  task: Type.Optional(TaskSubmit),
  workerId: Type.Optional(Name("Default: the least loaded fitting worker.")),
});

/** What became of a task that another one waited for. */
export const DependencyView = Closed({
  taskId: TaskId,
  state: Nullable(TaskStateSchema),
  result: Json("What it returned, or null."),
  error: Nullable(TaskError),
});
export type DependencyView = Static<typeof DependencyView>;

export const Assignment = Closed({
  task: Task,
  lease: LeaseView,
  dependencies: Type.Optional(
    Type.Record(Type.String(), DependencyView, {
      description: `What became of the tasks it waited for, children included, by \`ref\` or id. Missing where there are none, more than ${limits.dependenciesPushedMax}, or larger than ${limits.dependenciesUnitsMax}: read \`task.dependencies\` then.`,
    }),
  ),
});
export type Assignment = Static<typeof Assignment>;

/**
 * What a pushed task need not name: it has these values where the field is missing, and its lease is the one beside
 * it. Most pushes are a third as long for it. Part of the protocol, so never changed.
 */
export const pushedDefaults = {
  priority: "normal",
  state: "running",
  attempts: 3,
  interruptions: 0,
  backoff: { strategy: "exponential", delayMs: 1000, maxMs: 3_600_000, jitter: 0.5 },
  finalCodes: [] as string[],
  retryCodes: null,
  interruptionsMax: null,
  leaseMs: 30_000,
  timeoutMs: null,
  expiresAt: null,
  deadlineAt: null,
  idempotencyKey: null,
  uniqueHash: null,
  kind: null,
  capabilities: [] as string[],
  requires: [] as string[],
  prefers: [] as string[],
  slots: 1,
  workerId: null,
  sticky: null,
  stickyMs: null,
  labels: {} as Record<string, string>,
  group: null,
  limits: [] as string[],
  trace: null,
  graph: null,
  runAt: null,
  finishedAt: null,
  progress: null,
  result: null,
  error: null,
  reason: null,
} as const satisfies Partial<Task>;
/** A task as a push carries it. */
export type PushedTask = Omit<Task, keyof typeof pushedDefaults | "lease"> & Partial<Task>;
export type Push = { task: PushedTask; lease: LeaseView; dependencies?: Assignment["dependencies"] };

/** The assignment that a push stands for. */
export const assignmentOf = ({ task, lease, dependencies }: Push): Assignment => ({
  // Objects of its own: whoever handles one task may change what it was given.
  task: {
    ...pushedDefaults,
    backoff: { ...pushedDefaults.backoff },
    finalCodes: [],
    capabilities: [],
    requires: [],
    prefers: [],
    labels: {},
    limits: [],
    lease,
    ...task,
  },
  lease,
  ...(dependencies !== undefined && { dependencies }),
});

export const TaskClaim = Closed({
  workerId: Name("A registered worker."),
  count: Type.Optional(Integer(1, limits.tasksPerClaimMax, "At most this many. Default 1.")),
  waitMs: Type.Optional(Integer(0, limits.waitMsMax, "Wait up to this long for the first one. Default 0.")),
});
export const TaskClaimed = Closed({ assignments: Type.Array(Assignment) });
export type TaskClaimed = Static<typeof TaskClaimed>;

/** A single submit answers one row, an array submit an array in the same order. */
export const TaskSubmittedResult = Type.Union([TaskSubmitted, Type.Array(TaskSubmitted)]);
