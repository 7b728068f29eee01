/**
 * Every option, once, in one table: flags, environment names, the file's keys, defaults, ranges, presets and
 * `--help` are loops over it. Precedence: option, environment, file, preset, default; each value keeps where it
 * came from. Reading the configuration never changes anything and never stops at the first mistake: all of them
 * are told at once.
 */
import type { EngineConfig } from "./engine/config.ts";
import { nearest } from "./lib/nearest.ts";
import type { LogOptions } from "./log/open.ts";
import { levels, lineFormats } from "./telemetry/lines.ts";
import { limits } from "./wire/limits.ts";
import { isNamespace } from "./wire/schema.ts";

export const presets = {
  durable: {
    help: "every change synced to disk before its answer: a crash loses nothing acknowledged",
    values: { log: "wal", sync: "always" },
  },
  "high-availability": {
    help: "every change written before its answer, synced each second",
    values: { log: "wal", sync: "interval", syncIntervalMs: 1000 },
  },
  production: {
    help: "the whole state written as a snapshot every 30 s",
    values: { log: "snapshot", snapshotIntervalMs: 30_000 },
  },
  development: {
    help: "nothing on disk, fast heartbeats",
    values: { log: "memory", heartbeatMs: 1000, silenceMs: 5000 },
  },
} as const;
export type PresetName = keyof typeof presets;

type Group = "listening" | "who may come in" | "data" | "tasks and workers" | "limits" | "log lines";
type Source = "option" | "environment" | "file";

type Row = {
  group: Group;
  type: "text" | "integer" | "duration" | "bytes" | "choice" | "list";
  default: string | number | null | readonly string[] | ((machine: Machine) => number);
  /** Shown instead of the default, where the default is worked out. */
  defaultText?: string;
  min?: number;
  max?: number;
  choices?: readonly string[];
  /** The placeholder in `--help`. */
  unit: string;
  help: string;
  example: string;
  /** Where it may be set, if not everywhere. */
  from?: readonly Source[];
  /** Never shown. */
  secret?: true;
  /** What is wrong with a text, or null. */
  check?: (text: string) => string | null;
};

export type Machine = { memoryBytes: number };

const GiB = 1024 ** 3;
const MiB = 1024 ** 2;
const day = 24 * 3600 * 1000;

const origin = (text: string) =>
  URL.canParse(text) && new URL(text).origin === text ? null : "an origin, scheme and host without a path";
const token = (text: string) =>
  /^[\x21-\x7e]{1,1024}$/.test(text) ? null : "1 to 1024 printable characters without spaces";
const someText = (text: string) => (text.trim() === "" ? "not empty" : null);

