/** The archive over HTTP: a line a route. */
import { Elysia } from "elysia";
import * as wire from "../wire/archive.ts";
import type { Port } from "./port.ts";
import { answers, doc, fromText, runs, told } from "./route.ts";

export const archive = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/archive", normalize: false }).get(
    "/",
    ({ query, request }) => run("archive.list", fromText(wire.ArchiveList, query), { request }),
    {
      query: told(wire.ArchiveList),
      response: answers("archive.list"),
      detail: doc("archive.list", {
        description:
          "Tasks that have ended leave memory after `retentionMs`, or when a queue has more than `retentionCount` of them, and are kept here for `archiveMs`, at most `archiveCount` of them. A daemon without a disk, or with an `archiveCount` of 0, answers 404.",
      }),
    },
  );
};
