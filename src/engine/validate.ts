/**
 * Compiled validation: one check function an operation, made when it is first asked for. To make all of them takes a
 * tenth of a second, and most processes that load this, such as a command or a test, never ask for most.
 */

import type { TSchema } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";
import { nearest } from "../lib/nearest.ts";
import { type FieldError, type Problem, problem } from "../wire/errors.ts";
import { explain, explainInWords, fieldErrorsMax } from "../wire/explain.ts";
import { Fence } from "../wire/fences.ts";
import {
  type Input,
  isOperation,
  notAStep,
  type OperationName,
  operationNames,
  operations,
} from "../wire/operations.ts";
import type { Step } from "../wire/transactions.ts";
import { filterErrors } from "./filters.ts";

const checks = Object.fromEntries(operationNames.map((name) => [name, null])) as Record<
  OperationName,
  TypeCheck<TSchema> | null
>;

function checkOf(name: OperationName): TypeCheck<TSchema> {
  let check = checks[name];
  if (check === null) {
    check = TypeCompiler.Compile(operations[name].input as TSchema);
    checks[name] = check;
  }
  return check;
}

let fences: TypeCheck<typeof Fence> | null = null;
export function isFence(value: unknown): value is Fence {
  fences ??= TypeCompiler.Compile(Fence);
  return fences.Check(value);
}

/** null when the input fits the operation. */
export function validate(operation: OperationName, input: unknown): Problem | null {
  const errors = checkOf(operation).Check(input)
    ? errorsBeside(operation, input)
    : explain(operations[operation].input, input);
  if (errors === null || errors.length === 0) return null;
  return problem("invalid-input", explainInWords(errors), { errors });
}

/** What no schema says; null: of this operation a schema says it all. */
function errorsBeside(operation: OperationName, input: unknown): FieldError[] | null {
  if (operation === "transaction.run") return stepErrors(input as Input<"transaction.run">);
  return operation === "watch.start" ? filterErrors(input as Input<"watch.start">) : null;
}

/** What is wrong with the operations of a transaction, in both of its branches: no schema says what may be which. */
function stepErrors(input: Input<"transaction.run">): FieldError[] {
  const errors: FieldError[] = [];
  for (const branch of ["then", "else"] as const)
    for (const [i, step] of (input[branch] ?? []).entries()) {
      if (errors.length >= fieldErrorsMax) return errors;
      errors.push(...errorsOf(step, `/${branch}/${i}`));
    }
  return errors.slice(0, fieldErrorsMax);
}

function errorsOf({ operation, input = {} }: Step, pointer: string): FieldError[] {
  const wrong = (field: string, detail: string) => [{ pointer: pointer + field, detail }];
  if (!isOperation(operation)) {
    const meant = nearest(operation, operationNames);
    return wrong("/operation", `is no operation${meant ? `; did you mean ${meant}?` : ""}`);
  }
  const reason = notAStep(operation);
  if (reason !== null) return wrong("/operation", `${operation} cannot be part of a transaction: ${reason}`);
  if (!checkOf(operation).Check(input))
    return explain(operations[operation].input, input).map((error) => ({
      ...error,
      pointer: `${pointer}/input${error.pointer}`,
    }));
  const { waitMs } = input as { waitMs?: number };
  return waitMs ? wrong("/input/waitMs", "must be left out: a transaction waits for nothing") : [];
}