export const optionTable = {
  host: {
    group: "listening",
    type: "text",
    default: "127.0.0.1",
    unit: "HOST",
    help: "The address to listen on. Any but a loopback address needs a token.",
    example: "0.0.0.0",
    check: (text) => (/^[A-Za-z0-9.:[\]%_-]+$/.test(text) ? null : "an IP address or a host name"),
  },
  port: {
    group: "listening",
    type: "integer",
    default: 9500,
    min: 0,
    max: 65_535,
    unit: "PORT",
    help: "REST, Swagger, metrics, and the WebSocket at /ws. 0: a free one.",
    example: "9500",
  },
  wsPort: {
    group: "listening",
    type: "integer",
    default: 9501,
    min: 0,
    max: 65_535,
    unit: "PORT",
    help: "The WebSocket alone. 0: a free one.",
    example: "9501",
  },
  token: {
    group: "who may come in",
    type: "text",
    default: null,
    defaultText: "none",
    unit: "TOKEN",
    help: "What every caller must show. Others on the machine can read command lines: prefer --token-file.",
    example: "s3cret",
    secret: true,
    check: token,
  },
  tokenFile: {
    group: "who may come in",
    type: "text",
    default: null,
    defaultText: "none",
    unit: "FILE",
    help: "A file that holds the token.",
    example: "/etc/cortexd/token",
    check: someText,
  },
  tokenMissing: {
    group: "who may come in",
    type: "choice",
    default: "refuse",
    choices: ["refuse", "make"],
    unit: "WHAT",
    help: "If there is no such file: refuse to start, or make one with a token that is told once, in the log lines.",
    example: "make",
  },
  allowOrigin: {
    group: "who may come in",
    type: "list",
    default: [],
    defaultText: "none",
    unit: "ORIGIN",
    help: "A web origin that may call the daemon, beside its own. May be given again, or as a list with commas.",
    example: "https://board.example.org",
    check: origin,
  },
  data: {
    group: "data",
    type: "text",
    default: "./cortex-data",
    unit: "FOLDER",
    help: "The data folder; made if it is not there.",
    example: "/var/lib/cortexd",
    check: someText,
  },
  preset: {
    group: "data",
    type: "choice",
    default: "durable",
    choices: Object.keys(presets) as PresetName[],
    unit: "PRESET",
    help: "Sets the options below for one purpose; each can still be set by itself.",
    example: "high-availability",
  },
  log: {
    group: "data",
    type: "choice",
    default: "wal",
    choices: ["memory", "snapshot", "wal"],
    unit: "LOG",
    help: "How changes are kept: not at all, as a snapshot now and then, or each of them.",
    example: "wal",
  },
  sync: {
    group: "data",
    type: "choice",
    default: "always",
    choices: ["interval", "always"],
    unit: "WHEN",
    help: "With the log `wal`: when it is synced to disk.",
    example: "always",
  },
  syncIntervalMs: {
    group: "data",
    type: "duration",
    default: 1000,
    min: 10,
    max: 3600_000,
    unit: "TIME",
    help: "With sync `interval`: how often.",
    example: "1s",
  },
  snapshotIntervalMs: {
    group: "data",
    type: "duration",
    default: 30_000,
    min: 100,
    max: day,
    unit: "TIME",
    help: "With the log `snapshot`: how often.",
    example: "30s",
  },
  historyMs: {
    group: "data",
    type: "duration",
    default: 3600_000,
    min: 0,
    max: limits.durationMsMax,
    unit: "TIME",
    help: "How long entries are kept behind the newest.",
    example: "1h",
  },
  historyBytesMax: {
    group: "data",
    type: "bytes",
    default: GiB,
    min: MiB,
    max: 1024 * GiB,
    unit: "BYTES",
    help: "How much of them is kept at most.",
    example: "1GiB",
  },
  namespacesMax: {
    group: "data",
    type: "integer",
    default: 64,
    min: 1,
    max: 1000,
    unit: "COUNT",
    help: "Namespaces there may be, `default` among them; over it none is made. Those that are there are opened.",
    example: "64",
  },
  recoverNamespace: {
    group: "data",
    type: "text",
    default: "default",
    unit: "NAME",
    help: "The namespace that --recover-to is about.",
    example: "staging",
    from: ["option"],
    check: (text) => (isNamespace(text) ? null : "a namespace's name"),
  },
  recoverTo: {
    group: "data",
    type: "integer",
    default: null,
    defaultText: "the newest",
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    unit: "REVISION",
    help: "Start from the state at this revision and give up what came after it. For a damaged log.",
    example: "1042",
    // In a file or the environment it would cut the log again at every start.
    from: ["option"],
  },
  heartbeatMs: {
    group: "tasks and workers",
    type: "duration",
    default: 10_000,
    min: 100,
    max: 3600_000,
    unit: "TIME",
    help: "What workers are told: say something at least this often.",
    example: "10s",
  },
  silenceMs: {
    group: "tasks and workers",
    type: "duration",
    default: 30_000,
    min: 200,
    max: day,
    unit: "TIME",
    help: "A worker that is silent for this long is offline. More than the heartbeat.",
    example: "30s",
  },
  pushAckMs: {
    group: "tasks and workers",
    type: "duration",
    default: 10_000,
    min: 0,
    max: day,
    unit: "TIME",
    help: "A push that its worker has not acknowledged for this long is taken back. 0: never.",
    example: "10s",
  },
  messageIntervalMs: {
    group: "tasks and workers",
    type: "duration",
    default: 0,
    min: 0,
    max: 60_000,
    unit: "TIME",
    help: "How often messages are handed to those who listen. 0: at once.",
    example: "10ms",
  },
  stalledMs: {
    group: "tasks and workers",
    type: "duration",
    default: 10_000,
    min: 100,
    max: day,
    unit: "TIME",
    help: "A worker whose handlers have stood still for this long gets no tasks.",
    example: "10s",
  },
  graceMs: {
    group: "tasks and workers",
    type: "duration",
    default: 10_000,
    min: 0,
    max: day,
    unit: "TIME",
    help: "Added to all leases after a restart, so that workers have time to come back.",
    example: "10s",
  },
  ageingMs: {
    group: "tasks and workers",
    type: "duration",
    default: 60_000,
    min: 0,
    max: limits.durationMsMax,
    unit: "TIME",
    help: "A waiting task, or message of a subscription, gains one priority level per this long. 0: never.",
    example: "1m",
  },
  interruptionsMax: {
    group: "tasks and workers",
    type: "integer",
    default: 5,
    min: 1,
    max: 1000,
    unit: "COUNT",
    help: "A task whose workers went silent this often is dead.",
    example: "5",
  },
  retentionMs: {
    group: "limits",
    type: "duration",
    default: 3600_000,
    min: 0,
    max: limits.durationMsMax,
    unit: "TIME",
    help: "How long finished tasks are kept in memory; then they leave it for the archive.",
    example: "1h",
  },
  retentionCount: {
    group: "limits",
    type: "integer",
    default: 100_000,
    min: 0,
    max: 100_000_000,
    unit: "COUNT",
    help: "Finished tasks kept in memory for each queue.",
    example: "100000",
  },
  archiveMs: {
    group: "limits",
    type: "duration",
    default: 30 * day,
    min: 0,
    max: limits.durationMsMax,
    unit: "TIME",
    help: "How long tasks that have left memory are kept in the archive.",
    example: "30d",
  },
  archiveCount: {
    group: "limits",
    type: "integer",
    default: 1_000_000,
    min: 0,
    max: 1_000_000_000,
    unit: "COUNT",
    help: "Tasks kept in the archive of each namespace. 0: there is none. The log `memory` keeps none.",
    example: "1000000",
  },
  queuedTasksMax: {
    group: "limits",
    type: "integer",
    default: 5_000_000,
    min: 1,
    max: 100_000_000,
    unit: "COUNT",
    help: "Over this many waiting tasks, submits are refused as busy.",
    example: "5000000",
  },
  memoryBytesMax: {
    group: "limits",
    type: "bytes",
    default: (machine) => Math.min(8 * GiB, Math.floor(machine.memoryBytes / 2)),
    defaultText: "half of the machine's memory, at most 8GiB",
    min: 64 * MiB,
    max: 1024 * GiB,
    unit: "BYTES",
    help: "Over this much memory, submits are refused as busy.",
    example: "4GiB",
  },
  undurableBytesMax: {
    group: "limits",
    type: "bytes",
    default: 64 * MiB,
    min: MiB,
    max: 4 * GiB,
    unit: "BYTES",
    help: "Over this much waiting for the disk, changes are refused as busy.",
    example: "64MiB",
  },
  watchHistoryBytesMax: {
    group: "limits",
    type: "bytes",
    default: 16 * MiB,
    min: 0,
    max: 4 * GiB,
    unit: "BYTES",
    help: "Of the newest changes, kept in memory so that a watch goes on where it was interrupted. 0: none are.",
    example: "64MiB",
  },
  logLevel: {
    group: "log lines",
    type: "choice",
    default: "info",
    choices: levels,
    unit: "LEVEL",
    help: "The least important lines that are written.",
    example: "info",
  },
  logFormat: {
    group: "log lines",
    type: "choice",
    default: "text",
    choices: lineFormats,
    unit: "FORMAT",
    help: "For people, or one JSON object a line.",
    example: "json",
  },
} as const satisfies Record<string, Row>;

