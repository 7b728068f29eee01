/**
 * The words after a command, read by its table: values, or everything that is wrong with them at once. Splitting
 * words into options and arguments is Node's `parseArgs`; what they may be stands in the table. Pure: the environment
 * and files come in from outside.
 */
import { type ParseArgsConfig, parseArgs } from "node:util";
import { durationText, kebab, readDuration } from "../config.ts";
import { nearest } from "../lib/nearest.ts";
import type { Address, Command, Option, Options, Values } from "./command.ts";

/** Every command has these. */
export const everyOption = {
  json: { type: "flag", help: "Print JSON for programs." },
} as const satisfies Options;

/** Those that only read have this one too. */
export const watchOption = {
  watch: { type: "flag", help: "Show it again as it changes, each second at most, until it is stopped." },
} as const satisfies Options;

/** The options of a command that talks to a daemon, each with its name in the environment. */
export const addressOptions = {
  url: {
    type: "text",
    unit: "URL",
    help: "Where the daemon's REST interface is. (default http://127.0.0.1:9500, CORTEX_URL)",
  },
  token: {
    type: "text",
    unit: "TOKEN",
    help: "The token to show. Others on the machine can read command lines: prefer --token-file. (CORTEX_TOKEN)",
  },
  tokenFile: { type: "text", unit: "FILE", help: "A file that holds the token. (CORTEX_TOKEN_FILE)" },
  namespace: {
    type: "text",
    unit: "NAME",
    help: "The namespace to work in. (default default, CORTEX_NAMESPACE)",
  },
} as const satisfies Options;

export const defaultUrl = "http://127.0.0.1:9500";

export type World = {
  environment: Record<string, string | undefined>;
  readFile: (path: string) => string;
};

export type Parsed = { words: string[]; values: Record<string, unknown>; to: Address; json: boolean };

export const flagOf = (name: string) => `--${kebab(name)}`;
export const optionsOfCommand = ({ options, client, watch }: Command): Options => ({
  ...options,
  ...(watch ? watchOption : {}),
  ...(client ? addressOptions : {}),
  ...everyOption,
});

/**
 * The words that are meant for `serve`, where a command takes those too. Every option of serve has a value, so the word
 * behind one is no word of the command.
 */
export function serveWords(command: Command, argv: readonly string[]): { own: string[]; serve: string[] } {
  if (command.serve === undefined) return { own: [...argv], serve: [] };
  const options = optionsOfCommand(command);
  const byFlag = new Map(Object.entries(options).map(([name, option]) => [flagOf(name), option]));
  const own: string[] = [];
  const serve: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    const isOption = word.startsWith("-") && word !== "-";
    const option = byFlag.get(word.split("=")[0]!);
    const to = isOption && option === undefined ? serve : own;
    to.push(word);
    const takesNext = isOption && option?.type !== "flag" && !word.includes("=");
    if (takesNext && argv[i + 1]?.startsWith("--") === false) to.push(argv[++i]!);
  }
  return { own, serve };
}

