/** Keys over HTTP: a line a route. The revision of a key is its ETag, and what compares it are the usual headers. */
import { Elysia } from "elysia";
import { KeyPath, KvDeleteQuery, KvIncrementBody, KvPutBody } from "../wire/http.ts";
import * as wire from "../wire/kv.ts";
import type { Port } from "./port.ts";
import { invalid } from "./problems.ts";
import { answers, checks, doc, fromText, runs, told, wholeOf, within } from "./route.ts";

const deleteQuery = checks<{ ifRevision?: number }>(KvDeleteQuery);

export const kv = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/kv", normalize: false })
    .get("/", ({ query, request }) => run("kv.list", fromText(wire.KvList, query), { request }), {
      query: told(wire.KvList),
      response: answers("kv.list"),
      detail: doc("kv.list"),
    })
    .post("/many", ({ body, request }) => run("kv.getMany", body, { request }), {
      body: told(wire.KvGetMany),
      response: answers("kv.getMany"),
      detail: doc("kv.getMany"),
    })
    .get(
      "/:key",
      async ({ params, request }) =>
        unlessKnown(request, await run("kv.get", params, { request, headers: tagged })),
      {
        params: told(KeyPath),
        response: answers("kv.get"),
        detail: doc("kv.get", {
          description:
            "The ETag is the key's revision; with `If-None-Match` of the present one it answers 304, without a body.",
        }),
      },
    )
    .put(
      "/:key",
      ({ params, body, request }) =>
        run("kv.put", within(body, { ...params, ...compared(request.headers) }), {
          request,
          headers: tagged,
        }),
      {
        params: told(KeyPath),
        body: told(KvPutBody),
        response: answers("kv.put"),
        detail: doc("kv.put", {
          description:
            '`If-Match: "1042"` says the same as `ifRevision`, and `If-None-Match: *` the same as 0: only if there is no such key.',
        }),
      },
    )
    .delete(
      "/:key",
      ({ params, query, request }) =>
        run("kv.delete", within(deleteQuery(query), { ...params, ...compared(request.headers) }), {
          request,
        }),
      {
        params: told(KeyPath),
        query: told(KvDeleteQuery),
        response: answers("kv.delete"),
        detail: doc("kv.delete", { description: '`If-Match: "1042"` says the same as `ifRevision`.' }),
      },
    )
    .post(
      "/:key/increment",
      ({ params, body, request }) => {
        uncompared(request.headers);
        return run("kv.increment", within(body, params), { request, headers: tagged });
      },
      {
        params: told(KeyPath),
        body: told(KvIncrementBody),
        response: answers("kv.increment"),
        detail: doc("kv.increment"),
      },
    );
};

/** What the headers compare the key's revision with. */
function compared(headers: Headers): { ifRevision?: number } {
  const match = headers.get("if-match");
  const noneMatch = headers.get("if-none-match");
  if (match !== null && noneMatch !== null) throw invalid("/If-None-Match", "goes not with If-Match");
  if (noneMatch !== null) {
    if (noneMatch !== "*") throw invalid("/If-None-Match", "must be *: only if there is no such key");
    return { ifRevision: 0 };
  }
  if (match === null) return {};
  const ifRevision = wholeOf(/^"(.*)"$/.exec(match)?.[1] ?? "");
  if (ifRevision === null)
    throw invalid("/If-Match", 'must be one ETag as the key was read with, in its quotes, such as "1042"');
  return { ifRevision };
}

/** Where a revision is not compared, headers that ask for it are refused rather than not heeded. */
function uncompared(headers: Headers): void {
  for (const name of ["If-Match", "If-None-Match"])
    if (headers.has(name))
      throw invalid(`/${name}`, "goes not with a count, which adds to whatever is there; compare with a PUT");
}

/** The key's revision as its ETag. No key holds a quote, so the text's first fields are what they seem. */
const tagged = (text: string): Record<string, string> => ({
  etag: `"${/^\{"key":"[^"]*","revision":([0-9]+)/.exec(text)?.[1]}"`,
});

/** Whoever has this revision already is told no more than that, also as one of several, or weakened by a proxy that compresses. */
function unlessKnown<T>(request: Request, answer: T): T {
  const known = request.headers.get("if-none-match");
  const etag = known && (answer as Response).headers.get("etag");
  const isKnown = (tag: string) => tag === "*" || tag.replace(/^W\//, "") === etag;
  if (!etag || !known.split(/ *, */).some(isKnown)) return answer;
  return new Response(null, { status: 304, headers: { etag } }) as unknown as T;
}
