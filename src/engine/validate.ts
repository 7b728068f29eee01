/** Compiled validation: one check function an operation, made when the program loads. */

import type { TSchema } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";
import { type Problem, problem } from "../wire/errors.ts";
import { explain, explainInWords } from "../wire/explain.ts";
import { Fence } from "../wire/fences.ts";
import { type OperationName, operationNames, operations } from "../wire/operations.ts";

const checks = Object.fromEntries(
  operationNames.map((name) => [name, TypeCompiler.Compile(operations[name].input as TSchema)]),
) as Record<OperationName, TypeCheck<TSchema>>;

const fences = TypeCompiler.Compile(Fence);
export const isFence = (value: unknown): value is Fence => fences.Check(value);

/** null when the input fits the operation. */
export function validate(operation: OperationName, input: unknown): Problem | null {
  if (checks[operation].Check(input)) return null;
  const errors = explain(operations[operation].input, input);
  return problem("invalid-input", explainInWords(errors), { errors });
}
