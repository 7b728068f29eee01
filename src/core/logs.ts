/**
 * The log of a task: the lines its handlers wrote, the newest of them, kept with the task. They stand in pieces of a few
 * kilobytes, a row each, so that a new line writes a piece and not all of them, and a task has few rows to let go of.
 * A line's number counts all lines the task ever had: whoever reads on names the number where it stopped.
 */
import { limits } from "../wire/limits.ts";
import type { Input } from "../wire/operations.ts";
import type { Coordinator } from "./coordinator.ts";
import { type Result, refuse } from "./result.ts";
import type { Index, Table } from "./store.ts";
import { held, isRefusal, type TaskSpec } from "./tasks.ts";

export type LogLine = { readonly at: number; readonly attempt: number; readonly text: string };

/** Some lines of one task; the row is named by the task and the first one's number. */
export type LogPiece = {
  readonly taskId: string;
  readonly first: number;
  readonly lines: readonly LogLine[];
};

const keyOf = (taskId: string, first: number) => `${taskId}/${first}`;
/** What a line takes beside its text, about. */
const lineUnits = 24;
const unitsOf = (piece: LogPiece | undefined): number =>
  piece === undefined ? 0 : piece.lines.reduce((units, { text }) => units + text.length + lineUnits, 0);
/** No line is added to a piece that has so many units. */
const pieceUnits = 4096;

/** The pieces of each task that has a log, in their order. */
export class Logs implements Index<LogPiece> {
  readonly #pieces = new Map<string, LogPiece[]>();

  constructor(
    readonly table: Table<LogPiece>,
    private readonly grow: (units: number) => void,
  ) {
    table.index([this], (a, b) => a.first - b.first);
  }

  change(before: LogPiece | undefined, after: LogPiece | undefined): void {
    this.grow(unitsOf(after) - unitsOf(before));
    const { taskId, first } = (after ?? before) as LogPiece;
    const pieces = this.#pieces.get(taskId) ?? [];
    // The newest is what is written to, the oldest what is let go of; only an undo brings back an old one.
    let at = pieces.length;
    while (at > 0 && (pieces[at - 1] as LogPiece).first >= first) at--;
    pieces.splice(at, before === undefined ? 0 : 1, ...(after === undefined ? [] : [after]));
    if (pieces.length === 0) this.#pieces.delete(taskId);
    else this.#pieces.set(taskId, pieces);
  }

  of(taskId: string): readonly LogPiece[] {
    return this.#pieces.get(taskId) ?? none;
  }

  /** The number that the next line of the task will have. */
  next(taskId: string): number {
    const last = this.#pieces.get(taskId)?.at(-1);
    return last === undefined ? 0 : last.first + last.lines.length;
  }

  /** For checks. */
  ids(): Iterable<string> {
    return this.#pieces.keys();
  }
}

const none: readonly LogPiece[] = [];

/** How much of it is kept, by pieces: the last one always is. */
export const logSize = (pieces: readonly LogPiece[]) => ({
  lines: pieces.reduce((count, { lines }) => count + lines.length, 0),
  units: pieces.reduce((units, piece) => units + unitsOf(piece), 0),
});

export function log(core: Coordinator, input: Input<"task.log">): Result {
  const record = held(core, input);
  if (isRefusal(record)) return record;
  const { logs } = core;
  const { taskId } = input;
  const { attempt } = record;
  const pieces = [...logs.of(taskId)];
  const oldCount = pieces.length;
  let changedFrom = oldCount;
  for (const text of input.lines) {
    const last = pieces.at(-1);
    const line: LogLine = { at: core.now, attempt, text };
    if (last === undefined || unitsOf(last) >= pieceUnits)
      pieces.push({ taskId, first: last === undefined ? 0 : last.first + last.lines.length, lines: [line] });
    else {
      pieces[pieces.length - 1] = { ...last, lines: [...last.lines, line] };
      changedFrom = Math.min(changedFrom, pieces.length - 1);
    }
  }
  let { lines, units } = logSize(pieces);
  let dropped = 0;
  while (dropped < pieces.length - 1 && (lines > limits.logLinesMax || units > limits.logUnitsMax)) {
    const oldest = pieces[dropped] as LogPiece;
    if (dropped < oldCount) logs.table.delete(keyOf(taskId, oldest.first));
    lines -= oldest.lines.length;
    units -= unitsOf(oldest);
    dropped += 1;
  }
  for (const piece of pieces.slice(Math.max(changedFrom, dropped)))
    logs.table.put(keyOf(taskId, piece.first), piece);
  return { ok: `{"id":"${taskId}","next":${logs.next(taskId)}}` };
}

export function read(core: Coordinator, input: Input<"task.logs">): Result {
  const { taskId } = input;
  if (!core.tasks.has(taskId)) return refuse("unknown-task", `there is no task ${taskId}`);
  return { ok: linesText(core.logs.of(taskId), input) };
}

/** As everyone sees it. */
export function linesText(
  pieces: readonly LogPiece[],
  { from = 0, limit = limits.logLinesMax }: Omit<Input<"task.logs">, "taskId">,
): string {
  const first = pieces[0]?.first ?? 0;
  const texts: string[] = [];
  let number = Math.max(from, first);
  for (const piece of pieces) {
    for (; number < piece.first + piece.lines.length && texts.length < limit; number++) {
      const { at, attempt, text } = piece.lines[number - piece.first] as LogLine;
      texts.push(`{"number":${number},"at":${at},"attempt":${attempt},"text":${JSON.stringify(text)}}`);
    }
  }
  return `{"lines":[${texts.join(",")}],"first":${first},"next":${texts.length === 0 ? from : number}}`;
}

/** The newest lines, as a piece: what goes with the task into the archive. Null: it has no log. */
export function newestOf(pieces: readonly LogPiece[]): LogPiece | null {
  const last = pieces.at(-1);
  if (last === undefined) return null;
  const all = pieces.flatMap(({ lines }) => lines);
  let units = 0;
  let from = all.length;
  while (from > 0) {
    units += (all[from - 1] as LogLine).text.length + lineUnits;
    if (units > limits.archivedLogUnitsMax) break;
    from -= 1;
  }
  const lines = all.slice(from);
  return { taskId: last.taskId, first: last.first + last.lines.length - lines.length, lines };
}

/** Inside a transaction: the task is in memory again, with what the archive has of its log. */
export const bringLogBack = (core: Coordinator, piece: LogPiece): void =>
  core.logs.table.put(keyOf(piece.taskId, piece.first), piece);

/** Inside a transaction: the task is gone. */
export function forgetLog(core: Coordinator, spec: TaskSpec): void {
  if (core.logs.table.size === 0) return;
  const { id } = spec;
  for (const { first } of [...core.logs.of(id)]) core.logs.table.delete(keyOf(id, first));
}
