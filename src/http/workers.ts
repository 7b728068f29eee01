/** Workers over HTTP: a line a route. */
import { Elysia } from "elysia";
import { WorkerDrainBody, WorkerPath } from "../wire/http.ts";
import * as wire from "../wire/workers.ts";
import type { Port } from "./port.ts";
import { answers, doc, fromText, runs, told, within } from "./route.ts";

export const workers = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/workers", normalize: false })
    .get("/", ({ query, request }) => run("worker.list", fromText(wire.WorkerList, query), { request }), {
      query: told(wire.WorkerList),
      response: answers("worker.list"),
      detail: doc("worker.list"),
    })
    .get("/:id", ({ params, request }) => run("worker.get", { workerId: params.id }, { request }), {
      params: told(WorkerPath),
      response: answers("worker.get"),
      detail: doc("worker.get"),
    })
    .post("/register", ({ body, request }) => run("worker.register", body, { request }), {
      body: told(wire.WorkerRegister),
      response: answers("worker.register"),
      detail: doc("worker.register", {
        description: "A worker registered over HTTP alone is not pushed to: it claims, or is assigned.",
      }),
    })
    .post("/unregister", ({ body, request }) => run("worker.unregister", body, { request }), {
      body: told(wire.WorkerRef),
      response: answers("worker.unregister"),
      detail: doc("worker.unregister"),
    })
    .post("/heartbeat", ({ body, request }) => run("worker.heartbeat", body, { request }), {
      body: told(wire.WorkerHeartbeat),
      response: answers("worker.heartbeat"),
      detail: doc("worker.heartbeat"),
    })
    .post(
      "/:id/drain",
      ({ params, body, request }) => run("worker.drain", within(body, { workerId: params.id }), { request }),
      {
        params: told(WorkerPath),
        body: told(WorkerDrainBody),
        response: answers("worker.drain"),
        detail: doc("worker.drain"),
      },
    );
};
