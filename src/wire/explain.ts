/**
 * Says in words what is wrong with a value that a schema refused: a JSON pointer and a sentence for each field,
 * as HTTP and WebSocket answer them. It walks the schema itself, because the schema library answers a union
 * (one task or an array of them) with "expected union value" and nothing that a person could mend. It knows the
 * kinds of schema.ts and no others; it never changes the value and never walks into a value of any kind (Json).
 * Slow beside a compiled check: call it only for what that check refused.
 */
import { Kind, type TSchema } from "@sinclair/typebox";
import { nearest } from "../lib/nearest.ts";
import type { FieldError } from "./errors.ts";
import { limits } from "./limits.ts";
import {
  addresseePattern,
  archiveCursorPattern,
  cronPattern,
  dependencyCursorPattern,
  keyPattern,
  labelFilterPattern,
  labelPattern,
  namePartPattern,
  namePattern,
  namespacePattern,
  pageCursorPattern,
  subscriptionPattern,
  taskIdPattern,
  topicPattern,
  topicPatternPattern,
  traceparentPattern,
  tracestatePattern,
  uniquePartPattern,
  waitPattern,
} from "./schema.ts";

/** As many as a person will mend in one go; a thousand wrong tasks are not worth a thousand lines. */
export const fieldErrorsMax = 20;

const nameInWords =
  "must start with a letter, a digit or _, go on with letters, digits and . _ : @ / + -, and not be __proto__, constructor or prototype";

/** Patterns in words; one that is not listed here is shown as it is. */
const patterns: Record<string, string> = {
  [namePattern]: nameInWords,
  [labelPattern]: `${nameInWords}, in at most ${limits.nameLengthMax} characters`,
  [namePartPattern]:
    "must be how a name begins: a letter, a digit or _, then letters, digits and . _ : @ / + -",
  [addresseePattern]: "must be a worker's id, or * for all of them",
  [subscriptionPattern]: "must be a subscription's name, or $worker. and the id of a worker",
  // Of tasks, messages and locks alike.
  [taskIdPattern]: "must be an id as it was answered, such as 1042-0",
  [cronPattern]: "must be a cron pattern, such as 30 2 * * MON-FRI",
  [namespacePattern]: "must be of a to z, 0 to 9, - and _, and begin with a letter or digit",
  [uniquePartPattern]:
    "must be queue, type, group, payload, or a JSON pointer into the payload such as /order/id",
  [keyPattern]: 'must be of printable ASCII characters, without spaces, quotes (") and backslashes',
  [topicPattern]:
    "must be tokens with dots between them, at most 16, each of letters, digits and _ : @ / + = ~ -",
  [topicPatternPattern]:
    "must be a topic in which * stands for one token, and > at the end for one or more, such as jobs.*.done or jobs.>",
  [labelFilterPattern]: "must be a label's name, or NAME=VALUE",
  [traceparentPattern]:
    "must be a traceparent, such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  [tracestatePattern]: "must be of printable ASCII characters",
  [waitPattern]: "must be a time such as 500ms, 30s or 2m",
  [dependencyCursorPattern]: "must be the cursor of the page before, as it was answered",
  [pageCursorPattern]: "must be the cursor of the page before, as it was answered",
  [archiveCursorPattern]: "must be the cursor of the page before, as it was answered",
};
const counted = (items: number) => (items === 1 ? "1 item" : `${items} items`);
const patternInWords = (pattern: string) => patterns[pattern] ?? `must match ${pattern}`;

/** What else is said to who takes a worker's inbox for a topic. */
const toWorkers: Record<string, string> = {
  [topicPattern]: "; to send to a worker, give its id as workerId in its place",
  [topicPatternPattern]:
    "; what is sent to a worker has no topic: watch it by workerId, with messages in tables, or have it under the subscription $worker.ID",
};
const aside = (pattern: string, text: string) =>
  text.startsWith("$worker") ? (toWorkers[pattern] ?? "") : "";

