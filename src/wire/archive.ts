/** The archive: tasks that have ended and left memory, as they are searched and shown. */
import { type Static, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";
import { At, archiveCursorPattern, Closed, Integer, Name, Nullable } from "./schema.ts";
import { LabelFilter, TaskShown } from "./tasks.ts";

const archiveFilter = {
  queue: Type.Optional(Name("Only this queue.")),
  type: Type.Optional(Name("Only this type.")),
  state: Type.Optional(
    Type.Union(
      [Type.Literal("completed"), Type.Literal("failed"), Type.Literal("dead"), Type.Literal("cancelled")],
      { description: "Only tasks that ended so." },
    ),
  ),
  group: Type.Optional(Name("Only tasks of this group.")),
  label: Type.Optional(LabelFilter),
  key: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: limits.idempotencyKeyLengthMax,
      description: "Only tasks with this idempotency key, or whose uniqueHash is this.",
    }),
  ),
  finishedBefore: Type.Optional(At("Only tasks that ended before this moment (ms since 1970, UTC).")),
  finishedAfter: Type.Optional(At("Only tasks that ended after this moment (ms since 1970, UTC).")),
};
/** Which archived tasks are meant: those that fit all that is said. */
export const ArchiveFilter = Closed(archiveFilter);
export type ArchiveFilter = Static<typeof ArchiveFilter>;

export const ArchiveList = Closed({
  ...archiveFilter,
  cursor: Type.Optional(
    Type.String({ pattern: archiveCursorPattern, maxLength: 64, description: "From the page before." }),
  ),
  limit: Type.Optional(Integer(1, limits.pageMax, "Rows on the page. Default 100.")),
});

export const ArchivePage = Closed({
  tasks: Type.Array(TaskShown, { description: "Those that ended last come first." }),
  cursor: Nullable(
    Type.String({
      description:
        "Send it to get the next page; null: there is none. A page may be short of `limit` and still have a next one.",
    }),
  ),
});
export type ArchivePage = Static<typeof ArchivePage>;
