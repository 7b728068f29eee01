/**
 * `cortexd run`: any program becomes a worker. For each task it is started once: the payload is its input, what it
 * prints is the task's log, its last line the result, its exit code the outcome. Starting and ending a program is
 * child.ts, being a worker is client/.
 */
import { hostname } from "node:os";
import { Cancel, Discard, Retry, Snooze, Verdict } from "../../client/verdicts.ts";
import { type Context, RunningWorker } from "../../client/worker.ts";
import { readDuration } from "../config.ts";
import { systemClock } from "../engine/clock.ts";
import { limits } from "../wire/limits.ts";
import type { Task } from "../wire/tasks.ts";
import { WorkerRegister } from "../wire/workers.ts";
import { type Ended, found, runChild } from "./child.ts";
import { type Address, command } from "./command.ts";
import { environmentFor } from "./daemon.ts";
import { Exit } from "./exit.ts";
import { optionsOf } from "./options.ts";
import { type Output, shown } from "./output.ts";
import { onSignals } from "./signals.ts";
import { version } from "./version.ts";
import { plural, span } from "./words.ts";

const variables = [
  ["CORTEX_TASK_ID", "The task's id, such as 1042-0."],
  ["CORTEX_TASK_TYPE", "What is to be done."],
  ["CORTEX_QUEUE", "The queue it came from."],
  ["CORTEX_ATTEMPT, CORTEX_ATTEMPTS", "Which attempt this is, and how many there may be."],
  ["CORTEX_PAYLOAD", "The payload, as on standard input; not set where it has more than 64 KiB."],
  ["CORTEX_LEASE_TOKEN, CORTEX_WORKER", "The lease: what REST calls made for this task name."],
  ["TRACEPARENT, TRACESTATE", "The trace that the task was submitted in, if it was in one."],
  [
    "CORTEX_URL, CORTEX_NAMESPACE, CORTEX_TOKEN",
    "The daemon, so that `cortexd` in the program finds the same one.",
  ],
] as const;

const outcomes = [
  ["complete", "The task is completed, as by 0."],
  ["final", "The attempt failed, and the task is not tried again."],
  ["discard", "The task is given up, which says nothing against the worker."],
  ["cancel", "The task is cancelled."],
  ["retry:TIME", "The attempt failed; the next one comes after so long."],
  ["snooze:TIME", "The task runs again after so long; the attempt is not counted."],
] as const;

export const program = command({
  summary: "Make any program a worker: it is run for each task of a queue.",
  arguments: [
    {
      name: "COMMAND",
      help: "The program and its words; with `--` before it, its options are its own.",
      many: true,
    },
  ],
  options: {
    queue: { type: "list", help: "The queues it serves. (default default)", default: ["default"] },
    type: {
      type: "list",
      help: "The types it knows; a task of another type fails its attempt. Default: all.",
    },
    concurrency: {
      type: "integer",
      min: 1,
      max: limits.capacityMax,
      default: 1,
      help: "How many run at once. (default 1)",
    },
    ...optionsOf(WorkerRegister, ["instanceId", "queues", "capacity", "holding"]),
    exit: {
      type: "pairs",
      unit: "CODE=OUTCOME",
      help: "What an exit code means, as often as wanted: 75=snooze:1m, 65=final. Default: 0 completes, others fail.",
    },
    raw: { type: "flag", help: "A payload that is a text is given without its quotes." },
    grace: {
      type: "duration",
      min: 0,
      default: 30_000,
      help: "How long running programs may still take when this is stopped. (default 30s)",
    },
    killAfter: {
      type: "duration",
      min: 0,
      default: 10_000,
      help: "A program that was told to stop (SIGTERM) is killed after so long. (default 10s)",
    },
    quiet: { type: "flag", help: "Show how tasks end, not what programs print; that is in the tasks' logs." },
  },
  client: true,
  json: 'a line an event (NDJSON): {"event": "started" | "line" | "ended", "taskId", ...}.',
  tables: [
    { title: "The program finds in its environment", rows: variables },
    { title: "Outcomes of exit codes", rows: outcomes },
  ],
  examples: [
    {
      words: "run --queue thumbnails --concurrency 4 -- ./thumbnail.sh",
      meaning: "The payload is on standard input as JSON; the last line it prints is the result.",
    },
    {
      words: `run --queue mail -- sh -c 'echo "$CORTEX_PAYLOAD" | jq -r .to | xargs ./send'`,
      meaning: "Without a script of its own.",
    },
    {
      words: "run --queue crawl --exit 75=snooze:1m --exit 65=final -- python3 crawl.py",
      meaning: "75 puts the task off, 65 ends it; any other code but 0 fails the attempt.",
    },
  ],
  async run({ words, values, to, out }) {
    const program = found(words);
    const meanings = meaningsOf(values.exit ?? {});
    const known = values.type;
    const run = new Runs(program, out, { ...values, to, meanings });
    const running = new RunningWorker(
      values.queue as string[],
      (task, context) => run.carryOut(task, context),
      {
        ...to,
        ...(known === undefined ? {} : { types: known as string[] }),
        concurrency: values.concurrency as number,
        workerId: (values.worker as string | undefined) ?? ownName(),
        kind: values.kind as string | undefined,
        capabilities: values.capability as string[] | undefined,
        labels: labelsOf(values.label as Record<string, string> | undefined),
        client: `cortexd-run/${version}`,
      },
    );
    const { client } = running;
    const say = (text: string) => process.stderr.write(`${text}\n`);
    client.on("error", (error) => say(`cortexd: ${error instanceof Error ? error.message : error}`));
    client.on("reconnecting", ({ attempt }) => {
      if (attempt === 1) say(`No daemon at ${to.url}; it is tried again until there is one.`);
    });
    client.on("connected", () => say(`${running.workerId} serves ${(values.queue as string[]).join(", ")}.`));
    const forget = onWishes((count) => {
      if (count > 1) return run.stop();
      if (running.runningCount > 0)
        say(
          `Stopping: ${plural(running.runningCount, "task")} may still end, for ${span(values.grace)}; a second signal ends them now.`,
        );
      void running.stop({ graceMs: values.grace });
    });
    try {
      // What it is refused for is told by `done`; that it is stopped while it still connects is no failure.
      client.connect().catch(() => {});
      await running.done;
    } finally {
      forget();
      run.stop();
      await run.ended();
    }
    return undefined;
  },
});

