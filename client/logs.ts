/**
 * Logs of tasks: what a handler's `log` makes of what it is given, how those lines are sent, and how a log is read to its
 * end, or followed until its task has ended.
 */
import { limits } from "../src/wire/limits.ts";
import type { TaskLogLines } from "../src/wire/tasks.ts";

export type LogLine = TaskLogLines["lines"][number];

/** As lines of text: texts as they are, errors with their stacks, all else as JSON. */
export function linesOf(parts: readonly unknown[]): string[] {
  const max = limits.logLineLengthMax;
  return parts
    .map(textOf)
    .join(" ")
    .split("\n")
    .map((line) => (line.length > max ? `${line.slice(0, max - 1)}…` : line));
}

function textOf(part: unknown): string {
  if (typeof part === "string") return part;
  if (part instanceof Error) return part.stack ?? part.message;
  try {
    return JSON.stringify(part) ?? String(part);
  } catch {
    return String(part);
  }
}

/** Lines on their way: those of one turn go together, and one request is under way at a time. */
export class Lines {
  #waiting: string[] = [];
  #sending = false;

  /** `send` does not reject. */
  constructor(private readonly send: (lines: string[]) => Promise<void>) {}

  add(lines: readonly string[]): void {
    this.#waiting.push(...lines);
    // More would not be kept by the daemon either.
    if (this.#waiting.length > limits.logLinesMax) this.#waiting = this.#waiting.slice(-limits.logLinesMax);
    if (!this.#sending) void this.#run();
  }

  /** Sends what is left at once, so that it comes before what is sent next. */
  flush(): void {
    while (this.#waiting.length > 0) void this.#sendSome();
  }

  async #run(): Promise<void> {
    this.#sending = true;
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#sendSome();
    this.#sending = false;
  }

  #sendSome(): Promise<void> {
    return this.send(this.#waiting.splice(0, limits.logLinesPerRequestMax));
  }
}

export type LogOptions = {
  /** The number of the first line wanted. Default 0. */
  from?: number;
  /** Goes on until the task has ended. */
  follow?: boolean;
};

/** Reads a log line by line; `read` waits for lines that are not there yet if it is told to. */
export async function* readLog(
  read: (from: number, wait: boolean) => Promise<TaskLogLines>,
  hasEnded: () => Promise<boolean>,
  { from = 0, follow = false }: LogOptions,
): AsyncGenerator<LogLine> {
  let ended = !follow;
  for (let next = from; ; ) {
    const page = await read(next, !ended);
    yield* page.lines;
    next = page.next;
    if (page.lines.length > 0) continue;
    if (ended) return;
    // What came between the two questions is read once more, without waiting.
    ended = await hasEnded();
  }
}
