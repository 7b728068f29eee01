/** Is it alive, may work be sent to it, and how does it fare: for people, load balancers and Prometheus. */
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { MetricsView, ReadyView } from "../wire/http.ts";
import { HealthView } from "../wire/state.ts";
import type { Port } from "./port.ts";
import { asJson, docOf, told } from "./route.ts";

export const health = (port: Port) =>
  new Elysia({ normalize: false })
    .get("/health", () => asJson(port.health()), {
      response: told(HealthView),
      detail: docOf("health", "health", "Is the process alive, and what does it run.", "Needs no token."),
    })
    .get("/ready", () => ready(port), {
      response: { 200: told(ReadyView), 503: told(ReadyView) },
      detail: docOf("ready", "health", "May work be sent: 200, or 503 and why not.", "Needs no token."),
    })
    .get("/api/metrics", () => asJson(port.metrics()), {
      response: told(MetricsView),
      detail: docOf("metrics", "health", "The metrics as JSON: daemon, store and bus."),
    })
    .get("/metrics", () => text(port.prometheus()), {
      response: told(Type.String()),
      detail: docOf("prometheus", "health", "The metrics as Prometheus reads them."),
    });

function ready(port: Port): ReadyView {
  const view = port.ready();
  return asJson(view, view.ready ? 200 : 503);
}

const text = (body: string) =>
  new Response(body, {
    headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
  }) as unknown as string;
