/** docs/IMPORT.md says what the source says. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { importFile, importParts, render } from "../../docs/generate.ts";
import { mapping } from "../../src/cli/mapping.ts";

const text = readFileSync(importFile, "utf8");

test("import - the table of fields is current, and names every field", () => {
  expect(render(text, importParts)).toBe(text);
  for (const { field, names } of mapping) expect(text).toContain(`| ${field} | \`${names[0]}\``);
});

test("import - no name stands for two fields, but kind", () => {
  const names = mapping.flatMap((row) => row.names as readonly string[]);
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual(["kind"]);
});
