/**
 * What is read of the log alone: operations of the kind `stored`, and tasks that have left memory. They ask the log
 * (log/questions.ts) and are answered later. What an answer tells is durable.
 */
import { archivedText, tagsOfFilter } from "../core/archive.ts";
import { decodeArchived } from "../core/codec.ts";
import { refuse } from "../core/result.ts";
import { unreachable } from "../lib/assert.ts";
import type { ArchivePlace } from "../log/archive.ts";
import type { Log } from "../log/log.ts";
import { limits } from "../wire/limits.ts";
import type { Input, StoredOperationName } from "../wire/operations.ts";
import type { Engine } from "./engine.ts";
import type { Answer } from "./types.ts";

export class StoredReads {
  constructor(
    private readonly engine: Pick<Engine, "core" | "config">,
    private readonly log: Log,
    /** Whether the state as it is now becomes durable; false: a full disk undid it. */
    private readonly whenDurable: () => Promise<boolean>,
  ) {}

  /** The input was validated. */
  async carryOut(operation: StoredOperationName, input: unknown): Promise<Answer> {
    switch (operation) {
      case "archive.list":
        return this.#list(input as Input<"archive.list">);
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
      before: isEarlier(from, before) ? from : before,
      from: finishedAfter + 1,
      countMax: limit,
      unitsMax: limits.answerUnitsMax,
    });
    const tasks = rows.map(({ id, text }) => this.#shown(id, text)).join(",");
    return { ok: `{"tasks":[${tasks}],"cursor":${next === null ? null : `"${next.at}/${next.id}"`}}` };
  }

  /** A task that the state does not know, from the archive; `unknown`: what is answered where it is not there either. */
  async task(taskId: string, unknown: Answer, again: () => Answer): Promise<Answer> {
    // An undo may have brought it back.
    while (!(await this.whenDurable())) {
      const answer = again();
      if ("ok" in answer) return answer;
    }
    const { text } = await this.log.ask("archived", { id: taskId });
    return text === null ? unknown : { ok: this.#shown(taskId, text) };
  }

  #shown(id: string, text: string): string {
    return archivedText(this.engine.core, decodeArchived(id, text));
  }
}

function placeOf(cursor: string): ArchivePlace {
  const slash = cursor.indexOf("/");
  return { at: Number(cursor.slice(0, slash)), id: cursor.slice(slash + 1) };
}

const isEarlier = (a: ArchivePlace, b: ArchivePlace) => a.at < b.at || (a.at === b.at && a.id < b.id);

const noArchive = refuse("no-archive", "this daemon keeps no tasks that have left memory");