export function parse(
  command: Command,
  argv: readonly string[],
  world: World,
): Parsed | { problems: string[] } {
  const options = optionsOfCommand(command);
  const problems: string[] = [];
  const byFlag = new Map(Object.keys(options).map((name) => [kebab(name), name]));
  const { tokens } = parseArgs({
    args: [...argv],
    options: Object.fromEntries(
      [...byFlag].map(([flag, name]) => [
        flag,
        { type: options[name]!.type === "flag" ? "boolean" : "string" },
      ]),
    ) as ParseArgsConfig["options"],
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const words: string[] = [];
  const given = new Map<string, string[]>();
  let unknown = false;
  for (const token of tokens) {
    if (token.kind === "positional") words.push(token.value);
    if (token.kind !== "option") continue;
    const name = byFlag.get(token.name);
    const flag = token.rawName;
    if (name === undefined || !flag.startsWith("--")) {
      unknown = true;
      const near = nearest(
        flag,
        [...byFlag.keys()].map((one) => `--${one}`),
      );
      const more =
        near !== null
          ? `; did you mean ${near}?`
          : /^-[0-9]/.test(flag)
            ? "; if it is no option, put -- before it"
            : "";
      problems.push(`${flag} is not an option here${more}`);
    } else if (options[name]!.type === "flag") {
      if (token.inlineValue) problems.push(`${flag} takes no value`);
      given.set(name, []);
    } else if (token.value === undefined || (!token.inlineValue && token.value.startsWith("--"))) {
      problems.push(`${flag} needs a value: ${allowed(options[name]!)}`);
    } else {
      const many = options[name]!.type === "list" || options[name]!.type === "pairs";
      if (given.has(name) && !many) problems.push(`${flag} is given twice`);
      given.set(name, [...(given.get(name) ?? []), token.value]);
    }
  }
  const values: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(options)) {
    const texts = given.get(name);
    values[name] =
      option.type === "flag" ? texts !== undefined : "default" in option ? option.default : undefined;
    if (texts === undefined || option.type === "flag") continue;
    const value = meantBy(option, texts);
    if (value === undefined) {
      problems.push(`${flagOf(name)} is ${JSON.stringify(texts.join(" "))}; allowed is ${allowed(option)}`);
    }
    values[name] = value;
  }
  // The word after a mistyped option is its value, not a second mistake.
  if (!unknown) countWords(command, words, problems);
  const to = command.client ? address(values as Values<typeof addressOptions>, world, problems) : nowhere;
  if (problems.length > 0) return { problems };
  return { words, values, to, json: values.json === true };
}

const nowhere: Address = { url: defaultUrl, token: undefined, namespace: undefined };

function countWords({ arguments: taken }: Command, words: string[], problems: string[]): void {
  const needed = taken.filter(({ optional }) => !optional);
  const missing = needed.slice(words.length).map(({ name }) => name);
  if (missing.length > 0)
    problems.push(`${missing.join(" and ")} ${missing.length > 1 ? "are" : "is"} missing`);
  for (const [i, { name, choices }] of taken.entries()) {
    const word = words[i];
    if (word !== undefined && choices?.includes(word) === false)
      problems.push(`${name} is ${JSON.stringify(word)}; allowed is ${choices.join(", ")}`);
  }
  if (taken.some(({ many }) => many)) return;
  for (const word of words.slice(taken.length)) problems.push(`${JSON.stringify(word)} is one word too many`);
}

/** What an option takes, in words. */
export function allowed(option: Option): string {
  switch (option.type) {
    case "choice":
      return option.choices.join(", ");
    case "integer":
      return `a whole number${range(option, String)}`;
    case "number":
      return `a number${range(option, String)}`;
    case "duration":
      return `a time such as 500ms, 30s, 5m, 1h or 2d${range(option, durationText)}`;
    case "moment":
      return "a moment such as 2026-12-24T18:00Z, without the Z in the time of this machine";
    case "pairs":
      return "KEY=VALUE";
    case "json":
      return "JSON";
    case "list":
      return "one or more, with commas between them";
    default:
      return "a text that is not empty";
  }
}

function range({ min, max }: { min?: number; max?: number }, text: (value: number) => string): string {
  if (min !== undefined && max !== undefined) return ` from ${text(min)} to ${text(max)}`;
  return min === undefined ? "" : `, at least ${text(min)}`;
}

/** The value, or undefined if it is not allowed. */
function meantBy(option: Option, texts: string[]): unknown {
  const text = texts[0]!;
  switch (option.type) {
    case "choice":
      return option.choices.includes(text) ? text : undefined;
    case "integer":
      return /^-?[0-9]{1,16}$/.test(text) && Number.isSafeInteger(Number(text))
        ? between(option, Number(text))
        : undefined;
    case "number":
      return text.trim() === "" ? undefined : between(option, Number(text));
    case "duration":
      return between(option, readDuration(text));
    case "moment":
      return between(option, /^[0-9]+$/.test(text) ? Number(text) : Date.parse(text));
    case "list": {
      // Commas in brackets belong to the item: model in [a, b].
      const items = texts.flatMap((one) => one.split(/,(?![^[]*\])/)).map((item) => item.trim());
      return items.includes("") ? undefined : items;
    }
    case "pairs": {
      const pairs = texts.map((one) => /^([^=]+)=(.*)$/s.exec(one));
      return pairs.includes(null) ? undefined : Object.fromEntries(pairs.map((pair) => [pair![1], pair![2]]));
    }
    case "json":
      try {
        return JSON.parse(text) as unknown;
      } catch {
        return undefined;
      }
    default:
      return text.trim() === "" ? undefined : text;
  }
}

function between({ min, max }: { min?: number; max?: number }, value: number): number | undefined {
  if (!Number.isFinite(value)) return undefined;
  return value >= (min ?? value) && value <= (max ?? value) ? value : undefined;
}

/** The options beat the environment; of token and token file one is enough, and of both given alike neither wins. */
function address(values: Values<typeof addressOptions>, world: World, problems: string[]): Address {
  const from = (name: string) => world.environment[name] || undefined;
  const url = values.url ?? from("CORTEX_URL") ?? defaultUrl;
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    const source = values.url === undefined ? "CORTEX_URL" : "--url";
    problems.push(`${source} is ${JSON.stringify(url)}; allowed is an http address, such as ${defaultUrl}`);
  }
  const [token, file, source] =
    values.token !== undefined || values.tokenFile !== undefined
      ? [values.token, values.tokenFile, "--token and --token-file"]
      : [from("CORTEX_TOKEN"), from("CORTEX_TOKEN_FILE"), "CORTEX_TOKEN and CORTEX_TOKEN_FILE"];
  if (token !== undefined && file !== undefined) problems.push(`${source} are both given; give one`);
  return {
    url: url.replace(/\/+$/, ""),
    token: file === undefined ? token : tokenIn(file, world, problems),
    namespace: values.namespace ?? from("CORTEX_NAMESPACE"),
  };
}

function tokenIn(file: string, world: World, problems: string[]): string | undefined {
  try {
    return world.readFile(file).trim();
  } catch (error) {
    problems.push(`the token file ${file} cannot be read (${(error as { code?: string }).code ?? error})`);
  }
}
