/** Is it alive, may work be sent to it, and how does it fare: for people, load balancers and Prometheus. */
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { MetricsView, ReadyView } from "../wire/http.ts";
import { HealthView } from "../wire/state.ts";
import { StatsQuery, StatsView } from "../wire/stats.ts";
import type { Port } from "./port.ts";
import { asJson, checks, docOf, namespaceOf, portOf, told } from "./route.ts";

const statsQuery = checks<StatsQuery>(StatsQuery);

/** Of all namespaces together; the metrics of one where the request names it. */
export const health = (port: Port) =>
  new Elysia({ normalize: false })
    .get("/health", () => asJson(all(port).health()), {
      response: told(HealthView),
      detail: docOf("health", "health", "Is the process alive, and what does it run.", "Needs no token."),
    })
    .get("/ready", () => ready(all(port)), {
      response: { 200: told(ReadyView), 503: told(ReadyView) },
      detail: docOf("ready", "health", "May work be sent: 200, or 503 and why not.", "Needs no token."),
    })
    .get("/api/metrics", async ({ request }) => asJson((await counted(port, request)).metrics()), {
      response: told(MetricsView),
      detail: docOf(
        "metrics",
        "health",
        "The metrics as JSON: daemon, store and bus.",
        "Of all namespaces together; with a Cortex-Namespace header, of that one.",
      ),
    })
    .get(
      "/api/stats",
      async ({ query, request }) => {
        const { historyMs = 0 } = statsQuery(query);
        return asJson<StatsView>({ samples: (await portOf(port, request)).stats.last(historyMs) });
      },
      {
        query: told(StatsQuery),
        response: told(StatsView),
        detail: docOf(
          "stats",
          "health",
          "The figures of a namespace, and with historyMs those of the last hour: what the dashboard draws.",
          "A sample a second: how it stands, what was counted, and how long it took. Over the WebSocket they are pushed (stats.start).",
        ),
      },
    )
    .get("/metrics", async ({ request }) => text((await counted(port, request)).prometheus()), {
      response: told(Type.String()),
      detail: docOf("prometheus", "health", "The metrics as Prometheus reads them."),
    });

type Telling = Pick<Port, "health" | "ready" | "metrics" | "prometheus">;
const all = (port: Port): Telling => port.namespaces ?? port;
const counted = (port: Port, request: Request): Telling | Promise<Telling> =>
  namespaceOf(request) === null ? all(port) : portOf(port, request);

function ready(port: Telling): ReadyView {
  const view = port.ready();
  return asJson(view, view.ready ? 200 : 503);
}

const text = (body: string) =>
  new Response(body, {
    headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
  }) as unknown as string;