type Table = typeof optionTable;
export type OptionName = keyof Table;
type ValueOf<R extends Row> =
  | (R["type"] extends "list"
      ? string[]
      : R["type"] extends "choice"
        ? NonNullable<R["choices"]>[number]
        : R["type"] extends "text"
          ? string
          : number)
  | (R["default"] extends null ? null : never);

export type Values = { [N in OptionName]: ValueOf<Table[N]> };
export type From = Source | "preset" | "default";
export type Config = {
  values: Values;
  /** Where each value came from, and under which name. */
  from: Record<OptionName, { kind: From; name: string }>;
  /** What is not wrong and still worth a line. */
  notes: string[];
};

export const optionNames = Object.keys(optionTable) as OptionName[];
const row = (name: OptionName): Row => optionTable[name];

export const kebab = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
export const flagOf = (name: OptionName) => `--${kebab(name)}`;
export const environmentOf = (name: OptionName) => `CORTEX_${kebab(name).replaceAll("-", "_").toUpperCase()}`;

const durationUnits: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3600_000, d: day };
const byteUnits: Record<string, number> = { B: 1, KiB: 1024, MiB, GiB, TiB: 1024 * GiB };

/** "90s", "1.5h", "64MiB" or a bare number, as a whole number of the base unit. */
function measure(text: string, units: Record<string, number>): number {
  const match = /^([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)$/.exec(text.trim());
  if (!match) return Number.NaN;
  const unit = match[2] === "" ? 1 : units[match[2]!];
  const value = Number(match[1]) * (unit ?? Number.NaN);
  const whole = Math.round(value);
  return Math.abs(value - whole) < 1e-6 * Math.max(1, whole) ? whole : Number.NaN;
}

/** "90s" as milliseconds, or NaN. */
export const readDuration = (text: string) => measure(text, durationUnits);

function inUnits(value: number, units: Record<string, number>, bare: string): string {
  const fitting = Object.entries(units).filter(([, size]) => value >= size && value % size === 0);
  const [unit, size] = fitting.at(-1) ?? [bare, 1];
  return `${value / size}${unit}`;
}
export const durationText = (ms: number) => (ms === 0 ? "0" : inUnits(ms, durationUnits, "ms"));
export const bytesText = (bytes: number) => (bytes === 0 ? "0" : inUnits(bytes, byteUnits, "B"));

function valueText(of: Row, value: unknown): string {
  if (of.type === "duration") return durationText(value as number);
  if (of.type === "bytes") return bytesText(value as number);
  return String(value);
}

/** What an option takes, in words. */
export function allowedText(name: OptionName): string {
  const of = row(name);
  const example = `, such as ${of.example}`;
  if (of.type === "choice") return of.choices!.join(", ");
  if (of.type === "integer") return `a whole number from ${of.min} to ${of.max}${example}`;
  if (of.type === "duration" || of.type === "bytes") {
    const units = of.type === "duration" ? "a time (ms, s, m, h, d)" : "a size (B, KiB, MiB, GiB, TiB)";
    return `${units} from ${valueText(of, of.min)} to ${valueText(of, of.max)}${example}`;
  }
  return `${of.check?.("") ?? "a text"}${example}`;
}

/** The value, or undefined if it is not allowed. */
function parse(of: Row, given: unknown): unknown {
  const text = typeof given === "number" ? String(given) : given;
  if (of.type === "list") {
    const items = typeof text === "string" ? text.split(",").map((item) => item.trim()) : given;
    if (!Array.isArray(items)) return undefined;
    const ok = items.every((item) => typeof item === "string" && of.check!(item) === null);
    return ok ? items : undefined;
  }
  if (typeof text !== "string") return undefined;
  if (of.type === "text") return typeof given === "string" && of.check!(text) === null ? text : undefined;
  if (of.type === "choice") return of.choices!.includes(text) ? text : undefined;
  const units = of.type === "duration" ? durationUnits : of.type === "bytes" ? byteUnits : {};
  const value = measure(text, units);
  if (of.type === "integer" && !/^[0-9]+$/.test(text.trim())) return undefined;
  return value >= of.min! && value <= of.max! ? value : undefined;
}

export type ConfigInput = {
  /** The arguments after the subcommand. */
  argv: readonly string[];
  environment: Record<string, string | undefined>;
  readFile: (path: string) => string;
  machine: Machine;
};

type Given = { kind: From; name: string; value: unknown };

/** The configuration, or everything that is wrong with it, a line each. */
export function loadConfig(input: ConfigInput): { config: Config } | { problems: string[] } {
  const problems: string[] = [];
  const notes: string[] = [];
  const given = new Map<OptionName, Given>();

  const options = readOptions(input.argv, problems);
  const environment = readEnvironment(input.environment, notes);
  const path = options.get("config") ?? environment.get("config");
  const file = path === undefined ? new Map() : readConfigFile(path, input.readFile, problems);

  // The weakest first: each overwrites what lies below.
  const layers: [Source, Map<string, unknown>, (name: OptionName) => string][] = [
    ["file", file, (name) => `${name} in ${path}`],
    ["environment", environment, environmentOf],
    ["option", options, flagOf],
  ];
  for (const [kind, layer, nameOf] of layers) {
    for (const name of optionNames) {
      if (layer.has(name)) given.set(name, { kind, name: nameOf(name), value: layer.get(name) });
    }
  }

  const values: Partial<Record<OptionName, unknown>> = {};
  const from: Partial<Config["from"]> = {};
  const take = (name: OptionName, one: Given) => {
    const of = row(name);
    const value = one.kind === "default" ? one.value : parse(of, one.value);
    from[name] = { kind: one.kind, name: one.name };
    if (value !== undefined && (one.kind === "default" || allowsFrom(of, one.kind))) {
      values[name] = value;
      return;
    }
    const shown = of.secret ? "(not shown)" : JSON.stringify(one.value);
    problems.push(
      value === undefined
        ? `${one.name} is ${shown}; allowed is ${allowedText(name)}`
        : `${one.name} cannot be set there; give ${flagOf(name)} on the command line`,
    );
  };

  const standard = (name: OptionName): Given => {
    const value = row(name).default;
    return {
      kind: "default",
      name: "the default",
      value: typeof value === "function" ? value(input.machine) : value,
    };
  };
  take("preset", given.get("preset") ?? standard("preset"));
  const preset = (values.preset ?? "durable") as PresetName;
  const presetValues: Record<string, unknown> = presets[preset].values;
  for (const name of optionNames) {
    if (name === "preset") continue;
    const ofPreset: Given | undefined =
      name in presetValues
        ? { kind: "preset", name: `the preset ${preset}`, value: presetValues[name] }
        : undefined;
    take(name, given.get(name) ?? ofPreset ?? standard(name));
  }
  if (problems.length > 0) return { problems };

  const config: Config = { values: values as Values, from: from as Config["from"], notes };
  relate(config, input.readFile, problems);
  return problems.length > 0 ? { problems } : { config };
}

function allowsFrom(of: Row, kind: From): boolean {
  return of.from === undefined || kind === "preset" || of.from.includes(kind as Source);
}

/** What must hold between options. */
function relate({ values, from }: Config, readFile: ConfigInput["readFile"], problems: string[]): void {
  const says = (name: OptionName) => {
    const { kind, name: where } = from[name];
    const value = valueText(row(name), values[name]);
    const own = kind === "preset" || kind === "default";
    return own ? `${flagOf(name)} is ${value} by ${where}` : `${where} is ${value}`;
  };
  if (values.silenceMs <= values.heartbeatMs) {
    problems.push(
      `${says("silenceMs")}, ${says("heartbeatMs")}: the silence must be longer than the heartbeat`,
    );
  }
  if (values.port !== 0 && values.port === values.wsPort) {
    problems.push(`${says("port")}, ${says("wsPort")}: they must differ`);
  }
  const chosen = from.sync.kind !== "preset" && from.sync.kind !== "default";
  if (chosen && values.log !== "wal") {
    problems.push(`${says("sync")}, ${says("log")}: only the log \`wal\` can be synced`);
  }
  if (values.tokenFile === null) {
    if (values.tokenMissing === "make")
      problems.push(`${says("tokenMissing")}: say where with ${flagOf("tokenFile")}`);
    return;
  }
  if (values.token !== null) {
    problems.push(`${from.token.name} and ${from.tokenFile.name} are both given; give one`);
    return;
  }
  try {
    const text = readFile(values.tokenFile).trim();
    const wrong = token(text);
    if (wrong) problems.push(`${from.tokenFile.name}: the token in ${values.tokenFile} must be ${wrong}`);
    values.token = text;
    from.token = from.tokenFile;
  } catch (error) {
    // Whoever starts the daemon makes it (cli/token.ts).
    if (values.tokenMissing === "make" && reason(error) === "ENOENT") return;
    const advice = reason(error) === "ENOENT" ? "; with --token-missing make the first start makes it" : "";
    problems.push(`${from.tokenFile.name}: ${values.tokenFile} cannot be read (${reason(error)})${advice}`);
  }
}

const reason = (error: unknown) =>
  (error as { code?: string }).code ?? (error instanceof Error ? error.message : String(error));

const meant = (word: string, known: Iterable<string>) => {
  const near = nearest(word, known);
  return near === null ? "" : `; did you mean ${near}?`;
};

const flagNames = new Map<string, OptionName | "config">([
  ["config", "config"],
  ...optionNames.map((name) => [kebab(name), name] as const),
]);

/** By hand and not with a library: those stop at the first mistake, and all of them are to be told at once. */
function readOptions(argv: readonly string[], problems: string[]): Map<string, string> {
  const found = new Map<string, string>();
  const isOption = (word: string | undefined) => word?.startsWith("--") ?? false;
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    const [, flag, inline] = /^--([^=]+)(?:=(.*))?$/s.exec(word) ?? [];
    if (flag === undefined) {
      problems.push(`${JSON.stringify(word)} is not an option, and nothing else is taken here`);
      continue;
    }
    // The word after a mistyped option is its value, not a second mistake.
    const value = inline ?? (i + 1 < argv.length && !isOption(argv[i + 1]) ? argv[++i] : undefined);
    const name = flagNames.get(flag);
    if (name === undefined) {
      const known = [...flagNames.keys()].map((known) => `--${known}`);
      problems.push(`--${flag} is not an option${meant(`--${flag}`, known)}`);
    } else if (value === undefined) {
      problems.push(`--${flag} needs a value`);
    } else {
      const before = name === "allowOrigin" ? found.get(name) : undefined;
      found.set(name, before === undefined ? value : `${before},${value}`);
    }
  }
  return found;
}

