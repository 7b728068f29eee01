/** Named limits over HTTP: a line a route. */
import { Elysia } from "elysia";
import { LimitPath, LimitPutBody } from "../wire/http.ts";
import { LimitList } from "../wire/queues.ts";
import type { Port } from "./port.ts";
import { answers, doc, fromText, runs, told, within } from "./route.ts";

export const limits = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/limits", normalize: false })
    .get("/", ({ query, request }) => run("limit.list", fromText(LimitList, query), { request }), {
      query: told(LimitList),
      response: answers("limit.list"),
      detail: doc("limit.list"),
    })
    .get("/:name", ({ params, request }) => run("limit.get", { name: params.name }, { request }), {
      params: told(LimitPath),
      response: answers("limit.get"),
      detail: doc("limit.get"),
    })
    .put(
      "/:name",
      ({ params, body, request }) => run("limit.put", within(body, { name: params.name }), { request }),
      {
        params: told(LimitPath),
        body: told(LimitPutBody),
        response: answers("limit.put"),
        detail: doc("limit.put", {
          description: "What is left out stays as it is; null resets it.",
        }),
      },
    )
    .delete("/:name", ({ params, request }) => run("limit.delete", { name: params.name }, { request }), {
      params: told(LimitPath),
      response: answers("limit.delete"),
      detail: doc("limit.delete"),
    });
};
