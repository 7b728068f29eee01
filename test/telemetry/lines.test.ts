/** Log lines, for people and for programs. */
import { expect, test } from "bun:test";
import { createLines, type LinesOptions } from "../../src/telemetry/lines.ts";

function capture(options: Partial<LinesOptions>) {
  const written: string[] = [];
  const lines = createLines({
    level: "info",
    format: "text",
    now: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6),
    write: (line) => written.push(line),
    ...options,
  });
  return { lines, written };
}

test("lines - a text line has time, level, event, sentence and fields", () => {
  const { lines, written } = capture({});
  lines.info("serve.ready", { port: 9500, data: "a folder", absent: undefined });
  expect(written).toEqual([
    '2026-01-02T03:04:05.006Z info  serve.ready · cortexd takes requests port=9500 data="a folder"\n',
  ]);
});

test("lines - a JSON line is one object on one line, whatever it holds", () => {
  const { lines, written } = capture({ format: "json" });
  lines.error("log.failed", { detail: "two\nlines" });
  expect(written).toHaveLength(1);
  expect(written[0]!.indexOf("\n")).toBe(written[0]!.length - 1);
  expect(JSON.parse(written[0]!)).toEqual({
    at: "2026-01-02T03:04:05.006Z",
    level: "error",
    event: "log.failed",
    message: "The log is beyond use",
    detail: "two\nlines",
  });
});

test("lines - below the level nothing is written", () => {
  const { lines, written } = capture({ level: "warn" });
  lines.debug("socket.opened");
  lines.info("serve.ready");
  lines.warn("log.full");
  expect(written.map((line) => line.split(" ")[1])).toEqual(["warn"]);
});

test("lines - a field cannot break a text line in two", () => {
  const { lines, written } = capture({});
  lines.warn("socket.closed", { reason: 'x\n2026 error "y"=1' });
  expect(written[0]!.trimEnd()).not.toContain("\n");
});
