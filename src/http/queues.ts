/** Queues over HTTP: a line a route. */
import { Elysia } from "elysia";
import { GroupQuery, QueueConfigureBody, QueuePath, QueuePauseBody, QueueResumeBody } from "../wire/http.ts";
import { QueueList } from "../wire/queues.ts";
import type { Port } from "./port.ts";
import { answers, doc, fromText, runs, told, within } from "./route.ts";

export const queues = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/queues", normalize: false })
    .get("/", ({ query, request }) => run("queue.list", fromText(QueueList, query), { request }), {
      query: told(QueueList),
      response: answers("queue.list"),
      detail: doc("queue.list"),
    })
    .get("/:name", ({ params, request }) => run("queue.get", { queue: params.name }, { request }), {
      params: told(QueuePath),
      response: answers("queue.get"),
      detail: doc("queue.get"),
    })
    .patch(
      "/:name",
      ({ params, body, request }) =>
        run("queue.configure", within(body, { queue: params.name }), { request }),
      {
        params: told(QueuePath),
        body: told(QueueConfigureBody),
        response: answers("queue.configure"),
        detail: doc("queue.configure", {
          description:
            "What is left out stays as it is; null resets a setting. The queue need not be there yet.",
        }),
      },
    )
    .get(
      "/:name/groups",
      ({ params, query, request }) =>
        run("queue.groups", { ...fromText(GroupQuery, query), queue: params.name }, { request }),
      {
        params: told(QueuePath),
        query: told(GroupQuery),
        response: answers("queue.groups"),
        detail: doc("queue.groups"),
      },
    )
    .post(
      "/:name/pause",
      ({ params, body, request }) => run("queue.pause", within(body, { queue: params.name }), { request }),
      {
        params: told(QueuePath),
        body: told(QueuePauseBody),
        response: answers("queue.pause"),
        detail: doc("queue.pause"),
      },
    )
    .post(
      "/:name/resume",
      ({ params, body, request }) => run("queue.resume", within(body, { queue: params.name }), { request }),
      {
        params: told(QueuePath),
        body: told(QueueResumeBody),
        response: answers("queue.resume"),
        detail: doc("queue.resume"),
      },
    );
};
