/** Tasks over HTTP: a line a route. */

import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { type Answer, AnswerOnly, type Caller } from "../engine/types.ts";
import {
  CancelQuery,
  DependenciesQuery,
  TaskExtendBody,
  TaskLogBody,
  TaskLogsQuery,
  TaskPath,
  TaskProgressBody,
  TaskReleaseBody,
  TaskRetryBody,
  TaskSnoozeBody,
  TaskWaitBody,
  WaitQuery,
} from "../wire/http.ts";
import type { Output } from "../wire/operations.ts";
import * as wire from "../wire/tasks.ts";
import type { Port } from "./port.ts";
import { problemResponse } from "./problems.ts";
import {
  answers,
  callerOf,
  checks,
  doc,
  fromText,
  jsonText,
  makes,
  portOf,
  runs,
  told,
  traced,
  waiting,
  within,
} from "./route.ts";

/** A duplicate of a task that is kept no more has no more to show than what is known of it. */
const Known = Type.Union([wire.TaskShown, wire.TaskSubmitted]);
const Submitted = Type.Union([Known, Type.Array(Known)]);
const waitQuery = checks<{ wait?: string }>(WaitQuery);
const logsQuery = checks<typeof TaskLogsQuery.static>(TaskLogsQuery);
const cancelQuery = checks<typeof CancelQuery.static>(CancelQuery);

export const tasks = (port: Port) => {
  const run = runs(port);
  return new Elysia({ prefix: "/api/tasks", normalize: false })
    .post("/", ({ body, request }) => submit(port, body, request), {
      body: told(wire.TaskSubmitInput),
      response: { ...answers("task.submit"), 200: told(Submitted), 201: told(Submitted) },
      detail: doc("task.submit", {
        description:
          "Answers 201 with the whole task, or with an array of tasks in the order sent. A task whose idempotencyKey was known, or that is unique and was there, answers 200 with the earlier task; where that is kept no more, with its id, its last state and `duplicate`.",
      }),
    })
    .get("/", ({ query, request }) => run("task.list", fromText(wire.TaskList, query), { request }), {
      query: told(wire.TaskList),
      response: answers("task.list"),
      detail: doc("task.list"),
    })
    .get(
      "/:id",
      ({ params, query, request, server }) =>
        run("task.get", { taskId: params.id, ...waiting(waitQuery(query).wait) }, { request, server }),
      {
        params: told(TaskPath),
        query: told(WaitQuery),
        response: answers("task.get"),
        detail: doc("task.get", {
          description:
            "`?wait=30s` waits so long for the final state, and answers the task as it then is. (`waitMs` is the same over the WebSocket.)",
        }),
      },
    )
    .delete(
      "/:id",
      ({ params, query, request }) =>
        run("task.cancel", { taskId: params.id, ...cancelQuery(query) }, { request }),
      {
        params: told(TaskPath),
        query: told(CancelQuery),
        response: answers("task.cancel"),
        detail: doc("task.cancel"),
      },
    )
    .post(
      "/:id/retry",
      ({ params, body, request }) => run("task.retry", within(body, { taskId: params.id }), { request }),
      {
        params: told(TaskPath),
        body: told(TaskRetryBody),
        response: answers("task.retry"),
        detail: doc("task.retry"),
      },
    )
    .get("/:id/explain", ({ params, request }) => run("task.explain", { taskId: params.id }, { request }), {
      params: told(TaskPath),
      response: answers("task.explain"),
      detail: doc("task.explain"),
    })
    .get(
      "/:id/dependencies",
      ({ params, query, request }) =>
        run("task.dependencies", { taskId: params.id, ...fromText(DependenciesQuery, query) }, { request }),
      {
        params: told(TaskPath),
        query: told(DependenciesQuery),
        response: answers("task.dependencies"),
        detail: doc("task.dependencies"),
      },
    )
    .post(
      "/:id/close",
      ({ params, body, request }) => run("task.close", within(body, { taskId: params.id }), { request }),
      { params: told(TaskPath), response: answers("task.close"), detail: doc("task.close") },
    )
    .post(
      "/:id/wait",
      ({ params, body, request }) => run("task.wait", within(body, { taskId: params.id }), { request }),
      {
        params: told(TaskPath),
        body: told(TaskWaitBody),
        response: answers("task.wait"),
        detail: doc("task.wait", {
          description:
            "The worker submitted children first, naming its lease in their `parent`. No attempt is charged.",
        }),
      },
    )
    .post(
      "/:id/extend",
      ({ params, body, request }) => run("task.extend", within(body, { taskId: params.id }), { request }),
      {
        params: told(TaskPath),
        body: told(TaskExtendBody),
        response: answers("task.extend"),
        detail: doc("task.extend"),
      },
    )
    .post(
      "/:id/progress",
      ({ params, body, request }) => run("task.progress", within(body, { taskId: params.id }), { request }),
      {
        params: told(TaskPath),
        body: told(TaskProgressBody),
        response: answers("task.progress"),
        detail: doc("task.progress"),
      },
    )
    .post(
      "/:id/release",
      ({ params, body, request }) => run("task.release", within(body, { taskId: params.id }), { request }),
      {
        params: told(TaskPath),
        body: told(TaskReleaseBody),
        response: answers("task.release"),
        detail: doc("task.release"),
      },
    )
    .post(
      "/:id/log",
      ({ params, body, request }) => run("task.log", within(body, { taskId: params.id }), { request }),
      {
        params: told(TaskPath),
        body: told(TaskLogBody),
        response: answers("task.log"),
        detail: doc("task.log"),
      },
    )
    .get(
      "/:id/logs",
      ({ params, query, request, server }) => {
        const { wait, ...page } = logsQuery(query);
        return run("task.logs", { taskId: params.id, ...page, ...waiting(wait) }, { request, server });
      },
      {
        params: told(TaskPath),
        query: told(TaskLogsQuery),
        response: answers("task.logs"),
        detail: doc("task.logs", {
          description:
            "`?wait=30s` waits so long for a line from `from` on, or for the end of the task. To follow a log, ask again with `from` as the last answer's `next`.",
        }),
      },
    )
    .post(
      "/:id/snooze",
      ({ params, body, request }) => run("task.snooze", within(body, { taskId: params.id }), { request }),
      {
        params: told(TaskPath),
        body: told(TaskSnoozeBody),
        response: answers("task.snooze"),
        detail: doc("task.snooze"),
      },
    )
    .post(
      "/claim",
      ({ body, query, request, server }) =>
        run("task.claim", within(body, waiting(waitQuery(query).wait)), { request, server }),
      {
        body: told(wire.TaskClaim),
        query: told(WaitQuery),
        response: answers("task.claim"),
        detail: doc("task.claim", {
          description: "`?wait=30s` waits so long for the first task; `waitMs` in the body says the same.",
        }),
      },
    )
    .post("/assign", ({ body, request }) => run("task.assign", body, { request }), {
      body: told(wire.TaskAssign),
      response: answers("task.assign"),
      detail: doc("task.assign"),
    })
    .post("/complete", ({ body, request }) => run("task.complete", body, { request }), {
      body: told(wire.TaskComplete),
      response: answers("task.complete"),
      detail: doc("task.complete"),
    })
    .post("/fail", ({ body, request }) => run("task.fail", body, { request }), {
      body: told(wire.TaskFail),
      response: answers("task.fail"),
      detail: doc("task.fail"),
    });
};

