/** Namespaces over HTTP: a line a route. They are about the daemon, so the Cortex-Namespace header says nothing here. */
import { Elysia } from "elysia";
import { administer } from "../engine/namespaces.ts";
import { NamespacePath } from "../wire/http.ts";
import { NamespaceRef } from "../wire/namespaces.ts";
import type { DaemonOperationName, Output } from "../wire/operations.ts";
import type { Port } from "./port.ts";
import { problemResponse } from "./problems.ts";
import { answers, doc, jsonText, told, unfenced } from "./route.ts";

export const namespaces = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/namespaces", normalize: false })
    .get("/", ({ request }) => run("namespace.list", {}, request), {
      response: answers("namespace.list"),
      detail: doc("namespace.list"),
    })
    .post("/", ({ body, request }) => run("namespace.create", body, request), {
      body: told(NamespaceRef),
      response: answers("namespace.create"),
      detail: doc("namespace.create"),
    })
    .delete("/:name", ({ params, request }) => run("namespace.drop", { namespace: params.name }, request), {
      params: told(NamespacePath),
      response: answers("namespace.drop"),
      detail: doc("namespace.drop", {
        description:
          "Answers once it is gone from the disk's folders. Whoever waits in it is answered `namespace-dropped`, and its connections are closed. Not to be repeated blindly: meanwhile there may be another of the same name.",
      }),
    });
};

const runs =
  (port: Port) =>
  async <N extends DaemonOperationName>(
    operation: N,
    input: unknown,
    request: Request,
  ): Promise<Output<N>> => {
    unfenced(request);
    const answer = await administer(port, operation, input);
    if ("error" in answer) return problemResponse(answer.error) as unknown as Output<N>;
    return jsonText<Output<N>>(answer.ok);
  };
