/**
 * Real daemons for tests: from the source, or the executable named by CORTEX_TEST_EXECUTABLE, so that one suite
 * proves both. Each runs on free ports of loopback, with an environment of its own. Only processes started here
 * are ever ended, and all of them are when the tests end.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import type { PresetName } from "../../src/config.ts";
import type { EventName } from "../../src/telemetry/lines.ts";
import { atEnd } from "./ending.ts";

const root = join(import.meta.dir, "..", "..");

/** How `cortexd` is called here. */
export const cortexd: string[] = process.env.CORTEX_TEST_EXECUTABLE
  ? [process.env.CORTEX_TEST_EXECUTABLE]
  : [process.execPath, join(root, "src", "main.ts")];

const running = new Set<Subprocess>();
const folders = new Set<string>();

/** Ends what still runs and removes the folders. */
export function cleanUp(): void {
  for (const child of running) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}
atEnd(cleanUp);

/** A new empty folder, gone when the tests end. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "cortexd-test-"));
  folders.add(folder);
  return folder;
}

export type Line = { event: EventName; level: string; [field: string]: unknown };

type Options = {
  /** What stands before the options. Default: `serve`, on free ports. */
  command?: string[];
  cwd?: string;
  preset?: PresetName;
  /** Default: a new temporary folder. */
  data?: string;
  /** More options of `serve`. */
  args?: string[];
  environment?: Record<string, string>;
  /** Words put before the command, such as those of a tracer. */
  under?: string[];
};

export type Daemon = {
  port: number;
  wsPort: number;
  /** http://127.0.0.1:PORT */
  url: string;
  /** ws://127.0.0.1:WSPORT */
  wsUrl: string;
  data: string;
  pid: number;
  /** The log lines so far. */
  lines: Line[];
  /** The next or an earlier line of this event. */
  line(event: EventName): Promise<Line>;
  /** What it wrote to standard error. */
  errors(): string;
  /** Resolves with the exit code; null if a signal ended it. */
  exited: Promise<number | null>;
  signal(name: NodeJS.Signals): void;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
  /** SIGTERM, and waits for the end: the exit code. */
  stop(): Promise<number | null>;
};

const bare = { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? "" };

/** Starts `cortexd serve` and resolves when it takes requests; rejects with its output if it ends before. */
export async function spawnDaemon(options: Options = {}): Promise<Daemon> {
  const data = options.data ?? temporaryFolder();
  const args = options.command ?? ["serve", "--port", "0", "--ws-port", "0", "--data", data];
  args.push("--log-format", "json");
  if (options.preset) args.push("--preset", options.preset);
  const child = Bun.spawn([...(options.under ?? []), ...cortexd, ...args, ...(options.args ?? [])], {
    env: { ...bare, ...options.environment },
    cwd: options.cwd ?? data,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  running.add(child);

  const lines: Line[] = [];
  const waiting = new Set<() => void>();
  let other = "";
  let errors = "";
  const read = async () => {
    let rest = "";
    for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + chunk).split("\n");
      rest = parts.pop()!;
      for (const part of parts) {
        if (part.startsWith("{")) lines.push(JSON.parse(part));
        else other += `${part}\n`;
      }
      for (const wake of [...waiting]) wake();
    }
  };
  const readErrors = async () => {
    for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) errors += chunk;
  };
  const exited = Promise.all([child.exited, read(), readErrors()]).then(() => {
    running.delete(child);
    for (const wake of [...waiting]) wake();
    return child.exitCode;
  });

  const line = (event: EventName) =>
    new Promise<Line>((resolve, reject) => {
      const look = () => {
        const found = lines.find((one) => one.event === event);
        if (found) resolve(found);
        else if (!running.has(child)) {
          reject(new Error(`cortexd ended (${child.exitCode}) before ${event}:\n${other}${errors}`));
        } else return;
        waiting.delete(look);
      };
      waiting.add(look);
      look();
    });

  const ready = await line("serve.ready");
  const port = ready.port as number;
  const wsPort = ready.wsPort as number;
  return {
    port,
    wsPort,
    url: `http://127.0.0.1:${port}`,
    wsUrl: `ws://127.0.0.1:${wsPort}`,
    data,
    // Under a tracer the child is the tracer; the daemon says its own pid.
    pid: ready.pid as number,
    lines,
    line,
    errors: () => errors,
    exited,
    signal: (name) => process.kill(ready.pid as number, name),
    kill: async () => {
      if (running.has(child)) process.kill(ready.pid as number, "SIGKILL");
      await exited;
    },
    stop: async () => {
      if (running.has(child)) process.kill(ready.pid as number, "SIGTERM");
      return exited;
    },
  };
}

export type Ended = { code: number | null; output: string; errors: string };
type RunOptions = { environment?: Record<string, string>; cwd?: string; stdin?: string | undefined };
type Started = { signal(name: NodeJS.Signals): void; ended: Promise<Ended> };

/** Starts a program, with an environment of its own; what it printed is there when it has ended. */
export function startProgram(command: string[], options: RunOptions = {}): Started {
  const child = Bun.spawn(command, {
    env: { ...bare, ...options.environment },
    cwd: options.cwd ?? temporaryFolder(),
    stdin: options.stdin === undefined ? "ignore" : new Blob([options.stdin]),
    stdout: "pipe",
    stderr: "pipe",
  });
  running.add(child);
  const read = async (): Promise<Ended> => {
    const [output, errors] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    running.delete(child);
    return { code: child.exitCode, output, errors };
  };
  return { signal: (name) => child.kill(name), ended: read() };
}

/** Starts a command of `cortexd` that goes on until it is told to stop. */
export const startCortexd = (args: string[], options: RunOptions = {}): Started =>
  startProgram([...cortexd, ...args], options);

/** Runs a program to its end. */
export const runProgram = (command: string[], options: RunOptions = {}): Promise<Ended> =>
  startProgram(command, options).ended;

/** Runs `cortexd` to its end. */
export const runCortexd = (args: string[], options: RunOptions = {}): Promise<Ended> =>
  startCortexd(args, options).ended;

/** Resolves once the condition holds: for what can only be looked at, never for what can be awaited. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await Bun.sleep(10);
}
