/** Graphs over HTTP: the tasks of one have routes of their own. */
import { Elysia } from "elysia";
import { GraphSubmit } from "../wire/graphs.ts";
import type { Port } from "./port.ts";
import { answers, doc, runs, told, traced } from "./route.ts";

export const graphs = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/graphs", normalize: false }).post(
    "/",
    ({ body, request }) => run("graph.submit", traced(body, request) as typeof body, { request }),
    {
      body: told(GraphSubmit),
      response: answers("graph.submit"),
      detail: doc("graph.submit", {
        description:
          "For many tasks: it answers their ids. For up to a thousand, POST /api/tasks with an array takes the same and answers the tasks.",
      }),
    },
  );
};
