/** docs/guides/cli.md says what `--help` says. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { cliFile, cliParts, render } from "../../docs/generate.ts";
import { flagOf, optionNames } from "../../src/config.ts";

test("cli - the reference is what the commands say of themselves: `bun docs/generate.ts` brings it up to date", () => {
  const text = readFileSync(cliFile, "utf8");
  expect(render(text, cliParts) === text).toBe(true);
  expect(text).toContain("### cortexd tasks submit\n");
});

test("cli - every option that a document names is one of a command or of the daemon", () => {
  const [ofText, inCode] = [/(--[a-z][a-z0-9-]*)/g, /`(--[a-z][a-z0-9-]*)/g];
  const flags = (file: string, pattern: RegExp) =>
    Array.from(readFileSync(file, "utf8").matchAll(pattern), ([, flag]) => flag as string);
  const known = new Set([...optionNames.map(flagOf), ...flags(cliFile, ofText)]);
  // Of Docker's.
  known.add("--profile");
  // These name those of the benchmarks and of the simulator, too.
  const others = ["docs/PERFORMANCE.md", "docs/track-record.md"];
  const files = ["*.md", "docs/*.md", "docs/guides/*.md"].flatMap((of) => [
    ...new Bun.Glob(of).scanSync("."),
  ]);
  const unknown = files
    .filter((file) => !others.includes(file))
    .flatMap((file) => flags(file, inCode).map((flag) => ({ file, flag })))
    .filter(({ flag }) => !known.has(flag));
  expect(files.length).toBeGreaterThan(20);
  expect(unknown).toEqual([]);
});