type Found = Generator<FieldError, void>;
type Schemas = Record<string, TSchema>;

/** Empty if and only if the value fits the schema. */
export function explain(schema: TSchema, value: unknown): FieldError[] {
  return walk(schema, value, "").take(fieldErrorsMax).toArray();
}

/** One sentence for `detail`: the first field, and how many more there are. */
export function explainInWords(errors: readonly FieldError[]): string {
  const [first] = errors;
  if (first === undefined) return "The input does not fit the operation.";
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : "";
  return `${first.pointer === "" ? "The input" : first.pointer}: ${first.detail}${more}`;
}

function* walk(schema: TSchema, value: unknown, pointer: string): Found {
  switch (schema[Kind]) {
    case "Unknown":
      return;
    case "Integer":
    case "Number":
      return yield* walkNumber(schema, value, pointer);
    case "String":
      return yield* walkString(schema, value, pointer);
    case "Array":
      return yield* walkArray(schema, value, pointer);
    case "Object":
      return yield* walkObject(schema, value, pointer);
    case "Record":
      return yield* walkRecord(schema, value, pointer);
    case "Union":
      return yield* walkUnion(schema, value, pointer);
    case "Null":
    case "Boolean":
    case "Literal":
      if (!kindFits(schema, value)) yield wrongKind([schema], pointer);
      return;
    default:
      throw new Error(`explain does not know the schema kind ${String(schema[Kind])}`);
  }
}

function* walkNumber(schema: TSchema, value: unknown, pointer: string): Found {
  if (!kindFits(schema, value)) yield wrongKind([schema], pointer);
  else {
    if (schema.minimum > (value as number)) yield { pointer, detail: `must be at least ${schema.minimum}` };
    if (schema.maximum < (value as number)) yield { pointer, detail: `must be at most ${schema.maximum}` };
  }
}

function* walkString(schema: TSchema, value: unknown, pointer: string): Found {
  if (typeof value !== "string") yield wrongKind([schema], pointer);
  else if (schema.minLength > 0 && value === "") yield { pointer, detail: "must not be empty" };
  else {
    const { minLength, maxLength, pattern } = schema;
    if (minLength > value.length) yield { pointer, detail: `must have at least ${minLength} characters` };
    if (maxLength < value.length) yield { pointer, detail: `must have at most ${maxLength} characters` };
    if (pattern !== undefined && !new RegExp(pattern).test(value)) {
      yield { pointer, detail: patternInWords(pattern) + aside(pattern, value) };
    }
  }
}

function* walkArray(schema: TSchema, value: unknown, pointer: string): Found {
  if (!Array.isArray(value)) return yield wrongKind([schema], pointer);
  const { minItems, maxItems } = schema;
  if (minItems > value.length) yield { pointer, detail: `must have at least ${counted(minItems)}` };
  // Too many are not looked at one by one.
  if (maxItems < value.length) return yield { pointer, detail: `must have at most ${counted(maxItems)}` };
  for (const [index, item] of value.entries()) yield* walk(schema.items, item, `${pointer}/${index}`);
  if (schema.uniqueItems !== true) return;
  // The schemas ask for unique names only, and what is no name is told above.
  const seen = new Set<unknown>();
  for (const [index, item] of value.entries()) {
    if (typeof item === "string" && seen.has(item))
      yield { pointer: `${pointer}/${index}`, detail: "is there twice" };
    seen.add(item);
  }
}

function* walkObject(schema: TSchema, value: unknown, pointer: string): Found {
  if (!isObject(value)) return yield wrongKind([schema], pointer);
  const properties = schema.properties as Schemas;
  const required = (schema.required ?? []) as string[];
  for (const name of required) {
    if (!Object.hasOwn(value, name)) yield { pointer: pointer + segment(name), detail: "is missing" };
  }
  for (const name of Object.keys(value)) {
    const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (property === undefined) {
      if (schema.additionalProperties === false) {
        yield { pointer: pointer + segment(name), detail: unknownField(name, properties) };
      }
    } else if (value[name] !== undefined || required.includes(name)) {
      yield* walk(property, value[name], pointer + segment(name));
    }
  }
}

