/** What `cortexd help` and `cortexd --version` print. All of it is derived: from the options, the presets and the exits. */
import pkg from "../../package.json" with { type: "json" };
import { optionsHelp, presets } from "../config.ts";
import { exitHelp } from "./exit.ts";

export const version: string = pkg.version;

export function helpText(commands: Record<string, string>): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  const list = Object.entries(commands).map(([name, help]) => `  ${name.padEnd(width)}  ${help}`);
  const presetList = Object.entries(presets).map(([name, { help }]) => `  ${name.padEnd(17)}  ${help}`);
  return `cortexd ${version}: tasks, workers and state in one process and one log.

  cortexd [serve] [options]

Commands:
${list.join("\n")}

Presets:
${presetList.join("\n")}

Options of serve. An option beats the environment, that beats the file, that the preset, that the default.

  --config FILE
      Options as one JSON object, named as the flags are, in camelCase: {"port": 9500, "syncIntervalMs": "1s"}.
      (CORTEX_CONFIG)
${optionsHelp()}

Exit codes:
${exitHelp()}
`;
}
