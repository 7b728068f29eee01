/** Workers on the wire. */
import { type Static, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";
import { Closed, Integer, Moment, Name, Names, Nullable, Revision, WorkerLabels } from "./schema.ts";
import { Assignment, TaskId } from "./tasks.ts";

export const workerStates = ["idle", "busy", "draining", "offline"] as const;
export type WorkerState = (typeof workerStates)[number];
export const WorkerStateSchema = Type.Union(
  [Type.Literal("idle"), Type.Literal("busy"), Type.Literal("draining"), Type.Literal("offline")],
  {
    description:
      "idle: holds no task; busy: holds at least one; draining: gets no new ones; offline: silent for too long, or left.",
  },
);

export const workerHealths = ["healthy", "failing", "quarantined", "probation", "deaf", "stalled"] as const;
export type WorkerHealth = (typeof workerHealths)[number];
export const WorkerHealthSchema = Type.Union(
  [
    Type.Literal("healthy"),
    Type.Literal("failing"),
    Type.Literal("quarantined"),
    Type.Literal("probation"),
    Type.Literal("deaf"),
    Type.Literal("stalled"),
  ],
  {
    description:
      "failing: too many of its attempts fail; quarantined: so it gets no tasks for a while; probation: one task at a time until it has proven itself; deaf: it did not acknowledge what was pushed, and is pushed nothing; stalled: its handlers stand still, and it gets no tasks.",
  },
);

const Queue = Type.Union([Type.Literal("*"), Name("A queue.")]);

export const WorkerRegister = Closed({
  workerId: Name("The worker's id, its own among all that are live."),
  instanceId: Type.Optional(
    Name(
      "One per process start; the same one may register again and take its session over. Default: the worker id.",
    ),
  ),
  kind: Type.Optional(Name("The kind of worker. Default `worker`.")),
  queues: Type.Optional(
    Type.Array(Queue, {
      minItems: 1,
      maxItems: 256,
      uniqueItems: true,
      description: 'The queues it serves; `["*"]`, the default: all.',
    }),
  ),
  capabilities: Type.Optional(
    Names("What it can do; with a version where tasks may ask for one: `node@20.11` offers `node` too."),
  ),
  labels: Type.Optional(
    WorkerLabels("What it is: texts, numbers, true or false. Tasks may require and prefer them."),
  ),
  capacity: Type.Optional(
    Integer(1, limits.capacityMax, "Slots it has: how many tasks of one slot it runs at once. Default 1."),
  ),
  holding: Type.Optional(
    Type.Array(Closed({ taskId: TaskId, token: Revision("The lease's token.") }), {
      maxItems: limits.capacityMax,
      description:
        "The leases it still works on. Leases the daemon has and the worker does not name go back to their queue, uncharged. Left out: none.",
    }),
  ),
});
export type WorkerRegister = Static<typeof WorkerRegister>;

export const Worker = Closed({
  id: Type.String(),
  instanceId: Type.String(),
  kind: Type.String(),
  queues: Type.Array(Type.String()),
  capabilities: Type.Array(Type.String()),
  labels: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean()])),
  capacity: Type.Integer(),
  state: WorkerStateSchema,
  connected: Type.Boolean({
    description: "A socket is attached, so tasks are pushed; without one it claims or is assigned.",
  }),
  running: Type.Integer({ description: "Tasks it holds." }),
  slotsUsed: Type.Integer({ description: "Slots of its capacity that they take." }),
  healthy: Type.Boolean({ description: "There is nothing in `reasons`." }),
  health: WorkerHealthSchema,
  healthScore: Type.Integer({
    description: "From 0 to 100: how few of its attempts failed of late, and how soon it acknowledged.",
  }),
  reasons: Type.Array(Type.String(), { description: "Why it is not healthy, in words." }),
  completedCount: Type.Integer({ description: "Attempts it completed since the daemon started." }),
  failedCount: Type.Integer({ description: "Attempts it failed since the daemon started." }),
  registeredAt: Moment("When this instance registered."),
  lastSeenAt: Nullable(Moment("When it was last heard of; null: not since the daemon started.")),
  revision: Revision("The revision of its last change."),
});
export type Worker = Static<typeof Worker>;

export const WorkerRegistered = Closed({
  worker: Worker,
  heartbeatMs: Type.Integer({ description: "Send a heartbeat, or anything else, at least this often." }),
  silenceMs: Type.Integer({ description: "After this long without a word the worker is offline." }),
  leases: Type.Array(Assignment, { description: "The leases it named in `holding` and still has." }),
  lost: Type.Array(TaskId, { description: "Those it named and no longer has: stop working on them." }),
});
export type WorkerRegistered = Static<typeof WorkerRegistered>;

export const WorkerRef = Closed({ workerId: Name("The worker.") });

export const WorkerUnregistered = Closed({
  workerId: Type.String(),
  released: Type.Array(TaskId, { description: "The tasks that went back to their queue, uncharged." }),
});
export type WorkerUnregistered = Static<typeof WorkerUnregistered>;

/** What a beat says of the loop that runs handlers. */
export const LoopAge = Integer(
  0,
  limits.durationMsMax,
  "How long ago the loop or thread that runs your handlers last turned. Left out: just now.",
);

export const WorkerHeartbeat = Closed({
  workerId: Name("The worker."),
  instanceId: Type.Optional(Name("As registered.")),
  loopAgeMs: Type.Optional(LoopAge),
});
export const WorkerBeat = Closed({
  leases: Type.Array(
    Closed({ taskId: TaskId, token: Revision("The token."), deadlineAt: Moment("When it ends.") }),
  ),
  cancels: Type.Array(Closed({ taskId: TaskId, token: Revision("The token that was voided.") }), {
    description: "Attempts that were cancelled or timed out in the last minutes: abort them.",
  }),
});
export type WorkerBeat = Static<typeof WorkerBeat>;

export const WorkerDrain = Closed({
  workerId: Name("The worker."),
  drain: Type.Optional(Type.Boolean({ description: "false takes it back. Default true." })),
});

export const WorkerList = Closed({
  state: Type.Optional(WorkerStateSchema),
  kind: Type.Optional(Name("Only this kind.")),
  cursor: Type.Optional(Name("From the page before.")),
  limit: Type.Optional(Integer(1, limits.pageMax, "Rows on the page. Default 100.")),
});
export const WorkerPage = Closed({ workers: Type.Array(Worker), cursor: Nullable(Type.String()) });
export type WorkerPage = Static<typeof WorkerPage>;

export const WorkerCredit = Closed({
  workerId: Name("The worker."),
  credit: Integer(
    0,
    limits.capacityMax,
    "Slots it gives to pushed tasks at once; 0 stops pushes. Never more than its capacity.",
  ),
});

export const WorkerAcknowledge = Closed({
  workerId: Name("The worker."),
  token: Revision("The highest token among the pushes that arrived: all up to it have."),
});
