/** Options, each from every place it may come from, and what a mistake gets. */
import { describe, expect, test } from "bun:test";
import {
  type Config,
  engineConfig,
  environmentOf,
  flagOf,
  isLoopback,
  loadConfig,
  lossText,
  type OptionName,
  optionNames,
  optionsHelp,
  optionTable,
  presets,
} from "../src/config.ts";

const GiB = 1024 ** 3;

type World = { environment?: Record<string, string>; files?: Record<string, string>; memoryBytes?: number };

const load = (argv: string[], { environment = {}, files = {}, memoryBytes = 4 * GiB }: World = {}) =>
  loadConfig({
    argv,
    environment,
    machine: { memoryBytes },
    readFile: (path) => {
      if (files[path] === undefined) throw Object.assign(new Error("absent"), { code: "ENOENT" });
      return files[path];
    },
  });

function good(argv: string[], world?: World): Config {
  const result = load(argv, world);
  if ("problems" in result) throw new Error(result.problems.join("\n"));
  return result.config;
}

function bad(argv: string[], world?: World): string[] {
  const result = load(argv, world);
  if ("config" in result) throw new Error("expected mistakes, found none");
  return result.problems;
}

describe("config - defaults and presets", () => {
  test("config - told nothing, it is durable, on loopback, at 9500 and 9501", () => {
    const { values } = good([]);
    expect(values).toMatchObject({
      host: "127.0.0.1",
      port: 9500,
      wsPort: 9501,
      data: "./cortex-data",
      preset: "durable",
      log: "wal",
      sync: "always",
      token: null,
      retentionMs: 3_600_000,
      retentionCount: 100_000,
      archiveMs: 30 * 24 * 3_600_000,
      archiveCount: 1_000_000,
      queuedTasksMax: 5_000_000,
      undurableBytesMax: 67_108_864,
      messageIntervalMs: 0,
      watchHistoryBytesMax: 16_777_216,
    });
  });

  const rows: [string, object][] = [
    ["development", { log: "memory", heartbeatMs: 1000, silenceMs: 5000 }],
    ["production", { log: "snapshot", snapshotIntervalMs: 30_000, heartbeatMs: 10_000 }],
    ["high-availability", { log: "wal", sync: "interval", syncIntervalMs: 1000 }],
    ["durable", { log: "wal", sync: "always" }],
  ];
  test.each(rows)("config - the preset %s sets what it says", (preset, expected) => {
    expect(good(["--preset", preset]).values).toMatchObject(expected);
  });

  test("config - every preset's values and every default are allowed values of their options", () => {
    for (const { values } of Object.values(presets)) {
      for (const name of Object.keys(values)) expect(optionNames).toContain(name as never);
    }
    for (const name of optionNames) {
      const row = optionTable[name];
      const standard = good([]).values[name];
      if (typeof standard === "number" && "min" in row) {
        expect(standard).toBeGreaterThanOrEqual(row.min);
        expect(standard).toBeLessThanOrEqual(row.max);
      }
    }
  });

  test("config - every option's example is allowed, wherever it may be set", () => {
    for (const name of optionNames) {
      if (name === "tokenFile") continue; // reads its file: tested by itself
      const { example } = optionTable[name];
      const beside: Partial<Record<OptionName, string[]>> = {
        wsPort: ["--port", "1"],
        tokenMissing: ["--token-file", "f"],
      };
      expect(
        good([flagOf(name), example, ...(beside[name] ?? [])], { files: { f: "s3cret" } }).from[name].kind,
      ).toBe("option");
    }
  });

  test("config - memory is limited to half of the machine's, at most 8 GiB", () => {
    expect(good([], { memoryBytes: 4 * GiB }).values.memoryBytesMax).toBe(2 * GiB);
    expect(good([], { memoryBytes: 64 * GiB }).values.memoryBytesMax).toBe(8 * GiB);
  });

  test("config - what a crash may lose follows the values, not the preset's name", () => {
    expect(lossText(good([]).values)).toBeNull();
    expect(lossText(good(["--preset", "production", "--snapshot-interval-ms", "5s"]).values)).toContain("5s");
    expect(lossText(good(["--preset", "high-availability"]).values)).toContain("1s");
    expect(lossText(good(["--preset", "production", "--log", "wal"]).values)).toBeNull();
  });
});

