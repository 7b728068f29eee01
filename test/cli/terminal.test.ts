/** What a person sees when the daemon starts. */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RestClient } from "../../client/rest.ts";
import { createProgress, type Standing, summary } from "../../src/cli/terminal.ts";
import { type Config, loadConfig } from "../../src/config.ts";
import { openLog } from "../../src/log/open.ts";
import { createLines } from "../../src/telemetry/lines.ts";
import { cortexd, runCortexd, spawnDaemon, temporaryFolder, until } from "../support/daemon.ts";

function config(argv: string[]): Config {
  const result = loadConfig({ argv, environment: {}, readFile: () => "", machine: { memoryBytes: 2 ** 32 } });
  if ("problems" in result) throw new Error(result.problems.join());
  return result.config;
}

const standing: Standing = {
  version: "1.2.3",
  port: 9500,
  wsPort: 9501,
  data: "/data",
  revision: 1042,
  counts: { tasks: { scheduled: 0, queued: 12_345, running: 2 }, workers: { idle: 0, busy: 0 } },
};

test("terminal - the summary names version, preset, addresses, folder, revision and counts", () => {
  const text = summary(config([]), standing);
  for (const part of [
    ...["cortexd 1.2.3", "preset durable: synced before each answer", "nothing that was acknowledged"],
    ...["http://127.0.0.1:9500\n", "http://127.0.0.1:9500/swagger", "ws://127.0.0.1:9501"],
    ...["ws://127.0.0.1:9500/ws", "/data", "1042", "12,345 queued, 2 running", "Workers           none"],
  ]) {
    expect(text).toContain(part);
  }
});

const losses: [string[], string][] = [
  [["--preset", "production", "--snapshot-interval-ms", "10s"], "acknowledged changes of the last 10s"],
  [["--preset", "high-availability"], "acknowledged changes of the last 1s, if the power fails"],
  [["--preset", "development"], "everything"],
];
test.each(losses)("terminal - the summary of %j says what a crash may lose", (argv, loss) => {
  const line = summary(config(argv), standing)
    .split("\n")
    .find((one) => one.includes("A crash may lose"));
  expect(line).toContain(loss);
});

const hosts: [string, string][] = [
  ["0.0.0.0", "http://localhost:9500\n"],
  ["::1", "http://[::1]:9500\n"],
];
test.each(hosts)("terminal - listening on %s, the address shown can be opened", (host, address) => {
  expect(summary(config(["--host", host]), standing)).toContain(address);
});

test("terminal - away from a terminal, progress is at most one line a second", () => {
  const written: string[] = [];
  const lines = createLines({
    level: "info",
    format: "json",
    now: () => 0,
    write: (line) => written.push(line),
  });
  let now = 0;
  const progress = createProgress(lines, false, () => now);
  for (; now < 3500; now += 10) progress.report(now, 3500);
  progress.end();
  expect(written.map((line) => JSON.parse(line).done)).toEqual([1000, 2000, 3000]);
});

/** A data folder with so many queued tasks, written through the log alone. */
async function folderOfTasks(count: number): Promise<string> {
  const folder = temporaryFolder();
  const log = openLog({ strategy: "wal", sync: "interval", folder });
  await log.open({ lines() {}, progress() {} });
  const perBatch = 1000;
  for (let first = 1; first <= count; first += perBatch) {
    let text = "";
    for (let revision = first; revision < first + perBatch; revision++)
      text +=
        `@${revision}\t1000\t10\ttask.submit\ttest\n` +
        `+task\t${revision}-0\t{"queue":"q","type":"t","createdAt":1000}\tnull\n` +
        `+task.run\t${revision}-0\t{"state":"queued","revision":${revision}}\n`;
    await log.append({ first, last: first + perBatch - 1, text }, first - 1);
  }
  await log.stop();
  return folder;
}

const script = Bun.which("script");
const whyNoScript = script === null ? " (skipped: there is no script command)" : "";

/** What a command writes to a terminal that is so many places wide and, unless it is told otherwise, shows colours. */
async function onTerminal(
  words: string[],
  columns: number,
  environment = "NO_COLOR= TERM=xterm",
): Promise<string> {
  const transcript = join(temporaryFolder(), "transcript");
  const command = `stty cols ${columns}; ${environment} ${[...cortexd, ...words].join(" ")}`;
  const child = Bun.spawn(["script", "-qfec", command, transcript], { stdin: "ignore", stdout: "ignore" });
  expect(await child.exited).toBe(0);
  // Between the lines that script itself writes.
  return readFileSync(transcript, "utf8")
    .split("\n")
    .slice(1)
    .join("\n")
    .replace(/\n?Script done on [^\n]*\n$/, "");
}
const withoutColours = Bun.stripANSI;

