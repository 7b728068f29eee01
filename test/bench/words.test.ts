/** The words that benchmarks are started with: what `--help` tells, and what they refuse before anything runs. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { startProgram } from "../support/daemon.ts";

const run = (program: string, ...args: string[]) =>
  startProgram([process.execPath, join(import.meta.dir, "../../bench", program), ...args]).ended;

describe("bench words", () => {
  const programs: [program: string, command: string, options: string[]][] = [
    ["main.ts", "bun run bench", ["smoke", "guard", "json", "only", "rounds", "profile"]],
    ["versus/main.ts", "bun bench/versus/main.ts", ["only", "seconds", "rounds", "in-flight", "json"]],
    [
      "versus/shared/main.ts",
      "bun bench/versus/shared/main.ts",
      ["only", "measure", "setting", "seconds", "warm", "rounds", "in-flight", "json"],
    ],
  ];
  test.each(programs)("bench words - %s tells its options", async (program, command, options) => {
    const { code, output, errors } = await run(program, "--help");
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    expect(output).toStartWith(`${command} [options]: `);
    expect([...output.matchAll(/^ {2}--([a-z-]+) .*\.$/gm)].map(([, name]) => name)).toEqual([
      ...options,
      "help",
    ]);
  });

  test.each(programs)("bench words - %s refuses an option that there is not", async (program, command) => {
    expect(await run(program, "--turns", "3")).toMatchObject({
      code: 2,
      output: "",
      errors: `Unknown option '--turns': ${command} --help tells what there is\n`,
    });
  });

  const wrong: [says: string, words: string[], errors: RegExp][] = [
    ["a word that is no option", ["fast"], /^Unexpected argument 'fast': bun run bench --help /],
    ["an option without its value", ["--rounds"], /^Option '--rounds <value>' argument missing: bun run /],
    ["rounds that are no number", ["--rounds", "few"], /^--rounds is a whole number from 1 on\n$/],
    ["a benchmark that there is not", ["--only", "memory,pour"], /^there is no benchmark pour; there are /],
  ];
  test.each(wrong)("bench words - %s is refused in a line", async (_says, words, errors) => {
    const ended = await run("main.ts", ...words);
    expect({ code: ended.code, output: ended.output }).toEqual({ code: 2, output: "" });
    expect(ended.errors).toMatch(errors);
    expect(ended.errors.trimEnd().split("\n")).toHaveLength(1);
  });
});