/** Its own on every start, and one that people recognize. */
const ownName = () =>
  `${
    hostname()
      .replaceAll(/[^A-Za-z0-9_.-]/g, "-")
      .replace(/^[^A-Za-z0-9_]+/, "")
      .slice(0, 64) || "worker"
  }-${crypto.randomUUID().slice(0, 8)}`;

/** A number or a truth is meant where one is written: tasks require `mem >= 16`. */
const labelsOf = (labels: Record<string, string> | undefined) =>
  labels &&
  Object.fromEntries(
    Object.entries(labels).map(([key, text]) => [
      key,
      /^-?[0-9]{1,15}(\.[0-9]{1,15})?$/.test(text)
        ? Number(text)
        : text === "true" || (text === "false" ? false : text),
    ]),
  );

type Meaning = (said: string) => Verdict | "complete" | "final";

function meaningsOf(pairs: Record<string, string>): Map<number, Meaning> {
  return new Map(
    Object.entries(pairs).map(([code, outcome]) => {
      const meaning = meaningOf(outcome);
      if (!/^[0-9]{1,3}$/.test(code) || Number(code) > 255 || meaning === null)
        throw new Exit(
          "usage",
          `--exit is ${JSON.stringify(`${code}=${outcome}`)}; allowed is a code from 0 to 255 and an outcome, such as 75=snooze:1m`,
          `The outcomes are ${outcomes.map(([name]) => name).join(", ")}.`,
        );
      return [Number(code), meaning];
    }),
  );
}

function meaningOf(outcome: string): Meaning | null {
  const [, word, time] = /^(\w+)(?::(.+))?$/.exec(outcome) ?? [];
  if (word === "retry" || word === "snooze") {
    const ms = time === undefined ? Number.NaN : readDuration(time);
    if (!(ms >= 0 && ms <= limits.durationMsMax)) return null;
    return word === "retry" ? (said) => Retry(ms, said) : () => Snooze(ms);
  }
  if (time !== undefined) return null;
  switch (word) {
    case "complete":
    case "final":
      return () => word;
    case "discard":
      return Discard;
    case "cancel":
      return Cancel;
    default:
      return null;
  }
}

/** Calls with how many signals asked so far; what comes right after another is one wish (`bun run` passes Ctrl-C on). */
function onWishes(asked: (count: number) => void): () => void {
  let count = 0;
  let lastAt = Number.NEGATIVE_INFINITY;
  return onSignals(() => {
    const now = systemClock.monotonic();
    if (now - lastAt > 300) asked(++count);
    lastAt = now;
  });
}

type Settings = {
  to: Address;
  meanings: ReadonlyMap<number, Meaning>;
  raw?: boolean;
  quiet?: boolean;
  killAfter: number;
};