function* walkRecord(schema: TSchema, value: unknown, pointer: string): Found {
  if (!isObject(value)) return yield wrongKind([schema], pointer);
  const names = Object.keys(value);
  const { maxProperties } = schema;
  if (maxProperties < names.length) yield { pointer, detail: `must have at most ${maxProperties} fields` };
  const [pattern, item] = Object.entries(schema.patternProperties as Schemas)[0]!;
  for (const name of names) {
    const at = pointer + segment(name);
    if (new RegExp(pattern).test(name)) yield* walk(item, value[name], at);
    else if (schema.additionalProperties === false) {
      yield { pointer: at, detail: `is a name that ${patternInWords(pattern)}` };
    }
  }
}

function* walkUnion(schema: TSchema, value: unknown, pointer: string): Found {
  const branches = schema.anyOf as TSchema[];
  let nearest: FieldError[] | null = null;
  for (const branch of branches) {
    const found = walk(branch, value, pointer).take(fieldErrorsMax).toArray();
    if (found.length === 0) return;
    // A branch of the value's own type says best what is wrong inside.
    if (kindFits(branch, value) && (nearest === null || found.length < nearest.length)) nearest = found;
  }
  if (nearest === null) yield wrongKind(branches, pointer);
  else yield* nearest;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isWhole = (schema: TSchema) => schema[Kind] === "Integer" || schema.multipleOf === 1;

function kindFits(schema: TSchema, value: unknown): boolean {
  switch (schema[Kind]) {
    case "Object":
    case "Record":
      return isObject(value);
    case "Array":
      return Array.isArray(value);
    case "Integer":
    case "Number":
      return isWhole(schema) ? Number.isInteger(value) : Number.isFinite(value);
    case "String":
      return typeof value === "string";
    case "Boolean":
      return typeof value === "boolean";
    case "Null":
      return value === null;
    case "Literal":
      return value === schema.const;
    case "Union":
      return (schema.anyOf as TSchema[]).some((branch) => kindFits(branch, value));
    default:
      return true;
  }
}

const kindsInWords: Record<string, string> = {
  Object: "an object",
  Record: "an object",
  Array: "an array",
  String: "a string",
  Boolean: "true or false",
  Null: "null",
};

/** Whoever sends a date learns how moments are written. */
const numberInWords = (schema: TSchema): string =>
  !isWhole(schema)
    ? "a number"
    : schema.maximum === limits.momentMax
      ? "a moment in whole ms since 1970"
      : "a whole number";

function wrongKind(schemas: readonly TSchema[], pointer: string): FieldError {
  const flat = schemas.flatMap((schema) =>
    schema[Kind] === "Union" ? (schema.anyOf as TSchema[]) : [schema],
  );
  const literals = flat.filter((schema) => schema[Kind] === "Literal").map((schema) => schema.const);
  const kinds = flat
    .filter((schema) => schema[Kind] !== "Literal")
    .map((schema) => kindsInWords[schema[Kind]] ?? numberInWords(schema));
  const choice = literals.length > 1 ? [`one of ${literals.join(", ")}`] : literals;
  return { pointer, detail: `must be ${[...new Set([...choice, ...kinds])].join(" or ")}` };
}

/** Names the field that was probably meant: a near one, or the one this name shortens. */
function unknownField(name: string, properties: Schemas): string {
  const known = Object.keys(properties);
  const shortened = name.length > 2 ? known.find((other) => other.startsWith(name.toLowerCase())) : undefined;
  const meant = nearest(name, known) ?? shortened;
  return meant ? `unknown field; did you mean ${meant}?` : "unknown field";
}

/** A name as part of a JSON pointer. */
export const segment = (name: string) => `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