/** Where the other commands find the daemon: set for them, and no option of serve that was mistyped. */
const clientVariables = new Set(["CORTEX_URL", "CORTEX_NAMESPACE"]);

function readEnvironment(environment: ConfigInput["environment"], notes: string[]): Map<string, string> {
  const found = new Map<string, string>();
  const names = new Map<string, string>(optionNames.map((name) => [environmentOf(name), name]));
  names.set("CORTEX_CONFIG", "config");
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith("CORTEX_") || value === undefined || value === "") continue;
    const name = names.get(variable);
    if (name !== undefined) found.set(name, value);
    else if (!clientVariables.has(variable)) {
      // Not an error: others may use the prefix too. Said only where one of ours seems meant.
      const near = nearest(variable, names.keys());
      if (near !== null) notes.push(`${variable} in the environment is not an option; did you mean ${near}?`);
    }
  }
  return found;
}

function readConfigFile(
  path: string,
  readFile: ConfigInput["readFile"],
  problems: string[],
): Map<string, unknown> {
  const found = new Map<string, unknown>();
  let json: unknown;
  try {
    json = JSON.parse(readFile(path));
  } catch (error) {
    problems.push(`the configuration file ${path} cannot be read (${reason(error)})`);
    return found;
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    problems.push(`the configuration file ${path} must hold one JSON object`);
    return found;
  }
  for (const [key, value] of Object.entries(json)) {
    // Where an editor finds the schema of the file.
    if (key === "$schema") continue;
    if (Object.hasOwn(optionTable, key)) found.set(key, value);
    else problems.push(`${JSON.stringify(key)} in ${path} is not an option${meant(key, optionNames)}`);
  }
  return found;
}

