/** The options of `createCoordinator()`, read by the one table of options, so that each means what it means to `serve`. */
import { loadConfig, type OptionName, optionTable, type Values } from "../config.ts";

/** Options that are about ports, tokens and log lines mean nothing here. */
const groups = ["data", "tasks and workers", "limits"];
/** What the state may use where nothing is said: whoever embeds it has other things in memory too. */
const memoryBytes = 2 * 1024 ** 3;

/** The values of all options; throws with everything that is wrong with those given. */
export function valuesOf(options: { [name: string]: unknown }): Values {
  const strangers = Object.keys(options).filter((name) => {
    const row = Object.hasOwn(optionTable, name) ? optionTable[name as OptionName] : null;
    return row === null || !groups.includes(row.group);
  });
  const result = loadConfig({
    argv: ["--config", "the options of createCoordinator"],
    environment: {},
    readFile: () => JSON.stringify(options),
    machine: { memoryBytes },
  });
  const problems = [
    ...strangers.map((name) => `${JSON.stringify(name)} is no option of createCoordinator`),
    ...("problems" in result ? result.problems : []),
  ];
  if ("config" in result && problems.length === 0) return result.config.values;
  throw new Error(problems.join("\n"));
}
