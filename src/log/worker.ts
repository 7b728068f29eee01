/**
 * The thread that owns the data folder: it takes batches from the loop one after the other and runs the writer over
 * SQLite. The real clock of the log's upkeep is here and nowhere else. It is an entry point of its own in the
 * executable. It never answers after a failure: the loop ends the process then.
 */
import type { LogError } from "./log.ts";
import type { FromThread, ToThread } from "./messages.ts";
import { SqliteStorage } from "./sqlite.ts";
import { LogWriter } from "./writer.ts";

declare const self: Worker & { onmessage: (event: MessageEvent<ToThread>) => void };

/** How often upkeep looks for what is due. */
const tickMs = 50;
/** Pages on their way to the loop; it decodes slower than SQLite reads. */
const pagesInFlightMax = 8;

let writer: LogWriter | null = null;
let isSnapshot = false;
let lastTold = "";

const say = (message: FromThread) => self.postMessage(message);

let pagesInFlight = 0;
let resume: (() => void) | null = null;

function page(message: FromThread): Promise<void> | void {
  say(message);
  if (++pagesInFlight < pagesInFlightMax) return;
  return new Promise((resolve) => {
    resume = resolve;
  });
}

function open(folder: string, options: Extract<ToThread, { kind: "open" }>["options"]) {
  isSnapshot = options.mode === "snapshot";
  writer = new LogWriter(new SqliteStorage(folder), options);
  writer.onFailure(fail);
  return writer.openPages({
    rows: (part, cells) => page({ kind: "rows", part, cells }),
    entries: (texts) => page({ kind: "entries", texts }),
    progress: (done, total) => say({ kind: "progress", done, total }),
  });
}

async function append(message: string): Promise<"durable" | "full" | number | null> {
  const end = message.indexOf("\n");
  const [first, last, after] = message.slice(0, end).split(" ").map(Number) as [number, number, number];
  const batch = { first, last, text: message.slice(end + 1) };
  if (isSnapshot) {
    await writer!.take(batch);
    return null;
  }
  const appended = await writer!.append(batch, after);
  return appended.kind === "fenced" ? appended.last : appended.kind;
}

function answer(value: Extract<FromThread, { kind: "answer" }>["value"]): void {
  say({ kind: "answer", value, status: writer!.status() });
}

async function hear(message: ToThread): Promise<void> {
  if (typeof message === "string") {
    const value = await append(message);
    if (value !== null) answer(value);
    return;
  }
  switch (message.kind) {
    case "open":
      answer(await open(message.folder, message.options));
      setTimeout(tick, tickMs);
      return;
    case "taken":
      pagesInFlight--;
      resume?.();
      resume = null;
      return;
    case "reserve":
      await writer!.reserve(message.ceiling);
      return answer(null);
    case "probe":
      return answer(await writer!.probe());
    case "stop":
      await writer!.stop();
      return answer(null);
  }
}

async function tick(): Promise<void> {
  try {
    const more = await writer!.tick(performance.now());
    const status = writer!.status();
    const full = writer!.isFull;
    const told = JSON.stringify([status, full]);
    if (told !== lastTold) say({ kind: "status", status, full });
    lastTold = told;
    // Between two steps what waits in the queue is heard.
    setTimeout(tick, more ? 0 : tickMs);
  } catch {
    // Told by the listener, or the log is stopped.
  }
}

function fail(error: unknown): void {
  const { code, message, advice } = error as Partial<LogError> & Error;
  say({ kind: "failed", error: { code: code ?? "log-failed", message, advice: advice ?? "This is a bug." } });
}

self.onmessage = (event) => {
  hear(event.data).catch(fail);
};
say({ kind: "ready" });
