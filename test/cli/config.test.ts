/** The configuration's schema, and what `cortexd config` tells of it. */
import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Ajv from "ajv";
import { configSchema } from "../../src/config.ts";
import { runCortexd, temporaryFolder } from "../support/daemon.ts";

const root = join(import.meta.dir, "../..");
const valid = new Ajv({ strict: true }).compile(configSchema());

describe("schema", () => {
  test("schema - the one in docs is current, and the one that is printed", async () => {
    const text = readFileSync(join(root, "docs/config.schema.json"), "utf8");
    expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(configSchema())));
    expect(JSON.parse((await runCortexd(["config", "schema"])).output)).toEqual(JSON.parse(text));
  });
  const rows: [object, boolean][] = [
    [{ $schema: "./config.schema.json", port: 9500, silenceMs: "1m", preset: "durable" }, true],
    [{ allowOrigin: ["https://a.example"], historyBytesMax: "64MiB" }, true],
    [{ prot: 9500 }, false],
    [{ port: 70_000 }, false],
    [{ preset: "fast" }, false],
    [{ silenceMs: "1 fortnight" }, false],
    [{ recoverTo: 7 }, false],
  ];
  test.each(rows)("schema - %j is valid: %p, and the daemon thinks so too", async (file, expected) => {
    expect(valid(file)).toBe(expected);
    const path = join(temporaryFolder(), "config.json");
    writeFileSync(path, JSON.stringify(file));
    expect((await runCortexd(["config", "check", "--config", path])).code).toBe(expected ? 0 : 2);
  });
});

describe("config", () => {
  test("config - check tells every mistake at once", async () => {
    const { code, errors } = await runCortexd(["config", "check", "--prot", "1", "--log", "paper"]);
    expect(code).toBe(2);
    expect(errors).toContain("2 mistakes");
  });
  test("config - print says where each value came from, and shows no secret", async () => {
    const environment = { CORTEX_WS_PORT: "9777", CORTEX_TOKEN: "s3cret" };
    const words = ["config", "print", "--port", "9555", "--preset", "production", "--json"];
    const { output } = await runCortexd(words, { environment });
    const told = JSON.parse(output);
    expect(told.port).toMatchObject({ value: 9555, kind: "option", from: "--port" });
    expect(told.wsPort).toMatchObject({ value: 9777, kind: "environment" });
    expect(told.log).toMatchObject({ value: "snapshot", kind: "preset" });
    expect(told.graceMs).toMatchObject({ kind: "default" });
    expect(output).not.toContain("s3cret");
    expect((await runCortexd(words.slice(0, 2), { environment })).output).not.toContain("s3cret");
  });
});