/** The start makes one: there is none yet, and that was asked for. */
export const isTokenMade = ({ token, tokenFile }: Values) => token === null && tokenFile !== null;

const loopback = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[?::1\]?)$/i;
/** Only this machine can reach it. */
export const isLoopback = (host: string) => loopback.test(host);

export const engineConfig = (values: Values, version: string): EngineConfig => ({
  preset: values.preset,
  version,
  heartbeatMs: values.heartbeatMs,
  silenceMs: values.silenceMs,
  pushAckMs: values.pushAckMs,
  stalledMs: values.stalledMs,
  graceMs: values.graceMs,
  ageingMs: values.ageingMs,
  interruptionsMax: values.interruptionsMax,
  retentionMs: values.retentionMs,
  retentionCount: values.retentionCount,
  archives: values.log !== "memory" && values.archiveCount > 0,
  queuedTasksMax: values.queuedTasksMax,
  memoryBytesMax: values.memoryBytesMax,
  undurableBytesMax: values.undurableBytesMax,
  messageIntervalMs: values.messageIntervalMs,
  watchHistoryBytesMax: values.watchHistoryBytesMax,
});

/** What is said of a log on disk beside how it is kept. */
export const logTuning = (values: Values) => ({
  syncIntervalMs: values.syncIntervalMs,
  snapshotIntervalMs: values.snapshotIntervalMs,
  historyMs: values.historyMs,
  historyBytesMax: values.historyBytesMax,
  archiveMs: values.archiveMs,
  archiveCount: values.archiveCount,
});

