/** The log as history, on the wire: who did what to what, in order. */
import { type Static, Type } from "@sinclair/typebox";
import { KeyName } from "./kv.ts";
import { limits } from "./limits.ts";
import { LockName } from "./locks.ts";
import { Closed, Integer, Json, Moment, Name, Nullable, Revision } from "./schema.ts";
import { TaskId } from "./tasks.ts";

export const LogRead = Closed({
  after: Type.Optional(Revision("Entries after this revision. Default: from the oldest that is kept.")),
  upTo: Type.Optional(Revision("And up to this one. Default: all.")),
  taskId: Type.Optional(TaskId),
  key: Type.Optional(KeyName("Only entries that changed this key.")),
  lock: Type.Optional(
    LockName(
      "Only entries that took, held or waited for a lock of this name, or ended one that was asked for in what is kept.",
    ),
  ),
  workerId: Type.Optional(Name("Only entries that changed this worker, or what is leased to it or its own.")),
  who: Type.Optional(Name("Only what this session, worker or `cortexd` caused.")),
  operation: Type.Optional(Type.String({ maxLength: 64, description: "Only what this operation caused." })),
  limit: Type.Optional(Integer(1, limits.pageMax, "Entries on the page. Default 100.")),
});
export type LogRead = Static<typeof LogRead>;

export const LogChange = Closed({
  part: Type.String({ description: "What was changed: task, task.run, key, lock, worker, and so on." }),
  id: Type.String(),
  value: Nullable(Json("What the log holds of it from then on; null: it is gone.")),
});
export type LogChange = Static<typeof LogChange>;

export const LogEntry = Closed({
  revision: Revision("The entry's."),
  at: Moment("When (ms since 1970, UTC)."),
  operation: Type.String({ description: "What caused it." }),
  who: Type.String({ description: "Who caused it: a session, a worker or `cortexd`." }),
  changes: Type.Array(LogChange, { description: "In their order; of a search for one thing, only its own." }),
  short: Type.Boolean({ description: "It changed more than is shown." }),
});
export type LogEntry = Static<typeof LogEntry>;

export const LogPage = Closed({
  entries: Type.Array(LogEntry, { description: "Oldest first." }),
  next: Nullable(
    Revision(
      "Send it as `after` to read on; null: there is no more. A page may be empty and have a next one.",
    ),
  ),
  oldest: Nullable(Revision("The oldest entry that is kept; null: none is.")),
});
export type LogPage = Static<typeof LogPage>;
