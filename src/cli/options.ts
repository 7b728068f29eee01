/**
 * Options read off the schema of an operation's input: what the wire takes the command line takes, in the words of
 * the wire. A field's unit or kind at the end of its name is left off (`delayMs` is `--delay 5m`, `workerId` is
 * `--worker`, `labels` is `--label KEY=VALUE` as often as wanted). A field that is added to the schema is an option without a line here.
 */
import { Kind, type TSchema } from "@sinclair/typebox";
import { limits } from "../wire/limits.ts";
import type { Option } from "./command.ts";

type Fields<S extends TSchema> = keyof NonNullable<S["static"]> & string;
type Shortened<N extends string> = N extends "stickyMs"
  ? "stickyFor"
  : N extends `${infer S}Ms`
    ? S
    : N extends `${infer S}Id`
      ? S
      : N extends "capabilities"
        ? "capability"
        : N extends "labels"
          ? "label"
          : N extends "requires"
            ? "require"
            : N extends "prefers"
              ? "prefer"
              : N extends `${infer S}Codes`
                ? `${S}Code`
                : N;
type Derived<N extends string> = { [F in N as Shortened<F>]: Option };

export const nameOf = (field: string) => plurals[field] ?? field.replace(/(Ms|Id)$/, "");
/** What is given once for each is named as one. */
const plurals: Record<string, string> = {
  capabilities: "capability",
  labels: "label",
  finalCodes: "finalCode",
  retryCodes: "retryCode",
  requires: "require",
  prefers: "prefer",
  // Without its unit it would be the name it goes with.
  stickyMs: "stickyFor",
};

export function optionsOf<S extends TSchema, const Without extends Fields<S>>(
  schema: S,
  without: readonly Without[],
): Derived<Exclude<Fields<S>, Without>> {
  const rows = Object.entries(schema.properties as Record<string, TSchema>)
    .filter(([field]) => !(without as readonly string[]).includes(field))
    .map(([field, of]) => [nameOf(field), optionOf(field, of)]);
  return Object.fromEntries(rows);
}

function optionOf(field: string, of: TSchema): Option {
  const help = of.description ?? "";
  switch (of[Kind]) {
    case "Integer":
      if (field.endsWith("Ms"))
        return { type: "duration", help, min: of.minimum ?? 0, max: of.maximum ?? limits.durationMsMax };
      return { type: isMoment(field) ? "moment" : "integer", help, min: of.minimum, max: of.maximum };
    case "Array":
      return { type: "list", help };
    case "Record":
      return { type: "pairs", help };
    case "Boolean":
      return { type: "flag", help };
    case "String":
      return { type: "text", help };
    case "Union": {
      const choices = (of.anyOf as TSchema[]).map(({ const: value }) => value);
      if (choices.every((choice) => typeof choice === "string")) return { type: "choice", choices, help };
    }
  }
  return { type: "json", help };
}

const isMoment = (field: string) => /(At|Before|After)$/.test(field) || field === "from";

/** The input's fields that were given, under their names on the wire. */
export function inputOf<S extends TSchema>(schema: S, values: Record<string, unknown>): Partial<S["static"]> {
  const given = Object.keys(schema.properties as object)
    .map((field) => [field, values[nameOf(field)]])
    .filter(([, value]) => value !== undefined && value !== false);
  return Object.fromEntries(given) as Partial<S["static"]>;
}
