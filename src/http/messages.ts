/** Messages over HTTP: a line a route. To listen needs a connection; to publish, ask and reply does not. */
import { Elysia } from "elysia";
import * as wire from "../wire/messages.ts";
import type { Port } from "./port.ts";
import { answers, doc, fromText, runs, told } from "./route.ts";

export const messages = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/messages", normalize: false })
    .post("/", ({ body, request }) => run("message.publish", body, { request }), {
      body: told(wire.MessagePublish),
      response: answers("message.publish"),
      detail: doc("message.publish"),
    })
    .get("/", ({ query, request }) => run("message.list", fromText(wire.MessageList, query), { request }), {
      query: told(wire.MessageList),
      response: answers("message.list"),
      detail: doc("message.list"),
    })
    .post("/receive", ({ body, request, server }) => run("message.receive", body, { request, server }), {
      body: told(wire.MessageReceive),
      response: answers("message.receive"),
      detail: doc("message.receive"),
    })
    .post("/ack", ({ body, request }) => run("message.ack", body, { request }), {
      body: told(wire.MessageAck),
      response: answers("message.ack"),
      detail: doc("message.ack"),
    })
    .post("/ack-many", ({ body, request }) => run("message.ackMany", body, { request }), {
      body: told(wire.MessageAckMany),
      response: answers("message.ackMany"),
      detail: doc("message.ackMany"),
    })
    .post("/nack", ({ body, request }) => run("message.nack", body, { request }), {
      body: told(wire.MessageNack),
      response: answers("message.nack"),
      detail: doc("message.nack"),
    })
    .post("/extend", ({ body, request }) => run("message.extend", body, { request }), {
      body: told(wire.MessageExtend),
      response: answers("message.extend"),
      detail: doc("message.extend"),
    })
    .post("/retry", ({ body, request }) => run("message.retry", body, { request }), {
      body: told(wire.MessageRetry),
      response: answers("message.retry"),
      detail: doc("message.retry"),
    })
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
