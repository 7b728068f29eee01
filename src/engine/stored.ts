/**
 * What is read of the log alone: operations of the kind `stored`, and tasks that have left memory. They ask the log
 * (log/questions.ts) and are answered later. What an answer tells is durable.
 */
import { type ArchivedTask, archivedText, tagsOfFilter } from "../core/archive.ts";
import { decodeArchived, lineJson } from "../core/codec.ts";
import { refuse } from "../core/result.ts";
import { unreachable } from "../lib/assert.ts";
import { type ArchivePlace, isBefore } from "../log/archive.ts";
import type { HistoryEntry, Thing } from "../log/history.ts";
import type { Log } from "../log/log.ts";
import { limits } from "../wire/limits.ts";
import type { Input, StoredOperationName } from "../wire/operations.ts";
import type { Engine } from "./engine.ts";
import type { Answer } from "./types.ts";

export class StoredReads {
  constructor(
    private readonly engine: Pick<Engine, "core" | "config" | "durableRevision">,
    private readonly log: Log,
    /** Whether the state as it is now becomes durable; false: a full disk undid it. */
    private readonly whenDurable: () => Promise<boolean>,
  ) {}

  /** The input was validated. */
  async carryOut(operation: StoredOperationName, input: unknown): Promise<Answer> {
    switch (operation) {
      case "archive.list":
        return this.#list(input as Input<"archive.list">);
      case "log.read":
        return this.#history(input as Input<"log.read">);
      default:
        return unreachable(operation);
    }
  }

  async #list({ cursor, limit = 100, ...filter }: Input<"archive.list">): Promise<Answer> {
    if (!this.engine.config.archives) return noArchive;
    // What memory has let go of is in the log once that is durable.
    while (!(await this.whenDurable()));
    const { finishedBefore = Number.MAX_SAFE_INTEGER, finishedAfter = -1 } = filter;
    const before = { at: finishedBefore, id: "" };
    const from = cursor === undefined ? before : placeOf(cursor);
    const { rows, next } = await this.log.ask("archive", {
      tags: tagsOfFilter(filter),
      before: isBefore(from, before) ? from : before,
      from: finishedAfter + 1,
      countMax: limit,
      unitsMax: limits.answerUnitsMax,
    });
    // One that was retried is in memory again; its row stands until it leaves once more.
    const { tasks: living } = this.engine.core;
    const tasks = rows
      .filter(({ id }) => !living.has(id))
      .map(({ id, text }) => this.#shown(id, text))
      .join(",");
    return { ok: `{"tasks":[${tasks}],"cursor":${next === null ? null : `"${next.at}/${next.id}"`}}` };
  }

  async #history(input: Input<"log.read">): Promise<Answer> {
    while (!(await this.whenDurable()));
    const { taskId, key, lock, workerId } = input;
    const things: Thing[] = [];
    if (taskId !== undefined)
      things.push({
        names: ["task", "task.run", "task.errors"].map((part) => `${part}\t${taskId}`),
        // Its log stands in pieces, each under a number.
        begin: `task.log\t${taskId}/`,
      });
    if (key !== undefined) things.push({ names: [`key\t${key}`] });
    if (lock !== undefined) things.push({ names: [], said: { part: "lock", text: `"name":"${lock}"` } });
    if (workerId !== undefined)
      things.push({
        names: [`worker\t${workerId}`],
        said: { part: null, text: `"workerId":"${workerId}"` },
      });
    const { entries, next, oldest } = await this.log.ask("history", {
      after: input.after ?? 0,
      // What is written behind that is there to be read before it is synced.
      upTo: Math.min(input.upTo ?? Number.MAX_SAFE_INTEGER, this.engine.durableRevision),
      who: input.who ?? null,
      operation: input.operation ?? null,
      things,
      countMax: input.limit ?? 100,
      bytesMax: historyBytesMax,
      unitsMax: limits.answerUnitsMax,
    });
    return { ok: `{"entries":[${entries.map(entryText).join(",")}],"next":${next},"oldest":${oldest}}` };
  }

  /** A task that the state does not know, from the archive; `unknown`: what is answered where it is not there either. */
  async task(
    taskId: string,
    shown: (archived: ArchivedTask) => string,
    unknown: Answer,
    again: () => Answer,
  ): Promise<Answer> {
    // An undo may have brought it back.
    while (!(await this.whenDurable())) {
      const answer = again();
      if ("ok" in answer) return answer;
    }
    const archived = await this.archived(taskId);
    return archived === null ? unknown : { ok: shown(archived) };
  }

  /** What the archive has of a task; null: nothing. */
  async archived(taskId: string): Promise<ArchivedTask | null> {
    // An id begins with the revision that made the task. The archive of a state that was knows of later ones.
    if (Number.parseInt(taskId, 10) > this.engine.core.store.revision) return null;
    const { text } = await this.log.ask("archived", { id: taskId });
    return text === null ? null : decodeArchived(taskId, text);
  }

  #shown(id: string, text: string): string {
    return archivedText(this.engine.core, decodeArchived(id, text));
  }
}

/** Of log, that one request looks at. */
const historyBytesMax = 8 * 1024 * 1024;

function entryText({ revision, at, operation, who, changes, isShort }: HistoryEntry): string {
  const texts = changes.map(
    ({ part, id, text }) =>
      `{"part":"${part}","id":${JSON.stringify(id)},"value":${text === null ? null : lineJson(part, text)}}`,
  );
  return (
    `{"revision":${revision},"at":${at},"operation":"${operation}","who":${JSON.stringify(who)},` +
    `"changes":[${texts.join(",")}],"short":${isShort}}`
  );
}

function placeOf(cursor: string): ArchivePlace {
  const slash = cursor.indexOf("/");
  return { at: Number(cursor.slice(0, slash)), id: cursor.slice(slash + 1) };
}

const noArchive = refuse("no-archive", "this daemon keeps no tasks that have left memory");