describe("config - precedence", () => {
  const everywhere = {
    environment: { CORTEX_CONFIG: "c.json", CORTEX_SNAPSHOT_INTERVAL_MS: "4s" },
    files: { "c.json": '{"snapshotIntervalMs": "3s", "preset": "production"}' },
  };

  test("config - an option beats the environment, that the file, that the preset, that the default", () => {
    const option = good(["--snapshot-interval-ms", "5s"], everywhere);
    expect(option.values.snapshotIntervalMs).toBe(5000);
    expect(option.from.snapshotIntervalMs).toEqual({ kind: "option", name: "--snapshot-interval-ms" });

    const environment = good([], everywhere);
    expect(environment.values.snapshotIntervalMs).toBe(4000);
    expect(environment.from.snapshotIntervalMs.name).toBe("CORTEX_SNAPSHOT_INTERVAL_MS");

    const file = good(["--config", "c.json"], { files: everywhere.files });
    expect(file.values.snapshotIntervalMs).toBe(3000);
    expect(file.from.snapshotIntervalMs).toEqual({ kind: "file", name: "snapshotIntervalMs in c.json" });

    const preset = good(["--preset", "production"]);
    expect(preset.from.snapshotIntervalMs.kind).toBe("preset");
    expect(good([]).from.snapshotIntervalMs.kind).toBe("default");
  });

  test("config - a preset from the file sets what neither option nor environment names", () => {
    const { values, from } = good([], everywhere);
    expect([values.preset, values.log, from.log.kind]).toEqual(["production", "snapshot", "preset"]);
  });

  test("config - an empty environment variable is not set", () => {
    expect(good([], { environment: { CORTEX_PORT: "" } }).values.port).toBe(9500);
  });

  test("config - the last of a repeated option holds, and origins gather", () => {
    const { values } = good([
      ...["--port", "1", "--port=2", "--allow-origin", "http://a.example,http://b.example"],
      ...["--allow-origin=https://c.example"],
    ]);
    expect(values.port).toBe(2);
    expect(values.allowOrigin).toEqual(["http://a.example", "http://b.example", "https://c.example"]);
  });
});

describe("config - units", () => {
  const durations: [string, number][] = [
    ["500ms", 500],
    ["30s", 30_000],
    ["1.5s", 1500],
    ["2m", 120_000],
    ["1h", 3_600_000],
    ["1d", 86_400_000],
    ["1234", 1234],
  ];
  test.each(durations)("config - the time %s is %i ms", (text, ms) => {
    expect(good(["--history-ms", text]).values.historyMs).toBe(ms);
  });

  const sizes: [string, number][] = [
    ["64MiB", 67_108_864],
    ["2GiB", 2_147_483_648],
    ["1048577", 1_048_577],
  ];
  test.each(sizes)("config - the size %s is %i bytes", (text, bytes) => {
    expect(good(["--history-bytes-max", text]).values.historyBytesMax).toBe(bytes);
  });

  test("config - the file takes numbers as well as texts with a unit", () => {
    const files = {
      f: '{"graceMs": 1500, "silenceMs": "1m", "allowOrigin": ["http://a.example"], "port": 1}',
    };
    const { values } = good(["--config", "f"], { files });
    expect(values).toMatchObject({
      graceMs: 1500,
      silenceMs: 60_000,
      allowOrigin: ["http://a.example"],
      port: 1,
    });
  });
});