export function logOptions(values: Values, wall: number): LogOptions {
  const { log: strategy, sync } = values;
  // A memory log has nothing to continue from, and revisions must grow over restarts all the same.
  if (strategy === "memory") return { strategy, startRevision: wall * 1000 };
  const options = {
    folder: values.data,
    ...logTuning(values),
    recoverTo: values.recoverTo ?? undefined,
  };
  return strategy === "snapshot" ? { strategy, ...options } : { strategy, sync, ...options };
}

/** What a crash may lose under this configuration; null: nothing acknowledged. */
export function lossText(values: Values): string | null {
  if (values.log === "memory") return "everything: nothing is kept on disk";
  if (values.log === "snapshot") {
    return `acknowledged changes of the last ${durationText(values.snapshotIntervalMs)}`;
  }
  if (values.sync === "always") return null;
  return `acknowledged changes of the last ${durationText(values.syncIntervalMs)}, if the power fails or the system crashes`;
}

/** The options part of `--help`. */
export function optionsHelp(): string {
  const lines: string[] = [];
  let group = "";
  for (const name of optionNames) {
    const of = row(name);
    if (of.group !== group) lines.push("", `${of.group[0]!.toUpperCase()}${of.group.slice(1)}:`);
    group = of.group;
    const standard = of.defaultText ?? valueText(of, of.default);
    const set = Object.entries(presets)
      .filter(([preset, { values }]) => preset !== "durable" && name in values)
      .map(
        ([preset, { values }]) => `${preset}: ${valueText(of, (values as Record<string, unknown>)[name])}`,
      );
    const choices = of.type === "choice" ? `${of.choices!.join(" | ")}. ` : "";
    const known = [`default ${standard}`, ...set].join("; ");
    const variable = allowsFrom(of, "environment") ? `, ${environmentOf(name)}` : "";
    lines.push(`  ${flagOf(name)} ${of.unit}`, `      ${of.help}`, `      ${choices}(${known}${variable})`);
  }
  return lines.join("\n");
}

