/** Subscriptions that last over HTTP: a line a route. To be delivered to needs a connection; to look after them does not. */
import { Elysia } from "elysia";
import { SubscriptionPath, SubscriptionPutBody } from "../wire/http.ts";
import * as wire from "../wire/subscriptions.ts";
import type { Port } from "./port.ts";
import { answers, doc, fromText, runs, told, within } from "./route.ts";

export const subscriptions = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/subscriptions", normalize: false })
    .get(
      "/",
      ({ query, request }) => run("subscription.list", fromText(wire.SubscriptionList, query), { request }),
      {
        query: told(wire.SubscriptionList),
        response: answers("subscription.list"),
        detail: doc("subscription.list"),
      },
    )
    .get("/:name", ({ params, request }) => run("subscription.get", params, { request }), {
      params: told(SubscriptionPath),
      response: answers("subscription.get"),
      detail: doc("subscription.get"),
    })
    .put(
      "/:name",
      ({ params, body, request }) => run("subscription.put", within(body, params), { request }),
      {
        params: told(SubscriptionPath),
        body: told(SubscriptionPutBody),
        response: answers("subscription.put"),
        detail: doc("subscription.put"),
      },
    )
    .delete("/:name", ({ params, request }) => run("subscription.delete", params, { request }), {
      params: told(SubscriptionPath),
      response: answers("subscription.delete"),
      detail: doc("subscription.delete"),
    });
};
