/** Schedules over HTTP: a line a route. */
import { Elysia } from "elysia";
import { ScheduleDeleteQuery, ScheduleGetQuery, SchedulePath, SchedulePutBody } from "../wire/http.ts";
import * as wire from "../wire/schedules.ts";
import type { Port } from "./port.ts";
import { answers, checks, doc, fromText, runs, told, within } from "./route.ts";

const getQuery = checks<{ count?: number }>(ScheduleGetQuery);
const deleteQuery = checks<{ ifRevision?: number }>(ScheduleDeleteQuery);

export const schedules = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/schedules", normalize: false })
    .get("/", ({ query, request }) => run("schedule.list", fromText(wire.ScheduleList, query), { request }), {
      query: told(wire.ScheduleList),
      response: answers("schedule.list"),
      detail: doc("schedule.list"),
    })
    .get(
      "/:name",
      ({ params, query, request }) => run("schedule.get", { ...params, ...getQuery(query) }, { request }),
      {
        params: told(SchedulePath),
        query: told(ScheduleGetQuery),
        response: answers("schedule.get"),
        detail: doc("schedule.get"),
      },
    )
    .put("/:name", ({ params, body, request }) => run("schedule.put", within(body, params), { request }), {
      params: told(SchedulePath),
      body: told(SchedulePutBody),
      response: answers("schedule.put"),
      detail: doc("schedule.put", {
        description:
          "A definition that says the same as the one before changes nothing; one with the same time keeps the next run. So a program may put its schedules each time it starts.",
      }),
    })
    .delete(
      "/:name",
      ({ params, query, request }) =>
        run("schedule.delete", { ...params, ...deleteQuery(query) }, { request }),
      {
        params: told(SchedulePath),
        query: told(ScheduleDeleteQuery),
        response: answers("schedule.delete"),
        detail: doc("schedule.delete"),
      },
    )
    .post(
      "/:name/pause",
      ({ params, body, request }) => run("schedule.pause", within(body, params), { request }),
      {
        params: told(SchedulePath),
        response: answers("schedule.pause"),
        detail: doc("schedule.pause"),
      },
    )
    .post(
      "/:name/resume",
      ({ params, body, request }) => run("schedule.resume", within(body, params), { request }),
      {
        params: told(SchedulePath),
        response: answers("schedule.resume"),
        detail: doc("schedule.resume"),
      },
    )
    .post(
      "/:name/run",
      ({ params, body, request }) => run("schedule.run", within(body, params), { request }),
      {
        params: told(SchedulePath),
        response: answers("schedule.run"),
        detail: doc("schedule.run"),
      },
    )
    .post("/preview", ({ body, request }) => run("schedule.preview", body, { request }), {
      body: told(wire.SchedulePreview),
      response: answers("schedule.preview"),
      detail: doc("schedule.preview"),
    });
};
