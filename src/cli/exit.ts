/**
 * Every way the process can end, in one table: the number a supervisor branches on, and what it means. A number
 * is never given a second meaning. An expected end prints its message and what to do, never a stack.
 */
import { LogError } from "../log/log.ts";

export const exitTable = {
  ok: {
    code: 0,
    help: "Stopped as asked; everything acknowledged is on disk, as far as the preset keeps it.",
  },
  bug: { code: 1, help: "A bug in cortexd; the log lines hold the stack." },
  usage: { code: 2, help: "A wrong command, option or configuration; nothing was touched." },
  "address-unusable": { code: 3, help: "A port is in use, or the address is not this machine's." },
  "data-folder-in-use": { code: 4, help: "Another cortexd has the data folder." },
  "data-folder-not-writable": { code: 5, help: "The data folder cannot be made or written." },
  "data-folder-newer-format": { code: 6, help: "A newer cortexd wrote the data folder." },
  "data-folder-damaged": { code: 7, help: "The data folder is damaged; nothing was changed in it." },
  "log-failed": { code: 8, help: "The log could not be written while running; start again, it recovers." },
  "stopped-at-once": {
    code: 9,
    help: "A second signal ended it before everything was closed; start again, it recovers.",
  },
  unreachable: { code: 10, help: "No daemon answered at the address." },
  refused: { code: 11, help: "The daemon refused what was asked; the message says why." },
  "not-found": {
    code: 12,
    help: "The daemon has no such task, worker, schedule, queue, limit, key, lock, subscription or namespace.",
  },
  "timed-out": { code: 13, help: "What was waited for did not come in time." },
  "not-completed": { code: 14, help: "A task that was waited for ended without a result." },
  "partly-refused": { code: 15, help: "A part of what was asked was refused; the rest is done." },
  "input-broken": { code: 16, help: "The input cannot be read, or is not JSON." },
  "set-up-faulty": { code: 17, help: "`cortexd doctor` found what keeps the daemon from working." },
  "lock-lost": { code: 18, help: "`cortexd lock` lost its lock while its command ran, and ended it." },
} as const;
export type ExitName = keyof typeof exitTable;

/** An expected end: what happened, and what to do about it. */
export class Exit extends Error {
  constructor(
    readonly as: ExitName,
    message: string,
    readonly advice: string,
  ) {
    super(message);
    this.name = "Exit";
  }
}

/** The expected end behind an error, or null: then it is a bug. */
export function exitOf(error: unknown): Exit | null {
  if (error instanceof Exit) return error;
  if (error instanceof LogError) return new Exit(error.code, error.message, error.advice);
  return null;
}

export const exitHelp = () =>
  Object.values(exitTable)
    .map(({ code, help }) => `  ${String(code).padEnd(2)}  ${help}`)
    .join("\n");
