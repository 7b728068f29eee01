/** docs/guides/cli.md says what `--help` says. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { cliFile, cliParts, render } from "../../docs/generate.ts";

test("cli - the reference is what the commands say of themselves: `bun docs/generate.ts` brings it up to date", () => {
  const text = readFileSync(cliFile, "utf8");
  expect(render(text, cliParts) === text).toBe(true);
  expect(text).toContain("### cortexd tasks submit\n");
});
