/**
 * Writes the parts of the documents that stand in the source already: operations, objects, errors, limits and close codes
 * (PROTOCOL.md); the fields of imported tasks (IMPORT.md); the client from its types (client.md); the commands
 * (guides/cli.md). Each stands between two markers; the prose around them is written by hand. `bun docs/generate.ts` brings
 * the files up to date; tests compare.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OptionalKind, type TSchema } from "@sinclair/typebox";
import { commands, loaded } from "../src/cli/commands.ts";
import { exitTable } from "../src/cli/exit.ts";
import { commandHelp, serveHelp } from "../src/cli/help.ts";
import { mapping } from "../src/cli/mapping.ts";
import { errorTable } from "../src/wire/errors.ts";
import { closeCodes } from "../src/wire/frames.ts";
import { limits } from "../src/wire/limits.ts";
import { commonErrors, mutationErrors, objects, operationNames, operations } from "../src/wire/operations.ts";
import { namePattern } from "../src/wire/schema.ts";
import * as state from "../src/wire/state.ts";
import * as tasks from "../src/wire/tasks.ts";
import { clientText } from "./reference.ts";

const root = join(import.meta.dir, "..");
export const protocolFile = join(root, "docs/PROTOCOL.md");
export const importFile = join(root, "docs/IMPORT.md");
export const clientFile = join(root, "docs/client.md");
export const cliFile = join(root, "docs/guides/cli.md");

/** Beside what operations use, what only events carry. */
const described: Record<string, TSchema> = { ...objects, Change: state.ChangeView };
/** What one name says better than its pattern. */
const words: [TSchema | string, string][] = [
  [tasks.TaskId, "task id"],
  [tasks.TaskStateSchema, "task state"],
  [tasks.PrioritySchema, "priority"],
];

/** Descriptions differ from place to place; the shape is what is compared. */
const shapeOf = (schema: TSchema): string =>
  JSON.stringify(schema, (key, value) => (key === "description" || key === "examples" ? undefined : value));
const named = new Map(Object.entries(described).map(([name, schema]) => [shapeOf(schema), name]));
const worded = new Map(words.map(([schema, word]) => [shapeOf(schema as TSchema), word]));

const range = (schema: TSchema) => {
  const { minimum, maximum } = schema;
  if (minimum === undefined && maximum === undefined) return "";
  return maximum === undefined ? ` ≥ ${minimum}` : ` ${minimum}…${maximum}`;
};

function typeOf(schema: TSchema): string {
  const shape = shapeOf(schema);
  const object = named.get(shape);
  if (object !== undefined) return `[${object}](#${object.toLowerCase()})`;
  const word = worded.get(shape);
  if (word !== undefined) return word;
  if (schema.anyOf !== undefined) return [...new Set((schema.anyOf as TSchema[]).map(typeOf))].join(" or ");
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``;
  switch (schema.type) {
    case "array": {
      const most = schema.maxItems === undefined ? "" : `, at most ${schema.maxItems}`;
      return `list of ${typeOf(schema.items)}${schema.minItems ? `, at least ${schema.minItems}` : ""}${most}`;
    }
    case "string":
      if (schema.pattern === namePattern) return "name";
      return schema.maxLength === undefined ? "text" : `text, at most ${schema.maxLength} characters`;
    case "integer":
      return `integer${range(schema)}`;
    case "number":
      return `number${range(schema)}`;
    case "boolean":
      return "true or false";
    case "null":
      return "null";
    case "object":
      return schema.patternProperties === undefined ? "object" : "object of texts by name";
    default:
      return "any JSON value";
  }
}

const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("\n", " ");

/** A row a field; the fields of an object that has no name of its own follow it. */
function fieldsOf(schema: TSchema, prefix = ""): string[] {
  return Object.entries((schema.properties ?? {}) as Record<string, TSchema>).flatMap(([name, field]) => {
    const path = `${prefix}${name}`;
    const need = OptionalKind in field ? "optional" : "always";
    // What may be null says what it is beside the null.
    const said = field.description ?? (field.anyOf as TSchema[] | undefined)?.[0]?.description ?? "";
    const row = `| \`${path}\` | ${cell(typeOf(field))} | ${need} | ${cell(said)} |`;
    const within = field.type === "array" ? (field.items as TSchema) : field;
    if (within.properties === undefined || named.has(shapeOf(within))) return [row];
    return [row, ...fieldsOf(within, field.type === "array" ? `${path}[].` : `${path}.`)];
  });
}

function tableOf(schema: TSchema): string {
  const rows = fieldsOf(schema);
  return ["| field | type | | |", "|---|---|---|---|", ...rows].join("\n");
}

/** A schema that is an object without a name is a table; any other is its type. */
function bodyOf(title: string, schema: TSchema): string {
  const isTable = schema.properties !== undefined && !named.has(shapeOf(schema));
  if (isTable && Object.keys(schema.properties).length === 0) return `**${title}**: \`{}\``;
  return isTable ? `**${title}**\n\n${tableOf(schema)}` : `**${title}**: ${typeOf(schema)}`;
}

