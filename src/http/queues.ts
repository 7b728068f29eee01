/** Queues over HTTP: a line a route. */
import { Elysia } from "elysia";
import type { Port } from "./port.ts";
import { answers, doc, runs } from "./route.ts";

export const queues = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/queues", normalize: false }).get(
    "/",
    ({ request }) => run("queue.list", {}, { request }),
    { response: answers("queue.list"), detail: doc("queue.list") },
  );
};
