/**
 * `cortexd tasks import FILE`: tasks of another system, read as they come and submitted in batches, several at a time,
 * so that neither a file of gigabytes nor the way to the daemon is ever waited for whole. Each task has an
 * idempotency key that is the same in every run: an import that was interrupted is run again, and makes nothing twice.
 * Where elements begin is elements.ts, what they mean is mapping.ts.
 */
import { createReadStream, createWriteStream, openSync, statSync, type WriteStream } from "node:fs";
import { CoordinationClient } from "../../client/client.ts";
import { CortexError } from "../../client/errors.ts";
import { systemClock } from "../engine/clock.ts";
import { validate } from "../engine/validate.ts";
import { withinDepth } from "../lib/json.ts";
import type { ErrorCode } from "../wire/errors.ts";
import { limits } from "../wire/limits.ts";
import { operations } from "../wire/operations.ts";
import type { TaskSubmit } from "../wire/tasks.ts";
import { type Address, command } from "./command.ts";
import { exitOfClient, rest } from "./daemon.ts";
import { type Element, ElementReader } from "./elements.ts";
import { Exit, type ExitName } from "./exit.ts";
import { Mapping, mapping } from "./mapping.ts";
import { type Output, shown } from "./output.ts";
import { bar, Progress } from "./progress.ts";
import { version } from "./version.ts";
import { number, plural } from "./words.ts";

/** Of refusals so many are shown, and so many listed with --json; --report holds all. */
const shownMax = 20;
const listedMax = 1000;

type Refusal = { element: number; line: number; key: string | null; reason: string };

/** What an import came to; what `--json` prints. */
type Outcome = {
  from: string;
  dryRun: boolean;
  elementCount: number;
  /** Sound tasks; submitted ones and duplicates among them. */
  soundCount: number;
  submittedCount: number;
  /** There already, from an earlier run or under the same key. */
  duplicateCount: number;
  /** Left out, because they are not to be done any more. */
  skipped: { completed: number; cancelled: number; failed: number };
  refusedCount: number;
  refusals: Refusal[];
  /** Fields around the list that were not read. */
  passedOver: string[];
  /** Why not all of the input was read or submitted. */
  stopped: string | null;
};

export const importTasks = command({
  summary: "Import tasks from a file of another system.",
  arguments: [
    {
      name: "FILE",
      help: 'A list, an object such as {"tasks": [...]} (tasks, jobs, queue, items), or a task a line (NDJSON); - is standard input.',
    },
  ],
  options: {
    queue: { type: "text", unit: "NAME", help: "The queue of tasks that name none. Default `default`." },
    type: { type: "text", unit: "NAME", help: "The type of tasks that name none." },
    map: {
      type: "pairs",
      unit: "FIELD=NAME",
      help: "The name in the file of a field of the table below, as often as wanted: --map type=task_kind.",
    },
    without: { type: "list", help: "Fields of the file that are left out." },
    priority: {
      type: "pairs",
      unit: "VALUE=WORD",
      help: "What a priority of the file means, as often as wanted: --priority 1=critical --priority 2=high.",
    },
    failed: { type: "flag", help: "Import tasks that failed in the other system, too." },
    format: {
      type: "choice",
      choices: ["auto", "ndjson"],
      default: "auto",
      help: "ndjson: a task a line, whatever its first one holds. Default auto; ndjson for files named .ndjson or .jsonl.",
    },
    dryRun: { type: "flag", help: "Read and check everything, submit nothing, need no daemon." },
    report: {
      type: "text",
      unit: "FILE",
      help: "Write every refused element to this file, a line of JSON each: element, line, key, reason.",
    },
  },
  client: true,
  json: "one object: from, dryRun, elementCount, soundCount, submittedCount, duplicateCount, skipped, refusedCount, refusals (the first 1,000), passedOver, stopped.",
  tables: [
    {
      title: "Fields",
      rows: mapping.map(({ field, names, help }) => [field, `${names.join(", ")}\n${help}`]),
    },
  ],
  examples: [
    {
      words: "tasks import queue.json --dry-run",
      meaning: "What would be imported, and what is refused and why.",
    },
    {
      words: "tasks import queue.json --queue mail",
      meaning: "Run it again after an interruption: nothing is made twice.",
    },
    {
      words: "tasks import - --type send < jobs.ndjson",
      meaning: "From standard input; tasks without a type are of this one.",
    },
  ],
  async run({ words: [file], values, to, out }) {
    const map = new Mapping({
      ...{ queue: values.queue, type: values.type, fields: values.map ?? {}, failed: values.failed },
      ...{ without: values.without ?? [], priorities: values.priority ?? {} },
    });
    if (map.problems.length > 0)
      throw new Exit("usage", map.problems.join("; "), "`cortexd help tasks import` shows the fields.");
    const source = sourceOf(file!);
    const isLines = values.format === "ndjson" || /\.(ndjson|jsonl)$/.test(file!);
    const run = new Import(source.name, values.dryRun, map, out, reportTo(values.report));
    const client = values.dryRun ? null : await connected(to);
    const ended = await run.carryOut(source, new ElementReader(isLines ? "ndjson" : "auto"), client);
    client?.close();
    await run.told();
    if (ended.signal !== null) process.kill(process.pid, ended.signal);
    if (ended.error !== null) throw exitOfClient(ended.error, to) ?? ended.error;
    return run.exit();
  },
});