/** A variable of the environment that is longer cannot be passed on Linux. */
const variableLengthMax = 64 * 1024;

class Runs {
  readonly #running = new Set<Promise<unknown>>();
  readonly #stopped = new AbortController();

  constructor(
    private readonly program: readonly string[],
    private readonly out: Output,
    private readonly settings: Settings,
  ) {}

  /** Ends all programs. Twice is fine. */
  stop(): void {
    this.#stopped.abort();
  }

  /** Resolves once no program runs. */
  async ended(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  carryOut(task: Task, context: Context): Promise<unknown> {
    const run = this.#run(task, context);
    this.#running.add(run);
    const forget = () => this.#running.delete(run);
    run.then(forget, forget);
    return run;
  }

  async #run(task: Task, context: Context): Promise<unknown> {
    const { quiet, raw, killAfter } = this.settings;
    const payload = raw && typeof task.payload === "string" ? task.payload : JSON.stringify(task.payload);
    const before = systemClock.monotonic();
    this.#tell(task, "started", { type: task.type, attempt: task.attempt });
    let ended: Ended;
    try {
      ended = await runChild({
        command: this.program,
        environment: this.#environment(task, context, payload),
        input: payload,
        signal: AbortSignal.any([context.signal, this.#stopped.signal]),
        killAfterMs: killAfter,
        onLine: (line, from) => {
          context.log(line);
          if (!quiet) this.#tell(task, "line", { from, text: line });
        },
      });
    } catch (error) {
      this.#tell(task, "ended", { exit: null, error: `${error}` });
      throw error;
    }
    const { code, signal } = ended;
    const tookMs = Math.round(systemClock.monotonic() - before);
    this.#tell(task, "ended", { exit: code ?? signal, aborted: context.signal.aborted, tookMs });
    if (this.#stopped.signal.aborted && !context.signal.aborted)
      throw new Verdict("the worker was stopped", (held) => held.release());
    return this.#outcomeOf(ended);
  }

  #outcomeOf({ code, signal, last }: Ended): unknown {
    const name = this.program[0]!;
    const how = code === null ? `was ended by ${signal}` : `ended with exit code ${code}`;
    const said = last.error || last.out || `${name} ${how}`;
    const meaning = code === null ? undefined : this.settings.meanings.get(code);
    const outcome = meaning === undefined ? (code === 0 ? "complete" : "fail") : meaning(said);
    if (outcome instanceof Verdict) return outcome;
    if (outcome === "complete") return resultOf(last.out);
    throw Object.assign(new Error(said), {
      code: code === null ? signal : `exit-${code}`,
      // Of this program's own code; it says nothing about the other's.
      stack: undefined,
      ...(outcome === "final" ? { final: true } : {}),
    });
  }

  #environment({ id, type, queue, attempt, attempts, trace }: Task, { lease }: Context, payload: string) {
    return {
      ...environmentFor(this.settings.to),
      CORTEX_TASK_ID: id,
      CORTEX_TASK_TYPE: type,
      CORTEX_QUEUE: queue,
      CORTEX_ATTEMPT: String(attempt),
      CORTEX_ATTEMPTS: String(attempts),
      CORTEX_PAYLOAD: payload.length > variableLengthMax || payload.includes("\0") ? undefined : payload,
      CORTEX_LEASE_TOKEN: String(lease.token),
      CORTEX_WORKER: lease.workerId,
      TRACEPARENT: trace?.traceparent,
      TRACESTATE: trace?.tracestate,
    };
  }

  /** For who looks on; nothing waits for it. */
  #tell({ id }: Task, event: "started" | "line" | "ended", more: Record<string, unknown>): void {
    const { out } = this;
    const line = out.json
      ? JSON.stringify({ event, taskId: id, ...more })
      : `${out.paint(id, "dim")}  ${textOf(event, more, out)}`;
    out.line(line).catch(() => {});
  }
}

/** JSON where it is JSON, else the text; null: nothing was printed. */
function resultOf(line: string): unknown {
  const text = line.trim();
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function textOf(event: string, more: Record<string, unknown>, out: Output): string {
  if (event === "started") return `${more.type} starts, attempt ${more.attempt}`;
  if (event === "line") return `| ${shown(String(more.text))}`;
  if (more.error !== undefined) return out.paint(`could not be started: ${more.error}`, "red");
  const aborted = more.aborted ? ", after it was told to stop" : "";
  return out.paint(
    `ended with ${more.exit} in ${span(more.tookMs as number)}${aborted}`,
    more.exit === 0 ? "green" : "red",
  );
}
