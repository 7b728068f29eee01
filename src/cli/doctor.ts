/**
 * `cortexd doctor`: what keeps a set-up from working, or will, each with what to do about it. It looks at what a daemon
 * started with the same words would find, at the daemon itself where one answers, and at the way to it. Changes nothing.
 */
import { accessSync, constants, existsSync, readdirSync, readFileSync, statfsSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { CoordinationClient } from "../../client/client.ts";
import { CortexError } from "../../client/errors.ts";
import { RestClient } from "../../client/rest.ts";
import { bytesText, flagOf, isTokenMade, type Values } from "../config.ts";
import { systemClock } from "../engine/clock.ts";
import { freeBytes, shareFolder } from "../log/folder.ts";
import { command } from "./command.ts";
import type { configured } from "./configured.ts";
import { Exit } from "./exit.ts";
import { listening } from "./listening.ts";
import type { Colour, Output } from "./output.ts";
import { reachable } from "./terminal.ts";
import { version } from "./version.ts";
import { number, plural, span } from "./words.ts";

export type Finding = {
  about: string;
  /** fault: it keeps the daemon from working. concern: it may, or something is not as most would have it. */
  level: "ok" | "concern" | "fault";
  found: string;
  /** What to do about it; null: nothing. */
  advice: string | null;
};

const ok = (about: string, found: string): Finding => ({ about, level: "ok", found, advice: null });
const concern = (about: string, found: string, advice: string): Finding => ({
  ...{ about, level: "concern", found, advice },
});
const fault = (about: string, found: string, advice: string): Finding => ({
  ...{ about, level: "fault", found, advice },
});

export const doctor = command({
  summary: "Find what is wrong with a set-up: configuration, folder, disk, ports, token, WebSocket, clock.",
  arguments: [],
  options: {
    url: {
      type: "text",
      unit: "URL",
      help: "Look at the daemon at this address, and not at this machine. Default: the daemon of the same configuration.",
    },
  },
  client: false,
  serve: true,
  json: 'one object, {"ok": ..., "findings": [{"about", "level": "ok" | "concern" | "fault", "found", "advice"}]}.',
  examples: [
    { words: "doctor", meaning: "Before the first start, and when something is strange." },
    {
      words: "doctor --config /etc/cortexd.json",
      meaning: "With the words that the daemon is started with.",
    },
    { words: "doctor --url http://10.0.0.7:9500 --token-file token", meaning: "The way to a distant one." },
  ],
  async run({ values, config, out }) {
    const findings =
      values.url === undefined ? await ofThisMachine(config) : await ofDistant(values.url, config);
    if (out.json) await out.value({ ok: findings.every(({ level }) => level !== "fault"), findings });
    else await told(findings, out);
    return findings.some(({ level }) => level === "fault") ? "set-up-faulty" : undefined;
  },
});

const colours: Record<Finding["level"], Colour> = { ok: "green", concern: "yellow", fault: "red" };

async function told(findings: readonly Finding[], out: Output): Promise<void> {
  const width = Math.max(...findings.map(({ about }) => about.length));
  for (const { about, level, found, advice } of findings) {
    const start = `${out.paint(level.padEnd("concern".length), colours[level])}  ${about.padEnd(width)}  `;
    const indent = `\n${" ".repeat("concern".length + width + 4)}`;
    await out.line(start + found.replaceAll("\n", indent) + (advice === null ? "" : indent + advice));
  }
  const count = (level: Finding["level"]) => findings.filter((one) => one.level === level).length;
  await out.line(
    count("fault") + count("concern") === 0
      ? "\nNothing is wrong."
      : `\n${plural(count("fault"), "fault")}, ${plural(count("concern"), "concern")}.`,
  );
}

async function ofThisMachine(config: () => ReturnType<typeof configured>): Promise<Finding[]> {
  let values: Values;
  const findings: Finding[] = [];
  try {
    const read = config();
    values = read.values;
    const about = "configuration";
    if (read.notes.length > 0)
      findings.push(concern(about, read.notes.join("\n"), "Mend the name, or unset it."));
    else findings.push(ok(about, `sound, preset ${values.preset}`));
  } catch (error) {
    if (!(error instanceof Exit)) throw error;
    return [fault("configuration", error.message, error.advice), filesLimit()];
  }
  const data = values.log === "memory" ? null : resolve(values.data);
  if (data !== null) findings.push(...folderOf(data));
  findings.push(filesLimit(), memoryOf(values), ...tokenFileOf(values));
  const url = `http://${reachable(values.host)}:${values.port}`;
  const owned = data !== null && isOwned(data);
  const { daemon, problem } = values.port === 0 ? { daemon: null, problem: null } : await answering(url);
  if (daemon === null) {
    findings.push(...portsOf(values));
    if (owned)
      findings.push(
        fault(
          "daemon",
          `${holderOf(data)} has the data folder, and no daemon answers at ${url}${problem === null ? "" : ` (${problem})`}`,
          "It listens elsewhere, or it is stuck: look at its log lines. Give this command the words that it was started with.",
        ),
      );
    else if (findings.every(({ level }) => level !== "fault"))
      findings.push(ok("daemon", "none runs; `cortexd serve` with the same words would start"));
    return findings;
  }
  if (data !== null && !owned && existsSync(data))
    findings.push(
      concern(
        "daemon",
        `the daemon at ${url} works on another data folder than ${data}`,
        "Give this command the words that the daemon was started with, or look at its --data.",
      ),
    );
  findings.push(...(await ofDaemon(url, daemon, values.token)));
  findings.push(await webSocketOf(`ws://${reachable(values.host)}:${values.wsPort}`, values.token));
  return findings;
}

async function ofDistant(url: string, config: () => ReturnType<typeof configured>): Promise<Finding[]> {
  const { token } = config().values;
  const { daemon, problem } = await answering(url);
  if (daemon !== null) return ofDaemon(url.replace(/\/+$/, ""), daemon, token);
  return [
    fault(
      "daemon",
      `no cortexd answers at ${url} (${problem})`,
      "Look at the address, and whether the daemon runs and listens on more than loopback (--host); then at what lies between.",
    ),
  ];
}

// ------------------------------------------------------------------------------------------------- this machine

const MiB = 1024 ** 2;
const GiB = 1024 * MiB;
const sizeText = (bytes: number) => {
  const step = bytes < 10 * GiB ? MiB : GiB;
  return bytesText(Math.floor(bytes / step) * step);
};
const lowBytes = GiB;
const leastBytes = 64 * MiB;

/** Where syncs or locks are not what they seem, by the number that statfs gives. */
const strangeSystems: ReadonlyMap<number, [name: string, why: string, advice: string]> = new Map([
  ...[0x6969, 0x517b, 0xff534d42, 0xfe534d42].map((type): [number, [string, string, string]] => [
    type,
    [
      "a network file system",
      "its locks and syncs cannot be relied on",
      "Keep the data on a disk of this machine, and backups elsewhere (`cortexd backup`).",
    ],
  ]),
  ...[0x01021994, 0x858458f6].map((type): [number, [string, string, string]] => [
    type,
    ["memory", "what is written is gone with the machine", "Name a folder on a disk with --data."],
  ]),
  [
    0x794c7630,
    [
      "a container's own layer",
      "what is written is gone with the container",
      "Mount a volume there, or name one with --data.",
    ],
  ],
]);

function folderOf(data: string): Finding[] {
  const about = "data folder";
  let there = data;
  while (!existsSync(there)) there = dirname(there);
  if (!statSync(there).isDirectory())
    return [fault(about, `${there} is no folder`, `Name another one with ${flagOf("data")}.`)];
  try {
    accessSync(there, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code } = error as { code?: string };
    const what = there === data ? `${data} cannot be read and written` : `${data} cannot be made in ${there}`;
    return [
      fault(
        about,
        `${what} (${code})`,
        `Give this user the right to, or name another one with ${flagOf("data")}.`,
      ),
    ];
  }
  const findings: Finding[] = [];
  const { uid } = statSync(there);
  if (there === data && process.getuid?.() === 0 && uid !== 0)
    findings.push(
      concern(
        about,
        `${data} belongs to user ${uid}, and this is root`,
        "Run this as the user of the daemon.",
      ),
    );
  else
    findings.push(
      ok(about, there === data ? `${data} can be written` : `${data} is not there yet, and can be made`),
    );
  findings.push(...diskOf(there), ...clockOf(there === data ? data : null));
  return findings;
}

function diskOf(folder: string): Finding[] {
  const findings: Finding[] = [];
  const { type, blocks, bsize } = statfsSync(folder);
  const strange = strangeSystems.get(type >>> 0);
  if (strange !== undefined)
    findings.push(concern("file system", `${folder} lies on ${strange[0]}: ${strange[1]}`, strange[2]));
  const free = freeBytes(folder);
  const text = `${sizeText(free)} free`;
  const advice = "Make room, or name a folder on another disk with --data. History takes room: --history-ms.";
  if (free < leastBytes) findings.push(fault("disk", text, advice));
  else if (free < lowBytes || free < 0.05 * blocks * bsize) findings.push(concern("disk", text, advice));
  else findings.push(ok("disk", text));
  return findings;
}

/** The first moment at which this program was there: no clock is right that says an earlier one. */
const earliest = Date.UTC(2025, 0, 1);

function clockOf(data: string | null): Finding[] {
  const now = systemClock.wall();
  const advice = "Set the clock, and let it be kept right (NTP): schedules and absolute times run on it.";
  if (now < earliest) return [concern("clock", `it says ${new Date(now).toISOString()}`, advice)];
  const written = data === null ? [] : readdirSync(data).map((name) => statSync(join(data, name)).mtimeMs);
  const ahead = Math.max(0, ...written) - now;
  if (ahead > 5000)
    return [concern("clock", `it is ${span(ahead)} behind what was written last in ${data}`, advice)];
  return [ok("clock", new Date(now).toISOString())];
}

const filesLow = 4096;

function filesLimit(): Finding {
  const about = "open files";
  const advice =
    "Each worker takes one: `ulimit -n 65536` before the start, or LimitNOFILE=65536 in the systemd unit.";
  let limits: string;
  try {
    limits = readFileSync("/proc/self/limits", "utf8");
  } catch {
    return ok(about, "this system does not say how many there may be");
  }
  const soft = /^Max open files\s+(\S+)/m.exec(limits)?.[1] ?? "unlimited";
  const count = soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
  const found = Number.isFinite(count) ? `at most ${number(count)}` : "as many as wanted";
  return count < filesLow ? concern(about, found, advice) : ok(about, found);
}

function memoryOf({ memoryBytesMax }: Values): Finding {
  const there = process.constrainedMemory() || Number.POSITIVE_INFINITY;
  const text = `${sizeText(memoryBytesMax)} for the state`;
  if (memoryBytesMax <= there) return ok("memory", text);
  return concern(
    "memory",
    `${text}, and this process may use ${sizeText(there)}`,
    `Lower ${flagOf("memoryBytesMax")}, or give the process more.`,
  );
}

function tokenFileOf(values: Values): Finding[] {
  const { tokenFile } = values;
  if (tokenFile === null) return [];
  if (isTokenMade(values)) return [ok("token file", `${tokenFile} is made by the first start`)];
  const others = statSync(tokenFile).mode & 0o077;
  if (others === 0 || process.platform === "win32")
    return [ok("token file", `${tokenFile} is its owner's alone`)];
  return [concern("token file", `others may read or write ${tokenFile}`, `chmod 600 ${tokenFile}`)];
}

function portsOf(values: Values): Finding[] {
  return (["port", "wsPort"] as const).map((name) => {
    const about = name === "port" ? "port" : "WebSocket port";
    try {
      const probe = () =>
        Bun.listen({ hostname: values.host, port: values[name], exclusive: true, socket: { data() {} } });
      listening(values, name, probe).stop(true);
      return ok(about, values[name] === 0 ? "a free one" : `${values.host}:${values[name]} is free`);
    } catch (error) {
      if (!(error instanceof Exit)) throw error;
      return fault(about, error.message, error.advice);
    }
  });
}

function isOwned(data: string): boolean {
  if (!existsSync(data)) return false;
  try {
    const letIn = shareFolder(data);
    letIn?.();
    return letIn === null;
  } catch {
    return false;
  }
}

function holderOf(data: string): string {
  try {
    return `process ${readFileSync(join(data, "lock"), "utf8").trim()}`;
  } catch {
    return "another process";
  }
}

// ---------------------------------------------------------------------------------------------------- the daemon

const patienceMs = 10_000;

type Daemon = { version: string; status: string; preset: string; date: string | null };

/** What answers there, if it is a cortexd. Its guard lets anyone ask this. */
async function answering(url: string): Promise<{ daemon: Daemon | null; problem: string | null }> {
  try {
    const answer = await fetch(`${url.replace(/\/+$/, "")}/health`, {
      signal: AbortSignal.timeout(patienceMs),
    });
    const health = (await answer.json()) as Partial<Daemon>;
    if (typeof health.version === "string" && typeof health.preset === "string")
      return { daemon: { ...(health as Daemon), date: answer.headers.get("date") }, problem: null };
    return { daemon: null, problem: "what answers there is no cortexd" };
  } catch (error) {
    const { code, name } = error as { code?: string; name?: string };
    if (error instanceof SyntaxError) return { daemon: null, problem: "what answers there is no cortexd" };
    return {
      daemon: null,
      problem: name === "TimeoutError" ? `no answer in ${span(patienceMs)}` : (code ?? `${error}`),
    };
  }
}

async function ofDaemon(url: string, daemon: Daemon, token: string | null): Promise<Finding[]> {
  const findings: Finding[] = [];
  const { status } = daemon;
  if (status === "ok")
    findings.push(ok("daemon", `cortexd ${daemon.version} at ${url}, preset ${daemon.preset}`));
  else if (status === "replay")
    findings.push(
      concern(
        "daemon",
        `at ${url} is a state that was, and takes no changes`,
        "Name the daemon itself with --url.",
      ),
    );
  else
    findings.push(
      fault(
        "daemon",
        `the daemon at ${url} is ${status}`,
        status === "read-only"
          ? "Its disk is full: make room, it goes on by itself (`cortexd why disk-full`)."
          : "Wait until it has stopped, and start it again.",
      ),
    );
  findings.push(
    daemon.version === version
      ? ok("versions", `both are ${version}`)
      : concern(
          "versions",
          `the daemon is ${daemon.version}, this program ${version}`,
          "Install the same version, and start the daemon anew.",
        ),
  );
  const apart = daemon.date === null ? 0 : Math.abs(Date.parse(daemon.date) - systemClock.wall());
  if (apart > 30_000)
    findings.push(
      concern(
        "clocks",
        `the daemon's clock and this one are ${span(apart)} apart`,
        "Let both be kept right (NTP).",
      ),
    );
  findings.push(await tokenOf(url, token));
  findings.push(await webSocketOf(`${url.replace(/^http/, "ws")}/ws`, token));
  return findings;
}

async function tokenOf(url: string, token: string | null): Promise<Finding> {
  try {
    await new RestClient({ url, token: token ?? undefined }).state();
    return ok("token", token === null ? "none is needed from here" : "it is the daemon's");
  } catch (error) {
    if (!(error instanceof CortexError)) throw error;
    if (error.code !== "unauthorized") return fault("token", error.message, error.hint);
    return fault(
      "token",
      token === null ? "the daemon wants one, and there is none" : "the daemon wants another one",
      "Give the one that it was started with: --token-file FILE, or CORTEX_TOKEN_FILE.",
    );
  }
}

async function webSocketOf(url: string, token: string | null): Promise<Finding> {
  const client = new CoordinationClient({
    ...{ url, transport: "websocket", client: `cortexd-doctor/${version}` },
    ...(token === null ? {} : { token }),
  });
  client.on("error", () => {});
  try {
    await client.connect({ timeoutMs: patienceMs });
    return ok("WebSocket", `${url} can be had`);
  } catch (error) {
    if (error instanceof CortexError && error.code === "unauthorized")
      return ok("WebSocket", `${url} can be had, with the right token`);
    return concern(
      "WebSocket",
      `${url} cannot be had (${(error as Error).message})`,
      "Clients fall back to HTTP where they can. Let what lies between pass `Upgrade: websocket` (docs/PROTOCOL.md).",
    );
  } finally {
    client.close();
  }
}
