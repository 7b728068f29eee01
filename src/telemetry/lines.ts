/**
 * The daemon's log lines, for people and collectors. Every event is declared once in the table below, with its
 * sentence; a name that is not in it does not compile. A line is written and forgotten: nothing waits for it and
 * nothing is decided from it. The clock and the place where lines go are handed in.
 */
export const levels = ["debug", "info", "warn", "error"] as const;
export type Level = (typeof levels)[number];
export const lineFormats = ["text", "json"] as const;
export type LineFormat = (typeof lineFormats)[number];

/** Event names are `noun.verb`, as operations are. */
export const events = {
  "serve.starting": "cortexd starts",
  "serve.noted": "Something in the configuration is worth a look",
  "token.made": "There was no token, so one was made; callers show it as: Authorization: Bearer TOKEN",
  "serve.ready": "cortexd takes requests",
  "serve.stopping": "cortexd stops",
  "serve.step": "A step of stopping is done",
  "serve.stopped": "cortexd has stopped",
  "serve.killed": "Stopped at once, on a second signal",
  "log.recovering": "The log is being read",
  "log.recovered": "The log is read",
  "log.mended": "Recovery mended something",
  "log.full": "The disk is full: what was not durable is undone, reads go on",
  "log.writable": "The disk takes writes again",
  "log.failed": "The log is beyond use",
  "read.failed": "What is stored could not be read",
  "namespace.made": "A namespace was made",
  "namespace.dropped": "A namespace was dropped",
  "namespace.failed": "A namespace could not be made or dropped",
  "worker.registered": "A worker registered",
  "worker.offline": "A worker went offline",
  "worker.sick": "A worker gets no tasks, or fewer, or fails too many",
  "worker.recovered": "A worker is healthy again",
  "worker.unregistered": "A worker left",
  "lock.stolen": "A lock was taken from its holder",
  "lease.expired": "A lease ended because its worker went silent",
  "loop.paused": "The loop stood still; all deadlines move by the gap",
  "socket.opened": "A connection opened",
  "socket.closed": "A connection closed",
  "socket.slow": "A connection is closed because it does not read",
  "http.failed": "A request ended in a bug",
  "bug.found": "A bug: the process ends, because memory may be ahead of the disk",
} as const;
export type EventName = keyof typeof events;

export type Fields = Record<string, string | number | boolean | null | undefined | string[]>;
type Line = (event: EventName, fields?: Fields) => void;
export type Lines = Record<Level, Line>;

export type LinesOptions = {
  level: Level;
  format: LineFormat;
  /** Wall clock, in epoch ms. */
  now: () => number;
  /** Takes one whole line, its newline included. */
  write: (line: string) => void;
};

/** The same lines, each with these fields behind its own. */
export function linesWith(lines: Lines, more: Fields): Lines {
  const line =
    (level: Level): Line =>
    (event, fields = {}) =>
      lines[level](event, { ...fields, ...more });
  return { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
}

/** A value in a text line: bare where it reads well, quoted where it holds spaces. */
const shown = (value: unknown) =>
  typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);

export function formatLine(format: LineFormat, at: number, level: Level, event: EventName, fields: Fields) {
  const time = new Date(at).toISOString();
  if (format === "json") {
    return `${JSON.stringify({ at: time, level, event, message: events[event], ...fields })}\n`;
  }
  const rest = Object.entries(fields).filter(([, value]) => value !== undefined);
  const tail = rest.map(([name, value]) => ` ${name}=${shown(value)}`).join("");
  return `${time} ${level.padEnd(5)} ${event} · ${events[event]}${tail}\n`;
}

export function createLines({ level, format, now, write }: LinesOptions): Lines {
  const from = levels.indexOf(level);
  const line = (at: Level): Line => {
    if (levels.indexOf(at) < from) return () => {};
    return (event, fields = {}) => write(formatLine(format, now(), at, event, fields));
  };
  return { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
}
