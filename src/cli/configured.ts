/**
 * The configuration of this process, as `serve` takes it and every command that looks into a data folder: the words,
 * the environment, the file. Whatever is wrong with it is told at once, and nothing is touched.
 */
import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { type Config, isLoopback, isTokenMade, loadConfig } from "../config.ts";
import { Exit } from "./exit.ts";

/** The configuration from all its sources; whatever is wrong with it is told at once. */
export function configured(argv: readonly string[]): Config {
  const result = loadConfig({
    argv,
    environment: process.env,
    readFile: (path) => readFileSync(path, "utf8"),
    machine: { memoryBytes: memoryBytes() },
  });
  if ("problems" in result) {
    const many = result.problems.length > 1 ? `${result.problems.length} mistakes` : "a mistake";
    throw new Exit(
      "usage",
      `${many} in the configuration:\n${result.problems.map((one) => `  ${one}`).join("\n")}`,
      "`cortexd help serve` lists the options.",
    );
  }
  const { values, from } = result.config;
  if (values.token === null && !isTokenMade(values) && !isLoopback(values.host)) {
    throw new Exit(
      "usage",
      `${from.host.name} is ${values.host}, which other machines can reach, and there is no token: anyone could come in.`,
      "Give `--token-file FILE` (or `--token TOKEN`), or listen on this machine alone: `--host 127.0.0.1`.",
    );
  }
  return result.config;
}

/** What this process may use: a container's limit where there is one. */
function memoryBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 && limit < totalmem() ? limit : totalmem();
}