/**
 * A submit answers over HTTP with the task itself. It is read in the same turn: of the state that the submit made, and
 * behind the same sync, where a read that waited for the submit's answer would wait for the next one as well.
 */
function submit(port: Port, given: unknown, request: Request): Promise<Submission> {
  const caller = callerOf("task.submit", request, given);
  const body = traced(given, request);
  const there = portOf(port, request, () => makes("task.submit", body));
  return there instanceof Promise
    ? there.then((made) => submitAt(made, body, caller))
    : submitAt(there, body, caller);
}

const submitAt = (there: Port, body: unknown, caller: Caller): Promise<Submission> =>
  new Promise((resolve) => {
    let rows: TaskSubmitted[] = [];
    const answers: Answer[] = [];
    let missing = 1;
    const sinkOf = (place: number) =>
      new AnswerOnly((answer) => {
        answers[place] = answer;
        if (--missing === 0) resolve(submission(answers, rows, Array.isArray(body)));
      });
    const submitted = there.request("task.submit", body, caller, sinkOf(0)) as Answer;
    if ("error" in submitted) return;
    rows = [JSON.parse(submitted.ok) as Output<"task.submit">].flat();
    for (const [i, { id, duplicate }] of rows.entries()) {
      const input = { taskId: id };
      // What this submit made is as durable as its answer; of an earlier task newer things may be known.
      const isOurs = !duplicate && caller.session === null;
      const seen = isOurs ? there.look("task.get", input) : null;
      if (seen !== null && "ok" in seen) answers[i + 1] = seen;
      else {
        // It may have left memory, and is then read later than the others.
        missing += 1;
        there.request("task.get", input, { ...caller, session: null, seq: 0 }, sinkOf(i + 1));
      }
    }
  });

/** The first answer is the submit's, the others are the tasks'. */
function submission(answers: Answer[], rows: TaskSubmitted[], isArray: boolean): Submission {
  const texts: string[] = [];
  for (const [i, answer] of answers.entries()) {
    const row = rows[i - 1];
    if (!("error" in answer)) texts.push(answer.ok);
    else if (row?.duplicate && answer.error.code === "unknown-task") texts.push(JSON.stringify(row));
    else return problemResponse(answer.error) as unknown as Submission;
  }
  const text = isArray ? `[${texts.slice(1).join(",")}]` : (texts[1] as string);
  return jsonText<Submission>(text, rows.every((row) => row.duplicate) ? 200 : 201);
}

type TaskSubmitted = wire.TaskSubmitted;
type Submission = typeof Submitted.static;