// ------------------------------------------------------------------------------------------------- the input

type Source = { name: string; bytes: number | null; chunks: AsyncIterable<Uint8Array> };

const chunkBytes = 256 * 1024;
/** After so much the garbage is collected: by itself the collector falls far behind where the processors are busy. */
const collectBytes = 16 * 1024 * 1024;

function sourceOf(file: string): Source {
  if (file === "-") return { name: "standard input", bytes: null, chunks: Bun.stdin.stream() };
  try {
    const stat = statSync(file);
    if (stat.isDirectory()) throw new Exit("input-broken", `${file} is a folder.`, "Name a file.");
    const bytes = stat.isFile() ? stat.size : null;
    return { name: file, bytes, chunks: createReadStream(file, { highWaterMark: chunkBytes }) };
  } catch (error) {
    throw error instanceof Exit ? error : unreadable(file, error, "Nothing was imported.");
  }
}

const unreadable = (
  name: string,
  error: unknown,
  advice = "What was read before is imported; mend it and run the import again.",
) =>
  new Exit("input-broken", `${name} cannot be read (${(error as { code?: string }).code ?? error}).`, advice);

/** What looks like no JSON from its first bytes on, and what to do about it. */
function strange(chunk: Uint8Array): string | null {
  const [first, second] = chunk;
  if (first === 0x1f && second === 0x8b) return "is compressed: `gunzip -c FILE | cortexd tasks import -`";
  if (
    (first === 0xff && second === 0xfe) ||
    (first === 0xfe && second === 0xff) ||
    first === 0 ||
    second === 0
  )
    return "is UTF-16: `iconv -f utf-16 -t utf-8 FILE | cortexd tasks import -`";
  return null;
}

function reportTo(file: string | undefined): WriteStream | null {
  if (file === undefined) return null;
  try {
    // Opened here, so that one that cannot be written is told before anything is imported.
    const stream = createWriteStream(file, { fd: openSync(file, "w") });
    stream.on("error", () => {});
    return stream;
  } catch (error) {
    const why = (error as { code?: string }).code ?? error;
    throw new Exit("usage", `The report ${file} cannot be written (${why}).`, "Name another file.");
  }
}

// ------------------------------------------------------------------------------------------------ the daemon

/** How long the daemon may be away, or full, before the import gives up. */
const patienceMs = 60_000;

async function connected(to: Address): Promise<CoordinationClient> {
  // Says at once what a client would try again and again: that there is no daemon, or that it lets nobody in.
  await rest(to).health();
  const client = new CoordinationClient({ ...to, client: `cortexd-import/${version}` });
  // What a call was refused for is told by the call.
  client.on("error", () => {});
  await client.connect({ timeoutMs: patienceMs });
  return client;
}

/** Refusals that are about a task. Any other concerns all of them. */
const ofTasks: ReadonlySet<ErrorCode> = new Set([...operations["task.submit"].errors, "invalid-input"]);

// ------------------------------------------------------------------------------------------------ the import

type Taken = { element: number; line: number; task: TaskSubmit };

/** A batch is one entry of the log, and well below a frame. */
const tasksPerBatch = 500;
const charactersPerBatch = 512 * 1024;
const batchesInFlight = 8;

class Import {
  readonly #outcome: Outcome;
  #cutOffAt: number | null = null;
  #client: CoordinationClient | null = null;
  #batch: Taken[] = [];
  #batchCharacters = 0;
  readonly #inFlight = new Set<Promise<void>>();
  #error: unknown = null;
  #signal: NodeJS.Signals | null = null;

