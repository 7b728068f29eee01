/**
 * Frames over HTTP: the messages of the WebSocket as one request, for clients that cannot have a WebSocket. The
 * route reads the headers; what a frame means is the business of posts.ts.
 */
import { Elysia } from "elysia";
import { greetingRefused } from "../engine/frames.ts";
import { validate } from "../engine/validate.ts";
import { FrameAnswer, FrameBody, FrameHeaders, ProblemBody } from "../wire/http.ts";
import { limits } from "../wire/limits.ts";
import { type Input, isOperation, makesNamespace } from "../wire/operations.ts";
import { namePattern } from "../wire/schema.ts";
import type { Port } from "./port.ts";
import { Posts } from "./posts.ts";
import { invalid, problemResponse } from "./problems.ts";
import { docOf, jsonText, keptFor, portOf, told } from "./route.ts";

export const framesPath = "/api/frames";

export const frames = (port: Port) => {
  const postsOf = keptFor((there) => new Posts(there));
  postsOf(port);
  return new Elysia({ normalize: false }).post(
    framesPath,
    async ({ body, request, server }) => {
      const session = named(request.headers, "cortex-session") ?? "";
      const connection = named(request.headers, "cortex-connection");
      const there = await portOf(port, request, () => begins(body, session));
      const taken = await postsOf(there).take(body, {
        ...{ session, connection },
        signal: request.signal,
        // The server ends a quiet connection after some seconds; this one is quiet on purpose.
        waits: () => server?.timeout(request, 0),
      });
      if (typeof taken === "string") return jsonText<typeof FrameAnswer.static>(taken);
      return problemResponse(taken) as unknown as typeof FrameAnswer.static;
    },
    {
      body: told(FrameBody),
      headers: told(FrameHeaders),
      response: { 200: told(FrameAnswer), 401: told(ProblemBody) },
      detail: docOf(
        "frames",
        "frames",
        "Send a frame of the WebSocket's messages, and get the frame of all their answers.",
        "For clients that cannot have a WebSocket: the same operations under the same sessions. docs/PROTOCOL.md describes it under *Frames over HTTP*.",
      ),
    },
  );
};

/** Whether what the frame holds may be the first in a namespace: a greeting, or a change that makes it. */
const begins = (frame: unknown, session: string): boolean =>
  [frame].flat().some((message) => {
    const { op, input = {} } = (message ?? {}) as { op?: unknown; input?: unknown };
    if (!isOperation(op) || validate(op, input) !== null) return false;
    if (op !== "session.hello") return makesNamespace(op);
    const hello = input as Input<"session.hello">;
    return hello.create !== false && greetingRefused(hello, session, null) === null;
  });

const name = new RegExp(namePattern);

function named(headers: Headers, header: string): string | null {
  const text = headers.get(header);
  if (text === null || (name.test(text) && text.length <= limits.nameLengthMax)) return text;
  throw invalid(`/${header}`, `must be a name of at most ${limits.nameLengthMax} characters`);
}
