/**
 * Refusals on their way out: every one is `application/problem+json` with the fields of wire/errors.ts, whether
 * the engine, a guard, the framework or a bug is the cause. A bug's own message never leaves the process; it
 * goes to the report.
 */
import { type ErrorCode, type FieldError, type Problem, problem } from "../wire/errors.ts";
import { allowedMethods, type Route } from "./address.ts";

/** Thrown where a handler cannot return; onError answers it. */
export class Refusal extends Error {
  readonly problem: Problem;
  constructor(code: ErrorCode, detail: string, more?: { errors?: FieldError[]; retryAfterMs?: number }) {
    super(detail);
    this.problem = problem(code, detail, more);
  }
}

/** One field that is wrong. */
export const invalid = (pointer: string, detail: string) =>
  new Refusal("invalid-input", `${pointer}: ${detail}`, { errors: [{ pointer, detail }] });

export function problemResponse(body: Problem, more: Record<string, string> = {}): Response {
  const headers: Record<string, string> = { "content-type": "application/problem+json", ...more };
  if (body.status === 503) headers["retry-after"] = String(Math.ceil((body.retryAfterMs ?? 1000) / 1000));
  if (body.status === 401) headers["www-authenticate"] = "Bearer";
  return new Response(JSON.stringify(body), { status: body.status, headers });
}

export const refuse = (code: ErrorCode, detail: string, headers?: Record<string, string>) =>
  problemResponse(problem(code, detail), headers);

/** What the framework threw, as an answer; `report` hears of bugs. */
export function problemOfError(
  code: string | number,
  error: unknown,
  at: { method: string; path: string; routes: readonly Route[] },
  report: (error: unknown) => void,
): Response {
  // What the reading of the body threw comes wrapped.
  const refusal = code === "PARSE" ? (error as Error).cause : error;
  if (refusal instanceof Refusal) return problemResponse(refusal.problem);
  if (code === "NOT_FOUND") {
    const methods = allowedMethods(at.routes, at.path);
    if (methods.length === 0) return refuse("not-found", `There is nothing at ${at.path}.`);
    const allow = methods.join(", ");
    return refuse("method-not-allowed", `${at.path} takes ${allow}, not ${at.method}.`, { allow });
  }
  report(error);
  return refuse("internal", "The daemon met a bug; its log says more.");
}