  constructor(
    from: string,
    dryRun: boolean,
    private readonly map: Mapping,
    private readonly out: Output,
    private readonly report: WriteStream | null,
  ) {
    this.#outcome = {
      ...{ from, dryRun, elementCount: 0, soundCount: 0, submittedCount: 0, duplicateCount: 0 },
      ...{ skipped: { completed: 0, cancelled: 0, failed: 0 }, refusedCount: 0, refusals: [] },
      ...{ passedOver: [], stopped: null },
    };
  }

  /** Reads to the end, to a failure or to a signal; then waits for what is on its way. */
  async carryOut(
    source: Source,
    reader: ElementReader,
    client: CoordinationClient | null,
  ): Promise<{ error: unknown; signal: NodeJS.Signals | null }> {
    this.#client = client;
    let collectedAt = 0;
    let interrupt = () => {};
    const asked = (signal: NodeJS.Signals) => {
      this.#signal = signal;
      this.#outcome.stopped = `${signal}: run it again to go on; what is there is not made twice`;
      interrupt();
    };
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, asked);
    const progress = new Progress();
    try {
      const chunks = source.chunks[Symbol.asyncIterator]();
      for (;;) {
        if (this.#signal !== null) break;
        // Whoever writes into a pipe may be silent for long, and a signal waits for nobody. No race with one promise
        // of all turns: that would hold every chunk that was ever read.
        const next = await new Promise<IteratorResult<Uint8Array> | null>((resolve, reject) => {
          interrupt = () => resolve(null);
          chunks.next().then(resolve, reject);
        });
        if (next === null || next.done === true) break;
        const chunk = next.value;
        const odd = reader.bytesRead === 0 ? strange(chunk) : null;
        if (odd !== null) throw new Exit("input-broken", `${source.name} ${odd}.`, "Nothing was imported.");
        for (const element of reader.push(chunk)) await this.#take(element);
        if (reader.bytesRead - collectedAt > collectBytes) {
          Bun.gc(true);
          collectedAt = reader.bytesRead;
        }
        if (this.#inFlight.size === 0) await this.#send();
        progress.show(() => standing(reader.bytesRead, source.bytes, this.#outcome));
        if (this.#isOver) break;
      }
      if (!this.#isOver) for (const element of reader.end()) await this.#take(element);
    } catch (error) {
      const isOfTheFile = typeof (error as { code?: unknown }).code === "string";
      this.#error ??= isOfTheFile ? unreadable(source.name, error) : error;
    }
    await this.#send();
    await Promise.all(this.#inFlight);
    progress.end();
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, asked);
    const { report } = this;
    if (report !== null) await new Promise<void>((resolve) => report.end(resolve));
    this.#outcome.passedOver = reader.passedOver;
    if (reader.cutOff) {
      this.#cutOffAt = this.#outcome.elementCount;
      this.#outcome.stopped ??= "the input was cut off";
    }
    if (this.#error !== null) this.#outcome.stopped = (this.#error as Error).message;
    return { error: this.#error, signal: this.#signal };
  }

  get #isOver(): boolean {
    return this.#error !== null || this.#signal !== null;
  }

  async #take(element: Element): Promise<void> {
    if (this.#isOver) return;
    const { number: at, line } = element;
    const outcome = this.#outcome;
    outcome.elementCount++;
    if ("problem" in element) return this.#refuse({ element: at, line, key: null, reason: element.problem });
    let value: unknown;
    try {
      value = JSON.parse(element.text);
    } catch (error) {
      return this.#refuse({
        element: at,
        line,
        key: null,
        reason: `it is not JSON: ${(error as Error).message}`,
      });
    }
    const mapped = this.map.map(value, this.out.now());
    if ("skipped" in mapped) {
      outcome.skipped[mapped.skipped]++;
      return;
    }
    if ("problem" in mapped) return this.#refuse({ element: at, line, key: null, reason: mapped.problem });
    const { task } = mapped;
    const characters = JSON.stringify(task.payload ?? null).length;
    const reason = unfit(task, characters);
    if (reason !== null) return this.#refuse({ element: at, line, key: task.idempotencyKey!, reason });
    outcome.soundCount++;
    this.#batch.push({ element: at, line, task });
    this.#batchCharacters += characters;
    if (this.#batch.length >= tasksPerBatch || this.#batchCharacters >= charactersPerBatch)
      await this.#send();
  }

  #refuse(refusal: Refusal): void {
    const outcome = this.#outcome;
    outcome.refusedCount++;
    if (outcome.refusals.length < listedMax) outcome.refusals.push(refusal);
    this.report?.write(`${JSON.stringify(refusal)}\n`);
  }

  /** Sends the batch once fewer than enough are on their way. */
  async #send(): Promise<void> {
    const batch = this.#batch;
    this.#batch = [];
    this.#batchCharacters = 0;
    const client = this.#client;
    if (client === null || batch.length === 0) return;
    while (this.#inFlight.size >= batchesInFlight) await Promise.race(this.#inFlight);
    if (this.#error !== null) return;
    const sent = this.#submit(client, batch)
      .catch((error) => {
        this.#error ??= error;
      })
      .finally(() => this.#inFlight.delete(sent));
    this.#inFlight.add(sent);
  }

  /** An array submit is all or nothing: of one that is refused for a task in it, the halves are tried. */
  async #submit(client: CoordinationClient, batch: readonly Taken[]): Promise<void> {
    const outcome = this.#outcome;
    const until = systemClock.monotonic() + patienceMs;
    for (let waitMs = 100; ; waitMs = Math.min(2 * waitMs, 5000)) {
      try {
        const answers = await client.submit(
          batch.map(({ task }) => task),
          { timeoutMs: patienceMs },
        );
        for (const { duplicate } of answers) outcome[duplicate ? "duplicateCount" : "submittedCount"]++;
        return;
      } catch (error) {
        if (!(error instanceof CortexError)) throw error;
        if (ofTasks.has(error.code)) {
          if (batch.length > 1) {
            const middle = batch.length >> 1;
            await this.#submit(client, batch.slice(0, middle));
            return this.#submit(client, batch.slice(middle));
          }
          const [{ element, line, task }] = batch as [Taken];
          outcome.soundCount--;
          return this.#refuse({ element, line, key: task.idempotencyKey!, reason: error.message });
        }
        if (!error.retryable || systemClock.monotonic() > until) throw error;
        await new Promise<void>((resolve) => systemClock.after(error.retryAfterMs ?? waitMs, resolve));
      }
    }
  }

  async told(): Promise<void> {
    const outcome = this.#outcome;
    const { out } = this;
    if (out.json) return out.value(outcome);
    const { completed, cancelled, failed } = outcome.skipped;
    const parts = outcome.dryRun
      ? [`${number(outcome.soundCount)} could be imported`]
      : [`${number(outcome.submittedCount)} imported`, `${number(outcome.duplicateCount)} there already`];
    const skipped = [
      [completed, "completed"],
      [cancelled, "cancelled"],
      [failed, "failed"],
    ] as const;
    for (const [count, word] of skipped) if (count > 0) parts.push(`${number(count)} left out: ${word}`);
    parts.push(out.paint(`${number(outcome.refusedCount)} refused`, outcome.refusedCount > 0 ? "red" : null));
    const dry = outcome.dryRun ? " (dry run: nothing was submitted)" : "";
    await out.line(
      `${outcome.from}: of ${plural(outcome.elementCount, "element")} ${parts.join(", ")}${dry}.`,
    );
    if (outcome.passedOver.length > 0)
      await out.line(`Not read, beside the list: ${outcome.passedOver.map(shown).join(", ")}.`);
    for (const { element, line, key, reason } of outcome.refusals.slice(0, shownMax)) {
      const which = key === null || key.startsWith("import:") ? "" : ` (${shown(key)})`;
      await out.line(`  ${out.paint(`element ${element}, line ${line}${which}`, "bold")}: ${shown(reason)}`);
    }
    const more = outcome.refusedCount - shownMax;
    if (more > 0) await out.line(`  … and ${number(more)} more; --report FILE lists all`);
    if (outcome.stopped !== null && this.#error === null) await out.line(`Stopped: ${outcome.stopped}.`);
  }

  exit(): ExitName | undefined {
    const { refusedCount, elementCount, from } = this.#outcome;
    if (this.#cutOffAt !== null) {
      throw new Exit(
        "input-broken",
        `${from} was cut off: it ends within element ${this.#cutOffAt}, or before its list does.`,
        "What came before is imported; run it again with the whole file, nothing is made twice.",
      );
    }
    if (refusedCount === 0) return undefined;
    return refusedCount === elementCount ? "refused" : "partly-refused";
  }
}

/** Why the daemon would refuse it, or null: a batch is all or nothing, so one like that must not be in it. */
function unfit(task: TaskSubmit, characters: number): string | null {
  if (characters > limits.payloadBytesMax)
    return `the payload has ${number(characters)} characters; at most ${number(limits.payloadBytesMax)} are taken`;
  if (!withinDepth(task.payload, limits.depthMax))
    return `the payload nests deeper than ${limits.depthMax} levels`;
  return validate("task.submit", task)?.detail ?? null;
}

function standing(
  bytesRead: number,
  bytes: number | null,
  { submittedCount, duplicateCount, soundCount, refusedCount, dryRun }: Outcome,
): string {
  const far = bytes === null ? `${number(Math.floor(bytesRead / 1024))} KiB` : bar(bytesRead, bytes);
  const done = dryRun ? `${number(soundCount)} read` : `${number(submittedCount + duplicateCount)} imported`;
  const refused = refusedCount === 0 ? "" : `, ${number(refusedCount)} refused`;
  return `${far}  ${done}${refused}`;
}
