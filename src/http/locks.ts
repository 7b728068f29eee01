/** Locks over HTTP: a line a route. One that is asked for with `?wait=` answers when it is held, or cannot be had. */
import { Elysia } from "elysia";
import { LockPath, WaitQuery } from "../wire/http.ts";
import { limits } from "../wire/limits.ts";
import * as wire from "../wire/locks.ts";
import type { Output } from "../wire/operations.ts";
import type { Port } from "./port.ts";
import { Refusal } from "./problems.ts";
import { answers, checks, doc, fromText, runs, told, waiting, within } from "./route.ts";

/** What waits for as long as the lock does hears of its end, not of the end of its own time. */
const marginMs = 1000;

const waitQuery = checks<{ wait?: string }>(WaitQuery);

export const locks = (port: Port) => {
  const run = runs(port);

  /** Stands in line for as long as the request waits, unless the body says for how long. */
  async function acquired(body: unknown, waitMs: number, asked: Parameters<typeof run>[2]) {
    const inLineMs = (body as { waitMs?: number } | null)?.waitMs ?? waitMs;
    const answer = await run("lock.acquire", within(body, { waitMs: inLineMs }), asked);
    const response = answer as unknown as Response;
    if (!response.ok) return answer;
    const { lockId, state } = (await response.clone().json()) as Output<"lock.acquire">;
    const { request } = asked;
    // Under a key it may be the answer of a while ago, and the lock over since.
    const hasKey = request.headers.has("idempotency-key");
    if (state === "held" && !hasKey) return answer;
    // Who hung up hears of no grant. Under a key of its own it may ask again, and stands where it stood.
    const leave = () => void run("lock.release", { lockId }, { request, isFenced: true }).catch(() => {});
    if (!hasKey) {
      if (request.signal.aborted) leave();
      else request.signal.addEventListener("abort", leave, { once: true });
    }
    const longEnough = inLineMs === waitMs ? Math.min(waitMs + marginMs, limits.waitMsMax) : waitMs;
    const after = await run("lock.get", { lockId, waitMs: longEnough }, { ...asked, isFenced: true });
    request.signal.removeEventListener("abort", leave);
    const had = after as unknown as Response;
    if (had.status !== 404) {
      // Whoever waits no longer than the request is told of nothing but a lock that is held: not that it waits still,
      // where the daemon stops, or its time in line stood still for a while.
      const isHeld = had.ok && ((await had.clone().json()) as Output<"lock.get">).state === "held";
      if (isHeld || !had.ok || inLineMs > waitMs) return after;
      if (!hasKey) leave();
    }
    throw new Refusal("lock-held", `lock ${lockId} was not to be had in ${inLineMs} ms, or was taken away`);
  }

  return new Elysia({ prefix: "/api/locks", normalize: false })
    .get("/", ({ query, request }) => run("lock.list", fromText(wire.LockList, query), { request }), {
      query: told(wire.LockList),
      response: answers("lock.list"),
      detail: doc("lock.list"),
    })
    .post(
      "/",
      ({ body, query, request, server }) => {
        const { waitMs = 0 } = waiting(waitQuery(query).wait);
        if (waitMs > 0) return acquired(body, waitMs, { request, server });
        return run("lock.acquire", body, { request });
      },
      {
        body: told(wire.LockAcquire),
        query: told(WaitQuery),
        response: answers("lock.acquire"),
        detail: doc("lock.acquire", {
          description:
            "With `?wait=30s` it stands in line for so long, unless `waitMs` says another time, and answers when it is held; `lock-held` says that it could not be had. Who hangs up leaves the line, unless the request has an `Idempotency-Key`, under which it may be sent again.",
        }),
      },
    )
    .post("/extend", ({ body, request }) => run("lock.extend", body, { request }), {
      body: told(wire.LockExtend),
      response: answers("lock.extend"),
      detail: doc("lock.extend"),
    })
    .post("/steal", ({ body, request }) => run("lock.steal", body, { request }), {
      body: told(wire.LockSteal),
      response: answers("lock.steal"),
      detail: doc("lock.steal"),
    })
    .get(
      "/:id",
      ({ params, query, request, server }) =>
        run("lock.get", { lockId: params.id, ...waiting(waitQuery(query).wait) }, { request, server }),
      {
        params: told(LockPath),
        query: told(WaitQuery),
        response: answers("lock.get"),
        detail: doc("lock.get", {
          description: "With `?wait=30s` it answers when the lock is held or gone, or after so long.",
        }),
      },
    )
    .delete("/:id", ({ params, request }) => run("lock.release", { lockId: params.id }, { request }), {
      params: told(LockPath),
      response: answers("lock.release"),
      detail: doc("lock.release"),
    });
};
