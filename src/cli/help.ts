/**
 * What `cortexd help`, `--help` and `cortexd --version` print. All of it is derived: from the commands, the options,
 * the presets and the exits.
 */
import { optionsHelp, presets } from "../config.ts";
import type { Command, Group, Option, Options } from "./command.ts";
import type { Entries } from "./commands.ts";
import { exitHelp } from "./exit.ts";
import { addressOptions, allowed, everyOption, flagOf, watchOption } from "./parse.ts";
import { version } from "./version.ts";

export function helpText(commands: Entries): string {
  const list = Object.entries(commands).map(([name, entry]): [string, string] => [
    name,
    "commands" in entry ? `${entry.summary} (${Object.keys(entry.commands).join(", ")})` : entry.summary,
  ]);
  return `cortexd ${version}: tasks, workers and state in one process and one log.

  cortexd [serve] [options]              \`cortexd help serve\` lists its options.
  cortexd COMMAND [words] [options]      \`cortexd help COMMAND\` tells about one, with examples.

Commands:
${aligned(list)}

Exit codes:
${exitHelp()}
`;
}

export function serveHelp(): string {
  const presetList = Object.entries(presets).map(([name, { help }]): [string, string] => [name, help]);
  return `cortexd [serve] [options]

Run the daemon, until it is told to stop (Ctrl-C, SIGTERM).

Presets:
${aligned(presetList)}

An option beats the environment, that beats the file, that the preset, that the default.

  --config FILE
      Options as one JSON object, named as the flags are, in camelCase: {"port": 9500, "syncIntervalMs": "1s"}.
      (CORTEX_CONFIG)
${optionsHelp()}

Examples:
  cortexd serve
      On 127.0.0.1:9500, the data in ./cortex-data, each change synced before its answer.
  cortexd serve --preset development
      Nothing on disk.
  cortexd serve --host 0.0.0.0 --token-file /etc/cortexd/token --data /var/lib/cortexd
      For other machines.

\`cortexd config print\` says what it would run with, \`cortexd doctor\` what is wrong with it, \`cortexd help\` lists the exit codes.
`;
}

export const groupHelp = (name: string, group: Group): string => `cortexd ${name}: ${group.summary}

Commands:
${aligned(listed(group, name))}

\`cortexd help ${name} ${Object.keys(group.commands)[0]}\` tells about one, with examples.
`;

/** `alone`: with what all commands have in common. */
export function commandHelp(name: string, command: Command, alone = true): string {
  const { summary, arguments: taken, options, client, serve, watch, examples, json, tables = [] } = command;
  const words = taken.map(({ name, optional, many }) => {
    const word = many ? `${name}...` : name;
    return optional ? `[${word}]` : word;
  });
  const sections = [
    `cortexd ${[name, ...words].join(" ")} [options]\n\n${summary}`,
    section("Arguments", aligned(taken.map(({ name, help }) => [name, help]))),
    section(
      "Options",
      optionList({ ...options, ...(watch ? watchOption : {}), ...(alone ? everyOption : {}) }),
    ),
    client && alone ? section("Which daemon", optionList(addressOptions)) : "",
    serve ? section("Which data", serveText) : "",
    ...tables.map(({ title, rows }) => section(title, explained(rows))),
    `With --json: ${json}`,
    section(
      "Examples",
      examples.map(({ words, meaning }) => `  cortexd ${words}\n      ${meaning}`).join("\n"),
    ),
    alone ? "`cortexd help` lists the exit codes." : "",
  ];
  return `${sections.filter((one) => one !== "").join("\n\n")}\n`;
}

const serveText = `  Give the options, the environment and the file that the daemon is started with: --data FOLDER, --preset NAME,
  --config FILE. \`cortexd help serve\` lists all.`;

const section = (title: string, text: string) => (text === "" ? "" : `${title}:\n${text}`);

const listed = ({ commands }: Group, name: string): [string, string][] =>
  Object.entries(commands).map(([word, { summary }]) => [`${name} ${word}`, summary]);

function aligned(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([word]) => word.length));
  return rows.map(([word, help]) => `  ${word.padEnd(width)}  ${help}`).join("\n");
}

const explained = (rows: readonly (readonly [string, string])[]) =>
  rows.map(([word, help]) => `  ${word}\n${help.replaceAll(/^/gm, "      ")}`).join("\n");

function optionList(options: Options): string {
  return Object.entries(options)
    .map(([name, option]) => {
      const unit = option.type === "flag" ? "" : ` ${option.unit ?? units[option.type]}`;
      const plain = option.type === "flag" || option.type === "text" || option.type === "list";
      const takes = plain ? "" : `\n      (${allowed(option)})`;
      return `  ${flagOf(name)}${unit}\n      ${option.help}${takes}`;
    })
    .join("\n");
}

/** The placeholders. */
const units: Record<Exclude<Option["type"], "flag">, string> = {
  text: "TEXT",
  list: "A,B",
  integer: "COUNT",
  number: "NUMBER",
  duration: "TIME",
  moment: "MOMENT",
  choice: "CHOICE",
  pairs: "KEY=VALUE",
  json: "JSON",
};
