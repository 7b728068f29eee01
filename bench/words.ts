/**
 * The words that a benchmark is started with: its options are one table, from which `--help` is written too. What is none
 * of them ends the process with one line and the code 2, before anything runs.
 */
import { parseArgs } from "node:util";

type Option = {
  type: "boolean" | "string";
  /** What stands behind it, in the help. */
  value?: string;
  multiple?: boolean;
  default?: string | string[] | boolean;
  help: string;
};

export const flag = (help: string) => ({ type: "boolean", default: false, help }) as const;
export const number = (byDefault: string, help: string) =>
  ({ type: "string", value: "N", default: byDefault, help }) as const;
/** Names, parted by commas; not given: all of them. */
export const someOf = (all: object, help: string) =>
  ({ type: "string", value: "NAMES", default: Object.keys(all).join(","), help }) as const;
export const json = flag("Print one JSON object.");

export function refused(why: string): never {
  console.error(why);
  process.exit(2);
}

/** What the words say of the options; ends the process for `--help`, and where they are wrong. */
export function given<const T extends Record<string, Option>>(command: string, about: string, table: T) {
  const options = { ...table, help: flag("Print this.") };
  try {
    const { values } = parseArgs<{ options: T }>({ options });
    if ((values as { help?: boolean }).help !== true) return values;
  } catch (error) {
    const [what] = (error as Error).message.split(". ");
    refused(`${what}: ${command} --help tells what there is`);
  }
  console.log(usage(command, about, options));
  process.exit(0);
}

function usage(command: string, about: string, options: Record<string, Option>): string {
  const names = Object.entries(options).map(([name, { value }]) => `--${name}${value ? ` ${value}` : ""}`);
  const width = Math.max(...names.map((name) => name.length)) + 2;
  const lines = Object.values(options).map(({ help, default: byDefault }, i) => {
    const unless = typeof byDefault === "string" ? ` Default: ${byDefault}.` : "";
    return `  ${names[i]!.padEnd(width)}${help}${unless}`;
  });
  return [`${command} [options]: ${about}`, "", ...lines].join("\n");
}
