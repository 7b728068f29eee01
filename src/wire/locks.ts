/**
 * Locks on the wire: names that one or a few hold at a time, several of them at once, all or none. A lock is a request
 * that waits in line until nothing before it is in its way, and is held from then on, by a worker or by whoever renews it.
 */
import { type Static, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";
import {
  Closed,
  DurationMs,
  Integer,
  Json,
  keyPattern,
  lockIdPattern,
  Moment,
  Name,
  Nullable,
  Revision,
} from "./schema.ts";

export const LockName = (description: string) =>
  Type.String({ pattern: keyPattern, minLength: 1, maxLength: limits.lockNameLengthMax, description });

export const LockId = Type.String({
  pattern: lockIdPattern,
  description: "The lock's id: the entry that asked for it, and its number there, such as 1042-0.",
  examples: ["1042-0"],
});

const Mode = (description: string) =>
  Type.Union([Type.Literal("exclusive"), Type.Literal("shared")], { description });

export const LockResource = Closed({
  name: LockName(
    "What is locked. A name that ends in a slash is a folder, and covers everything below it: src/core/ covers src/core/a.ts.",
  ),
  mode: Type.Optional(
    Mode("exclusive: nobody else. shared: together with others that share it. Default exclusive."),
  ),
  limit: Type.Optional(
    Integer(
      1,
      limits.lockHoldersMax,
      "Of a shared one: at most so many at once. Where holders name different limits, the smallest counts.",
    ),
  ),
});
export type LockResource = Static<typeof LockResource>;

export const LockAcquire = Closed({
  resources: Type.Array(LockResource, {
    minItems: 1,
    maxItems: limits.resourcesPerLockMax,
    description: "All of them at once, or none: whoever waits holds nothing meanwhile.",
  }),
  waitMs: Type.Optional(
    DurationMs(
      "How long it may wait in line; then it is withdrawn. Default 0: it is refused where it cannot be had at once.",
    ),
  ),
  workerId: Type.Optional(
    Name(
      "The lock is this worker's: the entry that has the worker offline or gone releases it. So has a new instance of it.",
    ),
  ),
  ttlMs: Type.Optional(
    DurationMs(
      `It ends when nobody has extended it for this long, held or waiting. Default ${limits.lockTtlMsDefault}; of a worker's lock: none.`,
      limits.leaseMsMin,
    ),
  ),
  value: Type.Optional(
    Json(
      `What others see of it, such as a leader's address: JSON of at most ${limits.lockValueUnitsMax / 1024} KiB.`,
    ),
  ),
});
export type LockAcquire = Static<typeof LockAcquire>;

const State = Type.Union([Type.Literal("held"), Type.Literal("waiting")]);

export const Lock = Closed({
  lockId: Type.String(),
  state: State,
  token: Revision(
    "The fencing token: of two that are in each other's way, the later holder has the higher one.",
  ),
  resources: Type.Array(
    Closed({
      name: Type.String(),
      mode: Mode("exclusive or shared."),
      limit: Nullable(
        Type.Integer({ description: "How many may share it at most; null: there is no limit." }),
      ),
    }),
  ),
  who: Type.String({ description: "Who asked for it: a session, a worker or `http`." }),
  workerId: Nullable(Type.String({ description: "The worker whose lock it is; null: whoever extends it." })),
  value: Json("As it was given; null without one."),
  createdAt: Moment("When it was asked for."),
  heldAt: Nullable(Moment("Since when it is held; null: it waits.")),
  ttlMs: Nullable(
    Type.Integer({ description: "How long it may go without being extended; null: it need not be." }),
  ),
  expiresAt: Nullable(Moment("When it ends unless it is extended; null: with its worker.")),
  waitEndsAt: Nullable(Moment("When it is withdrawn if it still waits then; null: it is held.")),
  behind: Nullable(
    Type.String({ description: "A lock that is in its way, held or earlier in line; null: it is held." }),
  ),
  revision: Revision("The entry of its last change."),
});
export type Lock = Static<typeof Lock>;

export const LockRef = Closed({ lockId: LockId });
export const LockGet = Closed({
  lockId: LockId,
  waitMs: Type.Optional(
    Integer(0, limits.waitMsMax, "How long to wait for it to be held or gone, in ms. Default 0."),
  ),
});

export const LockReleased = Closed({
  lockId: Type.String(),
  state: Type.Union([Type.Literal("held"), Type.Literal("waiting")], { description: "What it was." }),
});

export const LockExtend = Closed({
  lockIds: Type.Array(LockId, {
    minItems: 1,
    maxItems: limits.pageMax,
    description: "Locks that are still wanted, held or waiting.",
  }),
});
export const LocksExtended = Closed({
  locks: Type.Array(
    Closed({
      lockId: Type.String(),
      state: State,
      expiresAt: Nullable(Moment("When it ends now, unless it is extended; null: with its worker.")),
    }),
  ),
  lost: Type.Array(Type.String(), {
    description: "Locks that are over: released, expired, stolen, or gone with their worker.",
  }),
});

export const LockSteal = Closed({
  lockId: LockId,
  reason: Type.Optional(
    Type.String({ maxLength: limits.errorMessageLengthMax, description: "Why, for the log and its holder." }),
  ),
});

export const LockList = Closed({
  name: Type.Optional(LockName("Only those that name exactly this, in the order of the line.")),
  prefix: Type.Optional(
    Type.String({
      pattern: keyPattern,
      maxLength: limits.lockNameLengthMax,
      description: "Only names that begin so. Default: all. Not with name.",
    }),
  ),
  state: Type.Optional(State),
  cursor: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: limits.lockNameLengthMax + 32,
      description: "From the page before.",
    }),
  ),
  limit: Type.Optional(Integer(1, limits.pageMax, "Rows on the page. Default 100.")),
});
/** One resource of a lock: a lock of several stands under each of its names. */
export const LockRow = Closed({
  name: Type.String(),
  mode: Mode("exclusive or shared."),
  lock: Lock,
});
export type LockRow = Static<typeof LockRow>;
export const LockPage = Closed({
  locks: Type.Array(LockRow, { description: "By name, and under a name in the order of the line." }),
  cursor: Nullable(Type.String({ description: "Send it to get the next page; null: there is none." })),
});
export type LockPage = Static<typeof LockPage>;

/** Why a lock ended that its holder did not release. */
export type LockLostReason = "expired" | "stolen" | "worker-gone" | "released";
