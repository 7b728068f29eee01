/**
 * What an operation of the core gives back: its output as JSON text, or a problem. Text, because the answer is
 * written once and then sent, kept for a repeated request and logged as it is.
 */

import { withinDepth } from "../lib/json.ts";
import { type ErrorCode, type Problem, type ProblemDetails, problem } from "../wire/errors.ts";
import { limits } from "../wire/limits.ts";

export type Refusal = { error: Problem };
export type Result = { ok: string } | Refusal;

export const refuse = (code: ErrorCode, detail: string, more?: ProblemDetails): Refusal => ({
  error: problem(code, detail, more),
});

/** For what no schema can say: a field is wrong; "" points at the whole input. */
export function invalid(pointer: string, detail: string): Refusal {
  const about = pointer === "" ? "" : `${pointer}: `;
  return refuse("invalid-input", `${about}${detail}`, { errors: [{ pointer, detail }] });
}

/** A page of what is listed by name under `field`: `names` gives those from one on in their order, `textOf` each as it is shown. */
export function pageByName(
  field: string,
  { prefix = "", cursor, limit = 100 }: { prefix?: string; cursor?: string; limit?: number },
  names: (from: string) => Iterable<string>,
  textOf: (name: string) => string,
): Result {
  const texts: string[] = [];
  let last = "";
  for (const name of names(cursor !== undefined && cursor > prefix ? cursor : prefix)) {
    if (name === cursor) continue;
    if (!name.startsWith(prefix)) break;
    if (texts.length === limit) return { ok: `{"${field}":[${texts.join(",")}],"cursor":"${last}"}` };
    texts.push(textOf(name));
    last = name;
  }
  return { ok: `{"${field}":[${texts.join(",")}],"cursor":null}` };
}

/** A JSON value as text, or why it cannot be kept. `what` names it for the caller ("payload"). */
export function textOf(value: unknown, what: string): { text: string } | Refusal {
  if (value === undefined || value === null) return { text: "null" };
  if (!withinDepth(value, limits.depthMax))
    return refuse("payload-too-deep", `${what} nests deeper than ${limits.depthMax} levels`);
  const text = JSON.stringify(value);
  if (text.length > limits.payloadBytesMax)
    return refuse(
      "payload-too-large",
      `${what} is ${text.length} bytes of JSON; at most ${limits.payloadBytesMax} are kept`,
    );
  return { text };
}
