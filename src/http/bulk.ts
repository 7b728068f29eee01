/** Deleting and moving tasks, and changing many at once, over HTTP: a line a route. */
import { Elysia } from "elysia";
import * as wire from "../wire/bulk.ts";
import { TaskMoveBody, TaskPath } from "../wire/http.ts";
import type { Port } from "./port.ts";
import { answers, doc, runs, told, within } from "./route.ts";

export const bulk = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/tasks", normalize: false })
    .post(
      "/:id/delete",
      ({ params, body, request }) => run("task.delete", within(body, { taskId: params.id }), { request }),
      {
        params: told(TaskPath),
        response: answers("task.delete"),
        detail: doc("task.delete", {
          description:
            "`DELETE /api/tasks/{id}` cancels a task, which is kept then; this leaves nothing of it.",
        }),
      },
    )
    .post(
      "/:id/move",
      ({ params, body, request }) => run("task.move", within(body, { taskId: params.id }), { request }),
      {
        params: told(TaskPath),
        body: told(TaskMoveBody),
        response: answers("task.move"),
        detail: doc("task.move"),
      },
    )
    .post("/cancel-many", ({ body, request }) => run("task.cancelMany", body, { request }), {
      body: told(wire.TaskCancelMany),
      response: answers("task.cancelMany"),
      detail: doc("task.cancelMany"),
    })
    .post("/retry-many", ({ body, request }) => run("task.retryMany", body, { request }), {
      body: told(wire.TaskRetryMany),
      response: answers("task.retryMany"),
      detail: doc("task.retryMany"),
    })
    .post("/delete-many", ({ body, request }) => run("task.deleteMany", body, { request }), {
      body: told(wire.TaskDeleteMany),
      response: answers("task.deleteMany"),
      detail: doc("task.deleteMany"),
    })
    .post("/move-many", ({ body, request }) => run("task.moveMany", body, { request }), {
      body: told(wire.TaskMoveMany),
      response: answers("task.moveMany"),
      detail: doc("task.moveMany"),
    })
    .post("/complete-many", ({ body, request }) => run("task.completeMany", body, { request }), {
      body: told(wire.TaskCompleteMany),
      response: answers("task.completeMany"),
      detail: doc("task.completeMany"),
    });
};