function operationsText(): string {
  const parts = operationNames.map((name) => {
    const { kind, input, output, errors, summary, example } = operations[name];
    const own = errors.length === 0 ? "only the common ones" : errors.map((code) => `\`${code}\``).join(", ");
    return [
      `### \`${name}\``,
      `${summary} *(${kind})*`,
      bodyOf("Input", input),
      bodyOf("Output", output),
      `**Errors**: ${own}`,
      `\`\`\`json\n[${JSON.stringify({ op: name, seq: 7, input: example })}]\n\`\`\``,
    ].join("\n\n");
  });
  return parts.join("\n\n");
}

const objectsText = () =>
  Object.entries(described)
    .map(([name, schema]) => `### ${name}\n\n${tableOf(schema)}`)
    .join("\n\n");

const errorsText = () =>
  [
    "| code | status | may be repeated | what it says | what to do |",
    "|---|---|---|---|---|",
    ...Object.entries(errorTable).map(
      ([code, { status, retryable, title, hint }]) =>
        `| \`${code}\` | ${status} | ${retryable ? "yes" : "no"} | ${cell(title)}. | ${cell(hint)} |`,
    ),
    "",
    `Any operation: ${commonErrors.map((code) => `\`${code}\``).join(", ")}. ` +
      `Any mutation beside them: ${mutationErrors.map((code) => `\`${code}\``).join(", ")}. ` +
      "A read that was on its way as the disk became full gets `disk-full`, too: it had seen what was undone.",
  ].join("\n");

/** The comment above each field of an object in a source file. */
function commentsIn(file: string, object: string): Map<string, string> {
  const text = readFileSync(join(root, file), "utf8");
  const start = text.indexOf(`export const ${object} = {`);
  const body = text.slice(start, text.indexOf("\n}", start));
  const comments = new Map<string, string>();
  let comment = "";
  for (const [, said, name] of body.matchAll(/\/\*\*\s*([\s\S]*?)\s*\*\/|^ {2}(\w+):/gm)) {
    if (said !== undefined) comment = said.replace(/\s*\n\s*\*\s*/g, " ");
    else if (name !== undefined) {
      comments.set(name, comment);
      comment = "";
    }
  }
  return comments;
}

function valuesText(file: string, object: string, values: Record<string, number>, title: string): string {
  const comments = commentsIn(file, object);
  return [
    `| ${title} | | |`,
    "|---|---|---|",
    ...Object.entries(values).map(
      ([name, value]) => `| \`${name}\` | ${value} | ${cell(comments.get(name) ?? "")} |`,
    ),
  ].join("\n");
}

function fieldsText(): string {
  const rows = mapping.map(({ field, names, help }) => {
    const known = names.map((name) => `\`${name}\``).join(", ");
    return `| ${field} | ${known} | ${cell(help)} |`;
  });
  return ["| field | names | |", "|---|---|---|", ...rows].join("\n");
}

type Parts = Record<string, () => string>;
const protocolParts: Parts = {
  operations: operationsText,
  objects: objectsText,
  errors: errorsText,
  limits: () => valuesText("src/wire/limits.ts", "limits", limits, "limit"),
  "close codes": () => valuesText("src/wire/frames.ts", "closeCodes", closeCodes, "code"),
};
export const importParts: Parts = { fields: fieldsText };
export const clientParts: Parts = { declarations: clientText };

const entries = await loaded(commands);

/** What `cortexd help COMMAND` says, a heading a command. */
function commandsText(): string {
  const block = (name: string, help: string) => `### ${name}\n\n\`\`\`\n${help.trimEnd()}\n\`\`\``;
  return Object.entries(entries)
    .flatMap(([name, entry]) => {
      if ("raw" in entry) return [`## ${name}`, block(`cortexd ${name}`, serveHelp())];
      if (!("commands" in entry))
        return [`## ${name}`, block(`cortexd ${name}`, commandHelp(name, entry, false))];
      const own = Object.entries(entry.commands).map(([word, one]) =>
        block(`cortexd ${name} ${word}`, commandHelp(`${name} ${word}`, one, false)),
      );
      return [`## ${name}\n\n${entry.summary}`, ...own];
    })
    .join("\n\n");
}

const exitsText = () =>
  [
    "| code | name | what it says |",
    "|---|---|---|",
    ...Object.entries(exitTable).map(([name, { code, help }]) => `| ${code} | \`${name}\` | ${cell(help)} |`),
  ].join("\n");
export const cliParts: Parts = { "exit codes": exitsText, commands: commandsText };

/** The document with every generated part as the source has it now. */
export function render(document: string, parts: Parts = protocolParts): string {
  let text = document;
  for (const [name, part] of Object.entries(parts)) {
    const from = `<!-- generated: ${name} -->`;
    const to = `<!-- end: ${name} -->`;
    const start = text.indexOf(from);
    const end = text.indexOf(to);
    if (start === -1 || end < start) throw new Error(`the document has no place for: ${name}`);
    text = `${text.slice(0, start + from.length)}\n\n${part()}\n\n${text.slice(end)}`;
  }
  return text;
}

if (import.meta.main) {
  writeFileSync(protocolFile, render(readFileSync(protocolFile, "utf8")));
  writeFileSync(importFile, render(readFileSync(importFile, "utf8"), importParts));
  writeFileSync(clientFile, render(readFileSync(clientFile, "utf8"), clientParts));
  writeFileSync(cliFile, render(readFileSync(cliFile, "utf8"), cliParts));
}