/** The JSON Schema of the configuration file. A number in a text, and ranges of texts with units, only reading tells. */
export function configSchema(): object {
  const properties: Record<string, object> = { $schema: { type: "string" } };
  for (const name of optionNames) {
    const of = row(name);
    if (allowsFrom(of, "file")) properties[name] = { description: of.help, ...schemaOf(of) };
  }
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "The configuration file of cortexd",
    type: "object",
    properties,
    additionalProperties: false,
  };
}

function schemaOf(of: Row): object {
  const integer = { type: "integer", minimum: of.min, maximum: of.max };
  const measured = (units: object) => ({
    anyOf: [integer, { type: "string", pattern: `^[0-9]+(\\.[0-9]+)?(${Object.keys(units).join("|")})?$` }],
  });
  switch (of.type) {
    case "choice":
      return { enum: of.choices };
    case "integer":
      return { anyOf: [integer, { type: "string", pattern: "^[0-9]+$" }] };
    case "duration":
      return measured(durationUnits);
    case "bytes":
      return measured(byteUnits);
    case "list":
      return { anyOf: [{ type: "array", items: { type: "string" } }, { type: "string" }] };
    default:
      return { type: "string" };
  }
}

/** Each value as people write it, its unit, and where it came from; a secret is never among them. */
export function explained({ values, from }: Config) {
  return optionNames.map((name) => {
    const of = row(name);
    const value = of.secret && values[name] !== null ? "(not shown)" : values[name];
    const text = value === null ? "none" : of.secret ? String(value) : valueText(of, value);
    return { name, value, text, unit: of.unit, kind: from[name].kind, from: from[name].name };
  });
}
