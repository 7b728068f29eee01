/**
 * What asks a daemon to end: a signal, or the end of the npx that started it. The first asks for a graceful end; a
 * second signal ends the process at once. Nothing is closed here.
 */
import { readFileSync } from "node:fs";
import type { Lines } from "../telemetry/lines.ts";
import { exitTable } from "./exit.ts";

/**
 * `bun start` passes Ctrl-C on to its child, which the terminal has told already: one Ctrl-C arrives as two signals.
 * What comes within this time is one wish.
 */
const oneWishMs = 300;

/** Resolves with what asked. */
export function endingAsked(lines: Lines, monotonicMs: () => number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let first: number | null = null;
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    process.on(signal, () => {
      const now = monotonicMs();
      first ??= now;
      if (now - first > oneWishMs) {
        lines.warn("serve.killed", { signal });
        process.exit(exitTable["stopped-at-once"].code);
      }
      resolve(signal);
    });
  }
  const shell = npxShell();
  if (shell !== null) {
    const watch = setInterval(() => {
      if (parentOf(shell.child) === shell.pid) return;
      clearInterval(watch);
      resolve("the end of npx");
    }, 500);
    watch.unref();
  }
  return promise;
}

/**
 * Started as `npx … start`, the processes are npx, its shell, the script runner, and this one. A SIGTERM to npx ends
 * it and the shell and reaches neither of the others: a daemon would be left behind, with nobody who knows of it. So
 * it watches whether the runner still has its shell. Elsewhere than under npx losing a parent is no reason to end
 * (`nohup cortexd &`), and where there is no /proc nothing is watched.
 */
function npxShell(): { pid: number; child: number } | null {
  const child = process.ppid;
  const pid = parentOf(child);
  const npx = pid === null ? null : parentOf(pid);
  if (pid === null || npx === null || !/^npm exec |\bnpx\b/.test(read(`/proc/${npx}/cmdline`) ?? ""))
    return null;
  return { pid, child };
}

function parentOf(pid: number): number | null {
  // "pid (name) state ppid …"; the name may hold anything, so what counts follows its last bracket.
  const stat = read(`/proc/${pid}/stat`);
  return stat === null ? null : Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}

function read(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
