/** docs/PROTOCOL.md says what the source says. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { protocolFile, render } from "../../docs/generate.ts";
import { validate } from "../../src/engine/validate.ts";
import type { OperationName } from "../../src/wire/operations.ts";

const text = readFileSync(protocolFile, "utf8");

test("protocol - the generated parts are current", () => {
  expect(render(text)).toBe(text);
});

test("protocol - a part that is out of date is noticed", () => {
  expect(render(text.replace("Submit one task", "Submit a task"))).toBe(text);
  expect(() => render(text.replace("<!-- end: errors -->", ""))).toThrow("errors");
});

test("protocol - every value in a table says what it is", () => {
  const limits = text.slice(text.indexOf("generated: limits"), text.indexOf("end: limits"));
  expect(limits.split("\n").filter((line) => /\|\s*\|$/.test(line))).toEqual(["| limit | | |"]);
});

test("protocol - every example request would be taken", () => {
  const examples = [...text.matchAll(/```json\n(\[\{"op".*\])\n```/g)].map(
    ([, json]) => JSON.parse(json!)[0],
  );
  expect(examples.length).toBeGreaterThan(20);
  const refused = examples.filter(({ op, input }: { op: OperationName; input: unknown }) =>
    validate(op, input),
  );
  expect(refused).toEqual([]);
});

test("protocol - links within the page lead somewhere", () => {
  const headings = new Set(
    [...text.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
      title!
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-"),
    ),
  );
  const targets = [...text.matchAll(/\]\(#([^)]+)\)/g)].map(([, target]) => target!);
  expect(targets.filter((target) => !headings.has(target))).toEqual([]);
});
