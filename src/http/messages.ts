/** Messages over HTTP: a line a route. To listen needs a connection; to publish, ask and reply does not. */
import { Elysia } from "elysia";
import * as wire from "../wire/messages.ts";
import type { Port } from "./port.ts";
import { answers, doc, runs, told } from "./route.ts";

export const messages = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/messages", normalize: false })
    .post("/emit", ({ body, request }) => run("message.emit", body, { request }), {
      body: told(wire.MessageEmit),
      response: answers("message.emit"),
      detail: doc("message.emit"),
    })
    .post("/request", ({ body, request, server }) => run("message.request", body, { request, server }), {
      body: told(wire.MessageRequest),
      response: answers("message.request"),
      detail: doc("message.request"),
    })
    .post("/reply", ({ body, request }) => run("message.reply", body, { request }), {
      body: told(wire.MessageReply),
      response: answers("message.reply"),
      detail: doc("message.reply"),
    });
};
