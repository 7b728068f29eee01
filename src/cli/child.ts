/**
 * One program, run once: its standard input, its lines, how it ended, and nothing of it left behind. It is the leader
 * of a process group of its own, so that what it started is told to stop and ended together with it. Knows no tasks.
 */
import { systemClock } from "../engine/clock.ts";
import { limits } from "../wire/limits.ts";
import { Exit } from "./exit.ts";

export type Child = {
  command: readonly string[];
  environment: Record<string, string | undefined>;
  input: string;
  /** Aborts: the program is told to stop, and after `killAfterMs` made to. */
  signal: AbortSignal;
  killAfterMs: number;
  onLine(line: string, from: "out" | "error"): void;
};

export type Ended = {
  /** Null: a signal ended it. */
  code: number | null;
  signal: string | null;
  /** The last line of each that is not empty; "" if there is none. */
  last: { out: string; error: string };
};

/** The words of a program, if it is there: one that is nowhere would fail only once its turn has come. */
export function found(words: string[]): string[] {
  const [name] = words as [string];
  if (Bun.which(name) !== null) return words;
  throw new Exit(
    "usage",
    `there is no program ${name} that can be run here`,
    "Write its path, make it executable (chmod +x), or put the interpreter before it: `-- python3 work.py`.",
  );
}

/** Once the signal aborts, what runs is told to stop, and after `killAfterMs` made to. Ends with what it returns. */
export function stopsBy(
  signal: AbortSignal,
  killAfterMs: number,
  tell: (name: "SIGTERM" | "SIGKILL") => void,
): () => void {
  let forget = () => {};
  const stop = () => {
    tell("SIGTERM");
    forget = systemClock.after(killAfterMs, () => tell("SIGKILL"));
  };
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true });
  return () => {
    signal.removeEventListener("abort", stop);
    forget();
  };
}

/** What still holds the output so long after the program has left its group, and is not waited for. */
const lingerMs = 1000;

/** Rejects if the program cannot be started. */
export async function runChild(child: Child): Promise<Ended> {
  const { command, environment, input, signal, killAfterMs, onLine } = child;
  const started = Bun.spawn([...command], {
    env: environment,
    stdin: new TextEncoder().encode(input),
    stdout: "pipe",
    stderr: "pipe",
    detached: true,
  });
  const tell = (name: NodeJS.Signals) => signalGroup(started.pid, name);
  const ended = stopsBy(signal, killAfterMs, tell);

  const last = { out: "", error: "" };
  const done = new AbortController();
  const read = async (stream: ReadableStream<Uint8Array>, from: "out" | "error") => {
    for await (const line of linesOf(stream, done.signal)) {
      if (line.trim() !== "") last[from] = line;
      onLine(line, from);
    }
  };
  const reading = Promise.all([read(started.stdout, "out"), read(started.stderr, "error")]);
  await started.exited;
  ended();
  tell("SIGKILL");
  const forget = systemClock.after(lingerMs, () => done.abort());
  await reading;
  forget();
  return {
    code: started.exitCode,
    signal: started.signalCode === null ? null : String(started.signalCode),
    last,
  };
}

function signalGroup(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(process.platform === "win32" ? pid : -pid, name);
  } catch {
    // Nobody is left in it.
  }
}

/** A line is no longer than a result may be, and one over it: what is longer is refused as a result, and not kept here. */
const lineLengthMax = limits.payloadBytesMax + 1;

/** The lines of a stream until it ends or nobody wants them; of one that was renewed by "\r", as progress is, what it came to. */
async function* linesOf(stream: ReadableStream<Uint8Array>, done: AbortSignal): AsyncGenerator<string> {
  const reader = stream.getReader();
  done.addEventListener("abort", () => void reader.cancel().catch(() => {}), { once: true });
  const decoder = new TextDecoder();
  const renewed = (line: string) =>
    line.slice(line.lastIndexOf("\r", line.length - 2) + 1).replace(/\r$/, "");
  let rest = "";
  for (;;) {
    const { value, done: ended } = await reader.read();
    const parts = (ended ? decoder.decode() : decoder.decode(value, { stream: true })).split("\n");
    for (const part of parts.slice(0, -1)) {
      yield renewed(rest + part);
      rest = "";
    }
    const more = parts.at(-1)!;
    if (rest.length < lineLengthMax) rest = (rest + more).slice(0, lineLengthMax);
    if (ended) break;
  }
  if (rest !== "") yield renewed(rest);
}