describe("terminal - a real one", () => {
  test.skipIf(script === null)(
    `terminal - a table fits its width, cut where it may be, and has colours unless NO_COLOR is set${whyNoScript}`,
    async () => {
      const daemon = await spawnDaemon({ preset: "development" });
      const client = new RestClient({ url: daemon.url });
      const payload = { to: "somebody with a long name, 長い名前の人", subject: "x".repeat(200) };
      const { id } = await client.submit({ queue: "terminal", type: "send", payload });
      const words = ["tasks", "list", "--url", daemon.url];
      for (const columns of [80, 100]) {
        const text = await onTerminal(words, columns);
        const lines = withoutColours(text)
          .split(/\r?\n/)
          .filter((line) => line !== "");
        expect(lines).toHaveLength(2);
        for (const line of lines) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(columns);
        expect(lines[1]).toStartWith(`${id}  queued  terminal  send`);
        expect(lines[1]).toEndWith("…");
        expect(text).not.toBe(withoutColours(text));
      }
      const plain = await onTerminal(words, 80, "NO_COLOR=1");
      expect(plain).not.toContain("\x1b");
      const wide = await onTerminal(words, 1000);
      expect(withoutColours(wide)).toContain("x".repeat(200));
      await daemon.kill();
    },
    60_000,
  );

  test.skipIf(script === null)(
    `terminal - an import shows how far it is on a line that renews itself, and leaves only its report${whyNoScript}`,
    async () => {
      const file = join(temporaryFolder(), "tasks.ndjson");
      const line = `${JSON.stringify({ type: "t", payload: "x".repeat(1000) })}\n`;
      writeFileSync(file, line.repeat(30_000));
      const text = await onTerminal(["tasks", "import", file, "--dry-run"], 100);
      const told = [...text.matchAll(/\[2K\[([#.]{24})\] (\d+) % {2}([\d,]+) read/g)];
      expect(told.length).toBeGreaterThan(0);
      const percents = told.map((match) => Number(match[2]));
      expect(percents).toEqual([...percents].sort((a, b) => a - b));
      expect(text.slice(text.lastIndexOf("\x1b[2K"))).toStartWith(
        `\x1b[2K${file}: of 30,000 elements 30,000 could`,
      );
    },
    60_000,
  );
});

test.skipIf(script === null)(
  `terminal - on a terminal, one line that renews itself tells how far the log is read${whyNoScript}`,
  async () => {
    const data = await folderOfTasks(200_000);
    const transcript = join(data, "transcript");
    const command = [...cortexd, "serve", "--port", "0", "--ws-port", "0", "--data", data].join(" ");
    const terminal = Bun.spawn(["script", "-qfec", command, transcript], { stdin: "pipe", stdout: "ignore" });
    const text = () => (existsSync(transcript) ? readFileSync(transcript, "utf8") : "");
    await until(() => text().includes("Ctrl-C stops it") || terminal.exitCode !== null);
    terminal.stdin.write("\x03");
    await terminal.exited;
    const told = [...text().matchAll(/\[2KReading the log: (\d+) % \(([\d,]+) of ([\d,]+)\)/g)];
    expect(told.length).toBeGreaterThan(0);
    const percents = told.map((match) => Number(match[1]));
    expect(percents).toEqual([...percents].sort((a, b) => a - b));
    expect(text()).toContain("200,000 queued");
  },
  30_000,
);

test.skipIf(script === null)(
  `terminal - on a terminal, verify and backup tell how far they have read${whyNoScript}`,
  async () => {
    const data = await folderOfTasks(200_000);
    const copy = join(temporaryFolder(), "copy");
    for (const words of [["verify"], ["backup", copy]]) {
      const transcript = join(data, `transcript-${words[0]}`);
      const command = [...cortexd, ...words, "--data", data].join(" ");
      const terminal = Bun.spawn(["script", "-qfec", command, transcript], { stdout: "ignore" });
      expect(await terminal.exited).toBe(0);
      const text = readFileSync(transcript, "utf8");
      const percents = [...text.matchAll(/\[2K\[[#.]{24}\] (\d+) % {2}reading default/g)].map(([, percent]) =>
        Number(percent),
      );
      expect(percents.length).toBeGreaterThan(0);
      expect(percents).toEqual([...percents].sort((a, b) => a - b));
      expect(text).toContain(words[0] === "verify" ? "sound up to revision" : "and read it back");
    }
    const piped = await runCortexd(["verify", "--data", data]);
    expect([piped.code, piped.errors]).toEqual([0, ""]);
  },
  60_000,
);
