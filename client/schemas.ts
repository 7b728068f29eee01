/**
 * Payloads and results held against a schema: of any library that speaks Standard Schema, or TypeBox's own checker. It
 * knows those two shapes and imports neither, so that the client needs nothing. What goes over the wire is what was
 * given; what a schema makes of it (a default, a number out of a text) is made on the side that reads it.
 */

/** What a value is checked by, as the libraries agreed on it (standardschema.dev): Zod, Valibot, ArkType and others. */
export type StandardSchema<Given = unknown, Made = Given> = {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<Made> | Promise<StandardResult<Made>>;
    readonly types?: { readonly input: Given; readonly output: Made } | undefined;
  };
};
export type StandardResult<Made> =
  | { readonly value: Made; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] };
export type StandardIssue = {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
};

/** A TypeBox schema with what checks it: what `TypeCompiler.Compile(Schema)` makes, or `typebox(Schema, Value)`. */
export type Checker<T = unknown> = {
  Check(value: unknown): value is T;
  Errors(value: unknown): Iterable<{ message: string; path?: string; instancePath?: string }>;
};

export type Schema = StandardSchema | Checker;

type TypesOf<S> = S extends { readonly "~standard": { readonly types?: infer T } }
  ? NonNullable<T>
  : S extends Checker<infer T>
    ? { readonly input: T; readonly output: T }
    : unknown;
/** What may be given to a schema. */
export type Given<S> = TypesOf<S> extends { readonly input: infer T } ? T : unknown;
/** What a schema makes of it. */
export type Made<S> = TypesOf<S> extends { readonly output: infer T } ? T : unknown;

/** TypeBox's `Value`, as much of it as is used. */
export type TypeBoxValue<S> = {
  Check(schema: S, value: unknown): boolean;
  Errors(schema: S, value: unknown): ReturnType<Checker["Errors"]>;
};

/** A TypeBox schema that `Value` checks: slower than a compiled one, and it runs where no code may be made. */
export const typebox = <S extends { static: unknown }>(
  schema: S,
  value: TypeBoxValue<NoInfer<S>>,
): Checker<S["static"]> => ({
  Check: (given): given is S["static"] => value.Check(schema, given),
  Errors: (given) => value.Errors(schema, given),
});

/** One thing that is wrong with a value: where, as `to.name`, or "" for the value itself; and what. */
export type Issue = { path: string; message: string };

/** A payload or a result does not fit its schema. It would not fit the next time either, so the task is not tried again. */
export class Invalid extends Error {
  override name = "Invalid";
  readonly final = true;
  readonly code: "invalid-payload" | "invalid-result";

  constructor(
    readonly part: "payload" | "result",
    readonly type: string,
    readonly issues: readonly Issue[],
  ) {
    const shown = issues
      .slice(0, shownMax)
      .map(({ path, message }) => (path === "" ? message : `${path}: ${message}`));
    if (issues.length > shownMax) shown.push("and more");
    super(`the ${part} of ${type} does not fit: ${shown.join("; ")}`);
    this.code = `invalid-${part}`;
  }
}

const shownMax = 10;

/** What checks one part of one type of tasks; it is a promise where the schema's own check is one. */
export type Check = (value: unknown) => unknown;

/** The check of a schema; without one everything is as it was given. */
export function checkOf(schema: Schema | undefined, part: Invalid["part"], type: string): Check {
  if (schema === undefined) return (value) => value;
  if ("~standard" in schema) {
    const made = (result: StandardResult<unknown>) => {
      if (result.issues === undefined) return result.value;
      throw new Invalid(part, type, result.issues.map(issueOf));
    };
    return (value) => {
      const result = schema["~standard"].validate(value);
      return result instanceof Promise ? result.then(made) : made(result);
    };
  }
  if (typeof schema.Check !== "function")
    throw new TypeError(
      `the ${part} of ${type} has no schema that can be checked: give one with "~standard", or for TypeBox ` +
        "TypeCompiler.Compile(Schema) or typebox(Schema, Value)",
    );
  return (value) => {
    if (schema.Check(value)) return value;
    throw new Invalid(part, type, issuesOf(schema.Errors(value)));
  };
}

const issueOf = ({ message, path = [] }: StandardIssue): Issue => ({
  path: path.map((step) => String(typeof step === "object" ? step.key : step)).join("."),
  message,
});

function issuesOf(errors: ReturnType<Checker["Errors"]>): Issue[] {
  const issues: Issue[] = [];
  for (const { message, path, instancePath = path ?? "" } of errors) {
    issues.push({ path: instancePath.slice(1).replaceAll("/", "."), message });
    // They are found one by one, and a large value may have as many as it has parts.
    if (issues.length > shownMax) break;
  }
  return issues;
}
