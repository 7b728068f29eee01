/**
 * What the daemon tells the person who started it: how far recovery is, and where everything is once it runs.
 * On a terminal progress is one line that renews itself; elsewhere it is a log line, at most one a second.
 */
import { type Config, durationText, lossText, type Values } from "../config.ts";
import type { Lines } from "../telemetry/lines.ts";
import { counted, number } from "./words.ts";

export type Progress = { report(done: number, total: number): void; end(): void };

export function createProgress(lines: Lines, isTerminal: boolean, monotonicMs: () => number): Progress {
  let last = monotonicMs();
  let shown = false;
  return {
    report(done, total) {
      const now = monotonicMs();
      if (now - last < (isTerminal ? 100 : 1000)) return;
      last = now;
      if (!isTerminal) return lines.info("log.recovering", { done, total });
      shown = true;
      const percent = total === 0 ? 100 : Math.floor((100 * done) / total);
      process.stdout.write(`\r\x1b[2KReading the log: ${percent} % (${number(done)} of ${number(total)})`);
    },
    end() {
      if (shown) process.stdout.write("\r\x1b[2K");
    },
  };
}

export type Standing = {
  version: string;
  port: number;
  wsPort: number;
  /** Null: nothing is on disk. */
  data: string | null;
  revision: number;
  counts: { tasks: Record<string, number>; workers: Record<string, number> };
};

function logText(values: Values): string {
  if (values.log === "memory") return "nothing on disk";
  if (values.log === "snapshot") return `a snapshot every ${durationText(values.snapshotIntervalMs)}`;
  return values.sync === "always"
    ? "synced before each answer"
    : `synced every ${durationText(values.syncIntervalMs)}`;
}

/** The address a person on this machine can open. */
export function reachable(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "localhost";
  return host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
}

export function summary({ values }: Config, standing: Standing): string {
  const host = reachable(values.host);
  const loss = lossText(values);
  return `
cortexd ${standing.version} · preset ${values.preset}: ${logText(values)}
  A crash may lose  ${loss ?? "nothing that was acknowledged"}
  Dashboard         http://${host}:${standing.port}/
  REST              http://${host}:${standing.port}
  Swagger           http://${host}:${standing.port}/swagger
  WebSocket         ws://${host}:${standing.wsPort}, ws://${host}:${standing.port}/ws
  Who may come in   ${values.token === null ? "this machine" : "whoever shows the token"}
  Data folder       ${standing.data ?? "none"}
  Revision          ${standing.revision}
  Tasks             ${counted(standing.counts.tasks)}
  Workers           ${counted(standing.counts.workers)}
Ctrl-C stops it.

`;
}
