/**
 * Frames over HTTP: the messages of the WebSocket as one request, for clients that cannot have a WebSocket. The
 * route reads the headers; what a frame means is the business of posts.ts.
 */
import { Elysia } from "elysia";
import { FrameAnswer, FrameBody, FrameHeaders, ProblemBody } from "../wire/http.ts";
import { limits } from "../wire/limits.ts";
import { namePattern } from "../wire/schema.ts";
import type { Port } from "./port.ts";
import { Posts } from "./posts.ts";
import { invalid, problemResponse } from "./problems.ts";
import { docOf, jsonText, told } from "./route.ts";

export const framesPath = "/api/frames";

export const frames = (port: Port) => {
  const posts = new Posts(port);
  return new Elysia({ normalize: false }).post(
    framesPath,
    async ({ body, request, server }) => {
      const taken = await posts.take(body, {
        session: named(request.headers, "cortex-session") ?? "",
        connection: named(request.headers, "cortex-connection"),
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

const name = new RegExp(namePattern);

function named(headers: Headers, header: string): string | null {
  const text = headers.get(header);
  if (text === null || (name.test(text) && text.length <= limits.nameLengthMax)) return text;
  throw invalid(`/${header}`, `must be a name of at most ${limits.nameLengthMax} characters`);
}
