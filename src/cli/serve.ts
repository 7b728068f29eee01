/**
 * `cortexd serve`: reads the configuration, starts the parts in their order, says where everything is, and stops the
 * parts in the opposite order when asked. It decides nothing about tasks; each part's own work stays in its room.
 * An expected failure ends with its exit code and what to do about it; only a bug ends with a stack.
 */
import { resolve } from "node:path";
import { engineConfig, logTuning, lossText, type Values } from "../config.ts";
import { systemClock as clock } from "../engine/clock.ts";
import type { Engine } from "../engine/engine.ts";
import { Namespaces } from "../engine/namespaces.ts";
import { FolderPlaces, MemoryPlaces, type Places } from "../log/namespaces.ts";
import type { Lines } from "../telemetry/lines.ts";
import { createTelemetry } from "../telemetry/telemetry.ts";
import type { Output } from "../wire/operations.ts";
import { configured } from "./configured.ts";
import { type Doors, openDoors } from "./doors.ts";
import { endingAsked } from "./ending.ts";
import { exitTable } from "./exit.ts";
import { print } from "./output.ts";
import { createProgress, type Standing, summary } from "./terminal.ts";
import { withToken } from "./token.ts";
import { version } from "./version.ts";

export async function serve(argv: string[]): Promise<void> {
  const given = configured(argv);
  // A reader of our lines that went away is no reason to end.
  process.stdout.on("error", () => {});
  const telemetry = createTelemetry({
    level: given.values.logLevel,
    format: given.values.logFormat,
    now: clock.wall,
    write: (line) => process.stdout.write(line),
  });
  const { lines } = telemetry;
  endOnBugs(lines);
  const asked = endingAsked(lines, clock.monotonic);
  for (const note of given.notes) lines.warn("serve.noted", { note });
  const config = { ...given, values: withToken(given.values, lines) };
  const { values } = config;

  const data = values.log === "memory" ? null : resolve(values.data);
  lines.info("serve.starting", { version, preset: values.preset, data, pid: process.pid });

  const failure = Promise.withResolvers<never>();
  const namespaces = new Namespaces({
    places: placesFor(values),
    namespacesMax: values.namespacesMax,
    clock,
    config: engineConfig(values, version),
    random: Math.random,
    telemetry,
    onFailure: failure.reject,
  });
  const started = await Promise.race([recover(namespaces, values, lines), failure.promise, asked]);
  // Nothing was acknowledged yet, so there is nothing to wait for.
  if (typeof started === "string") return lines.info("serve.stopped", { asked: started });

  const doors = await openDoors(namespaces.default, values, lines);
  const standing = await standingOf(namespaces.default, doors, data);
  lines.info("serve.ready", {
    ...{ version, preset: values.preset, port: doors.port, wsPort: doors.wsPort, data, pid: process.pid },
    ...{ revision: standing.revision, mayLose: lossText(values) },
  });
  if (values.logFormat === "text") process.stdout.write(summary(config, standing));

  const by = await Promise.race([asked, failure.promise]);
  lines.info("serve.stopping", { by });
  await Promise.race([stop(namespaces, doors, lines), failure.promise]);
  lines.info("serve.stopped");
}

async function standingOf(engine: Engine, { port, wsPort }: Doors, data: string | null): Promise<Standing> {
  const caller = { who: "cortexd", session: null, seq: 0, ackedThrough: 0 };
  const answer = await engine.call("state.get", {}, caller);
  if ("error" in answer) throw new Error(answer.error.detail);
  const { revision, counts } = JSON.parse(answer.ok) as Output<"state.get">;
  return { version, port, wsPort, data, revision, counts };
}

/** Stops taking connections, answers who waits, writes what is left, closes: each step with the time it took. */
async function stop(namespaces: Namespaces, doors: Doors, lines: Lines): Promise<void> {
  let before = clock.monotonic();
  const step = (name: string) => {
    const now = clock.monotonic();
    lines.info("serve.step", { step: name, tookMs: Math.round(now - before) });
    before = now;
  };
  doors.shut();
  step("takes no more connections");
  await namespaces.stop(step);
  await doors.close();
  step("closed the connections");
}

function placesFor(values: Values): Places {
  const { log, sync } = values;
  // A memory log has nothing to continue from, and revisions must grow over restarts all the same.
  if (log === "memory") return new MemoryPlaces(() => clock.wall() * 1000);
  const { recoverTo, recoverNamespace: namespace } = values;
  return new FolderPlaces({
    data: resolve(values.data),
    log: { mode: log === "snapshot" ? log : sync, ...logTuning(values) },
    recover: recoverTo === null ? undefined : { namespace, to: recoverTo },
  });
}

async function recover(namespaces: Namespaces, values: Values, lines: Lines): Promise<void> {
  const isTerminal = process.stdout.isTTY && values.logFormat === "text";
  const progress = createProgress(lines, isTerminal, clock.monotonic);
  const before = clock.monotonic();
  try {
    const { revision } = await namespaces.start(progress.report);
    progress.end();
    lines.info("log.recovered", { revision, tookMs: Math.round(clock.monotonic() - before) });
  } catch (error) {
    progress.end();
    throw error;
  }
}

/** After a bug memory may be ahead of the disk, and only recovery can be trusted: the process ends. */
function endOnBugs(lines: Lines): void {
  const end = (error: unknown) => {
    lines.error("bug.found", {
      detail: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    void print("").then(() => process.exit(exitTable.bug.code));
  };
  process.on("uncaughtException", end);
  process.on("unhandledRejection", end);
}