describe("config - mistakes", () => {
  const rows: [string, string[], World, string[]][] = [
    ["an unknown option", ["--prot", "1"], {}, ["--prot is not an option; did you mean --port?"]],
    ["a word too many", ["now"], {}, ['"now" is not an option']],
    ["an option without its value", ["--port", "--data", "x"], {}, ["--port needs a value"]],
    ["a port out of range", ["--port", "65536"], {}, ['--port is "65536"', "from 0 to 65535"]],
    ["a port that is no whole number", ["--port", "1.5"], {}, ['--port is "1.5"', "whole number"]],
    ["a number in another notation", ["--port", "0x1F"], {}, ['--port is "0x1F"']],
    ["an unknown choice", ["--preset", "fast"], {}, ['"fast"', "durable, high-availability"]],
    ["a time with a wrong unit", ["--grace-ms", "3w"], {}, ['"3w"', "ms, s, m, h, d"]],
    ["a time of part of a ms", ["--grace-ms", "0.5ms"], {}, ['"0.5ms"']],
    ["a wrong variable", [], { environment: { CORTEX_PORT: "tcp://1:2" } }, ['CORTEX_PORT is "tcp://1:2"']],
    [
      "an unknown key",
      ["--config", "f"],
      { files: { f: '{"prot": 1}' } },
      ['"prot" in f', "did you mean port?"],
    ],
    [
      "a special key",
      ["--config", "f"],
      { files: { f: '{"__proto__": 1}' } },
      ['"__proto__" in f is not an option'],
    ],
    [
      "a wrong type in the file",
      ["--config", "f"],
      { files: { f: '{"port": true}' } },
      ["port in f is true"],
    ],
    ["a file that is not JSON", ["--config", "f"], { files: { f: "{" } }, ["file f cannot be read"]],
    ["a file that holds a list", ["--config", "f"], { files: { f: "[]" } }, ["must hold one JSON object"]],
    ["a file that is not there", ["--config", "f"], {}, ["file f cannot be read (ENOENT)"]],
    [
      "an origin with a path",
      ["--allow-origin", "http://a.example/x"],
      {},
      ["allow-origin", "without a path"],
    ],
    ["two tokens", ["--token", "a", "--token-file", "f"], { files: { f: "b" } }, ["give one"]],
    [
      "a token file that is not there",
      ["--token-file", "f"],
      {},
      ["--token-file: f cannot be read (ENOENT)", "--token-missing make"],
    ],
    [
      "a token file that holds none",
      ["--token-file", "f"],
      { files: { f: "\n" } },
      ["the token in f must be"],
    ],
    [
      "a token that is to be made nowhere",
      ["--token-missing", "make"],
      {},
      ["--token-missing is make", "--token-file"],
    ],
    [
      "a token file that is to be made and cannot be read",
      ["--token-missing", "make", "--token-file", "f"],
      { files: { f: "\n" } },
      ["the token in f must be"],
    ],
    [
      "a heartbeat longer than the silence",
      ["--heartbeat-ms", "1m"],
      {},
      ["--heartbeat-ms is 1m", "--silence-ms is 30s by the default"],
    ],
    ["one port twice", ["--port", "9501"], {}, ["--port is 9501", "must differ"]],
    [
      "a sync without a log to sync",
      ["--preset", "development", "--sync", "always"],
      {},
      ["--sync is always", "--log is memory by the preset development"],
    ],
    [
      "a cut of the log that would repeat itself",
      [],
      { environment: { CORTEX_RECOVER_TO: "7" } },
      ["--recover-to on the command line"],
    ],
  ];
  test.each(rows)("config - %s is told by name, value and place", (_, argv, world, parts) => {
    const problems = bad(argv, world);
    expect(problems).toHaveLength(1);
    for (const part of parts) expect(problems[0]).toContain(part);
  });

  test("config - all mistakes are told at once", () => {
    const problems = bad(["--prot", "1", "--port", "x"], {
      environment: { CORTEX_LOG: "paper", CORTEX_CONFIG: "f" },
      files: { f: '{"grace": 1}' },
    });
    expect(problems).toHaveLength(4);
  });

  test("config - a token is never shown, right or wrong", () => {
    expect(bad(["--token", "has a space"]).join()).not.toContain("has a space");
  });

  test("config - a variable that only seems to be ours is a note, a foreign one is not", () => {
    const { notes } = good([], { environment: { CORTEX_PROT: "1", CORTEX_ELSEWHERE_URL: "x" } });
    expect(notes).toHaveLength(1);
    expect(notes[0]).toContain("did you mean CORTEX_PORT?");
  });
});

test("config - the token comes from its file, without the newline, and keeps where it came from", () => {
  const { values, from } = good(["--token-file", "f"], { files: { f: "s3cret\n" } });
  expect(values.token).toBe("s3cret");
  expect(from.token.name).toBe("--token-file");
});

test("config - the help names every option, with its default, and its variable where it has one", () => {
  const help = optionsHelp();
  for (const name of optionNames) {
    expect(help).toContain(`  ${flagOf(name)} `);
    expect(help.includes(environmentOf(name))).toBe(name !== "recoverTo" && name !== "recoverNamespace");
  }
});

test("config - the engine gets its own options, and no more", () => {
  const { values } = good(["--preset", "development", "--retention-count", "7"]);
  expect(engineConfig(values, "1.2.3")).toMatchObject({
    preset: "development",
    version: "1.2.3",
    heartbeatMs: 1000,
    retentionCount: 7,
  });
  expect(engineConfig(values, "1.2.3")).not.toHaveProperty("token");
  const archives = (...words: string[]) => engineConfig(good(words).values, "1").archives;
  expect(archives()).toBe(true);
  expect(archives("--preset", "production")).toBe(true);
  expect(archives("--preset", "development")).toBe(false);
  expect(archives("--archive-count", "0")).toBe(false);
});

const hosts: [string, boolean][] = [
  ["localhost", true],
  ["127.0.0.1", true],
  ["127.1.2.3", true],
  ["::1", true],
  ["0.0.0.0", false],
  ["::", false],
  ["127.0.0.1.example.org", false],
  ["192.168.0.1", false],
];
test.each(hosts)("config - %s is loopback: %p", (host, expected) => {
  expect(isLoopback(host)).toBe(expected);
});
