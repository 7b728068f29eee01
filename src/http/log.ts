/** The log as history over HTTP: a line a route. */
import { Elysia } from "elysia";
import * as wire from "../wire/log.ts";
import type { Port } from "./port.ts";
import { answers, doc, fromText, runs, told } from "./route.ts";

export const log = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/log", normalize: false }).get(
    "/",
    ({ query, request }) => run("log.read", fromText(wire.LogRead, query), { request }),
    {
      query: told(wire.LogRead),
      response: answers("log.read"),
      detail: doc("log.read", {
        description:
          "Entries are kept for `historyMs`, at most `historyBytesMax` of them. A daemon that keeps no entries answers an empty page.",
      }),
    },
  );
};
