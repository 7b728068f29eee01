/** What a person sees when the daemon starts. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createProgress, type Standing, summary } from "../../src/cli/terminal.ts";
import { type Config, loadConfig } from "../../src/config.ts";
import { openLog } from "../../src/log/open.ts";
import { createLines } from "../../src/telemetry/lines.ts";
import { cortexd, temporaryFolder, until } from "../support/daemon.ts";

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
test.skipIf(script === null)(
  `terminal - on a terminal, one line that renews itself tells how far the log is read${script === null ? " (skipped: there is no script command)" : ""}`,
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
