/**
 * `cortexd replay`: the state as it was at a revision, behind the same interfaces as a daemon's, on ports of its own. It
 * only reads, beside the daemon that runs or without one; nothing happens in it, and its clock stands still.
 */
import { resolve } from "node:path";
import { engineConfig, type Values } from "../config.ts";
import { systemClock as clock } from "../engine/clock.ts";
import { Engine } from "../engine/engine.ts";
import { isBackup, placesIn } from "../log/backup.ts";
import { NotKept, ReplayLog } from "../log/replay.ts";
import { placesOf } from "../log/verify.ts";
import { createTelemetry } from "../telemetry/telemetry.ts";
import { defaultNamespace } from "../wire/namespaces.ts";
import { command } from "./command.ts";
import { openDoors } from "./doors.ts";
import { endingAsked } from "./ending.ts";
import { Exit } from "./exit.ts";
import { reachable } from "./terminal.ts";
import { version } from "./version.ts";

export const replay = command({
  summary: "Serve the state as it was at a revision, read-only, on ports of its own.",
  arguments: [],
  options: {
    to: { type: "integer", min: 0, help: "The revision. Default: the newest." },
    namespace: { type: "text", unit: "NAME", help: "Whose state. Default: default." },
  },
  client: false,
  serve: true,
  json: "the log lines of a daemon; `serve.ready` tells the ports.",
  examples: [
    {
      words: "replay --to 1042",
      meaning: "What the daemon of this folder had then: tasks, keys, everything.",
    },
    { words: "replay --data /backups/monday", meaning: "What a backup holds, without a restore." },
    {
      words: "replay --to 1042 --port 9600 --ws-port 9601",
      meaning: "On these ports, for the commands (`--url http://127.0.0.1:9600`) and for browsers.",
    },
  ],
  async run({ values: { to, namespace = defaultNamespace }, config, out }) {
    const { values: chosen, from } = config();
    // The daemon has the usual ports.
    const port = from.port.kind === "default" ? 0 : chosen.port;
    const wsPort = from.wsPort.kind === "default" ? 0 : chosen.wsPort;
    const values: Values = { ...chosen, port, wsPort };
    const data = resolve(values.data);
    const places = isBackup(data) ? placesIn(data) : placesOf(data);
    const place = places.find(({ name }) => name === namespace);
    if (values.log === "memory" || place === undefined)
      throw new Exit(
        "not-found",
        `There is no log of the namespace ${namespace} in ${data}.`,
        "Name the data folder, or a backup, with --data.",
      );
    const telemetry = createTelemetry({
      level: values.logLevel,
      format: values.logFormat,
      now: clock.wall,
      write: (line) => process.stdout.write(line),
    });
    const { lines } = telemetry;
    const asked = endingAsked(lines, clock.monotonic);
    const engine = new Engine({
      log: new ReplayLog(data, place, to ?? null),
      ...{ clock, config: engineConfig(values, version), random: Math.random, telemetry, namespace },
      isReplay: true,
      onFailure: (error) => {
        throw error;
      },
    });
    const { revision, at } = await engine.start().catch((error: unknown) => {
      if (!(error instanceof NotKept)) throw error;
      throw new Exit(
        "not-found",
        `There is no state of revision ${to}: ${error.message}.`,
        "Name one of these, or keep more: --history-ms and --history-bytes-max of the daemon.",
      );
    });
    const doors = await openDoors(engine, values, lines);
    lines.info("serve.ready", {
      ...{ version, preset: values.preset, port: doors.port, wsPort: doors.wsPort, data, pid: process.pid },
      revision,
    });
    const host = reachable(values.host);
    if (values.logFormat === "text")
      await out.line(
        [
          `The state of ${namespace} as it was at revision ${revision} (${new Date(at).toISOString()}). Nothing changes in it.`,
          `  Dashboard       http://${host}:${doors.port}/${namespace === defaultNamespace ? "" : `#/overview?namespace=${namespace}`}`,
          `  REST, Swagger   http://${host}:${doors.port}`,
          `  WebSocket       ws://${host}:${doors.wsPort}`,
        ].join("\n"),
      );
    await asked;
    await doors.close();
    await engine.stop();
    return undefined;
  },
});
