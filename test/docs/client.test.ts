/** docs/client.md says what the client's source says, and all that it exports. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import * as client from "../../client/index.ts";
import { clientFile, clientParts, render } from "../../docs/generate.ts";
import { declaration, exported } from "../../docs/reference.ts";

const text = readFileSync(clientFile, "utf8");

test("client reference - it is current: else run `bun docs/generate.ts`", () => {
  expect(render(text, clientParts)).toBe(text);
});

test("client reference - every name that the client's files offer is declared", () => {
  const names = exported().flatMap(({ file, names }) => names.map((name) => ({ file, name })));
  expect(names.length).toBeGreaterThan(80);
  expect(names.filter(({ file, name }) => declaration(file, name) === null)).toEqual([]);
});

test("client reference - every class and function that can be imported stands in it", () => {
  const values = Object.entries(client).filter(([, value]) => typeof value === "function");
  expect(values.length).toBeGreaterThan(20);
  const missing = values.filter(([name]) => !new RegExp(`^(class|function) ${name}\\b`, "m").test(text));
  expect(missing.map(([name]) => name)).toEqual([]);
});

test("client reference - every public method of the client stands in it, and nothing private or carried out", () => {
  const [, part] = /^class CoordinationClient [\s\S]*?\{\n([\s\S]*?)^\}/m.exec(text)!;
  const own = Object.getOwnPropertyNames(client.CoordinationClient.prototype);
  expect(own.length).toBeGreaterThan(30);
  expect(own.filter((name) => !new RegExp(`\\b${name}[(<]`).test(part!))).toEqual([]);
  expect(part).not.toContain("#");
  expect(part).not.toContain("return ");
});
