/** What topics keep, over HTTP: a line a route. */
import { Elysia } from "elysia";
import { TopicPath, TopicPutBody } from "../wire/http.ts";
import { TopicList } from "../wire/topics.ts";
import type { Port } from "./port.ts";
import { answers, doc, fromText, runs, told, within } from "./route.ts";

export const topics = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/topics", normalize: false })
    .get("/", ({ query, request }) => run("topic.list", fromText(TopicList, query), { request }), {
      query: told(TopicList),
      response: answers("topic.list"),
      detail: doc("topic.list"),
    })
    .put("/:topic", ({ params, body, request }) => run("topic.put", within(body, params), { request }), {
      params: told(TopicPath),
      body: told(TopicPutBody),
      response: answers("topic.put"),
      detail: doc("topic.put"),
    })
    .delete("/:topic", ({ params, request }) => run("topic.delete", params, { request }), {
      params: told(TopicPath),
      response: answers("topic.delete"),
      detail: doc("topic.delete"),
    });
};
