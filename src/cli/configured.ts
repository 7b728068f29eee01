/**
 * The configuration of this process, as `serve` takes it and every command that looks into a data folder: the words,
 * the environment, the file. Whatever is wrong with it is told at once, and nothing is touched.
 */
import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { type Config, isLoopback, loadConfig } from "../config.ts";
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
      "`cortexd help` lists the options.",
    );
  }
  const { values, from } = result.config;
  if (values.token === null && !isLoopback(values.host)) {
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

/** Words of a command that takes the options of serve too: so many words that are no options first, and its own flags. */
export function ownWords(
  argv: readonly string[],
  names: readonly string[],
): { words: string[]; json: boolean; namespace: string | undefined; config: Config } {
  const rest = [...argv];
  const words: string[] = [];
  while (words.length < names.length && rest[0] !== undefined && !rest[0].startsWith("-"))
    words.push(rest.shift()!);
  const missing = names[words.length];
  if (missing !== undefined) {
    throw new Exit("usage", `${missing} is missing`, "`cortexd help` shows how the command is called.");
  }
  const json = rest.includes("--json");
  const namespaceAt = rest.indexOf("--namespace");
  const namespace = namespaceAt < 0 ? undefined : rest[namespaceAt + 1];
  const forConfig = rest.filter(
    (word, i) => word !== "--json" && (namespaceAt < 0 || (i !== namespaceAt && i !== namespaceAt + 1)),
  );
  return { words, json, namespace, config: configured(forConfig) };
}
