/**
 * What a command is, in one table each: its arguments, its options, what it prints for programs, examples. Parsing,
 * `--help` and every error about the words are derived from it (parse.ts, help.ts). Nothing is done here. A command
 * with `client` talks to a daemon that runs: it gets the options that say which one, and never opens a data folder. One
 * with `serve` works on what a daemon would be started with, and takes the options of `serve` beside its own.
 */
import type { Config } from "../config.ts";
import type { ExitName } from "./exit.ts";
import type { Output } from "./output.ts";

type Common = { help: string; unit?: string };
export type Option =
  | (Common & { type: "flag" })
  | (Common & { type: "text"; default?: string })
  | (Common & { type: "list"; default?: readonly string[] })
  | (Common & { type: "integer" | "number"; default?: number; min?: number; max?: number })
  /** Milliseconds, written with a unit. */
  | (Common & { type: "duration"; default?: number; min?: number; max?: number })
  /** Ms since 1970, written as a date or as such. */
  | (Common & { type: "moment"; default?: number; min?: number; max?: number })
  | (Common & { type: "choice"; choices: readonly string[]; default?: string })
  /** KEY=VALUE, given as often as wanted. */
  | (Common & { type: "pairs"; default?: Readonly<Record<string, string>> })
  | (Common & { type: "json"; default?: unknown });
export type Options = Readonly<Record<string, Option>>;

type Base = {
  flag: boolean;
  text: string;
  list: string[];
  integer: number;
  number: number;
  duration: number;
  moment: number;
  choice: string;
  pairs: Record<string, string>;
  json: unknown;
};
export type ValueOf<O extends Option> =
  | (O extends { type: "choice"; choices: readonly (infer C)[] } ? C : Base[O["type"]])
  | (O extends { type: "flag" } | { default: unknown } ? never : undefined);
export type Values<O extends Options> = { [N in keyof O]: ValueOf<O[N]> };

export type Argument = {
  name: string;
  help: string;
  optional?: true;
  many?: true;
  /** The only words it may be. */
  choices?: readonly string[];
};

/** Which daemon, and who asks. */
export type Address = { url: string; token: string | undefined; namespace: string | undefined };

export type Given<O extends Options> = {
  /** The words that are no options, as many as `arguments` allows. */
  words: string[];
  values: Values<O>;
  to: Address;
  /** What the options of `serve`, the environment and the file come to; of a command with `serve`. */
  config(): Config;
  out: Output;
};

export type Command = {
  summary: string;
  arguments: readonly Argument[];
  options: Options;
  client: boolean;
  serve?: true;
  /** It only reads, and can be told to show again what has changed. */
  watch?: true;
  /** What `--json` prints. */
  json: string;
  /** What else its help lists: a word, and lines about it. */
  tables?: readonly { title: string; rows: readonly (readonly [string, string])[] }[];
  examples: readonly { words: string; meaning: string }[];
  /** Resolves with how it ended, if not well, or with another program's exit code; an expected failure is thrown as an Exit. */
  run(given: Given<Options>): Promise<ExitName | number | undefined>;
};

/** A command whose values have the types of its options. */
export function command<const O extends Options>(
  row: Omit<Command, "options" | "run"> & {
    options: O;
    run(given: Given<O>): Promise<ExitName | number | undefined>;
  },
): Command {
  return row as unknown as Command;
}

export type Group = {
  summary: string;
  commands: Readonly<Record<string, Command>>;
  /** The command that is meant when none is named. */
  alone?: string;
};
/** Reads its words itself. */
export type Raw = { summary: string; raw(argv: string[]): Promise<void> };
export type Entry = Command | Group | Raw;
