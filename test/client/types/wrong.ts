/**
 * Calls that must not compile, and beside each the right one that must. Nobody runs this file: the type check reads
 * it, where an `@ts-expect-error` that expects in vain is an error itself, and types.test.ts reads it once more
 * without those lines and counts what the compiler then says.
 */
import { type Context, type CoordinationClient, worker } from "../../../client/index.ts";
import type { RestClient } from "../../../client/rest.ts";

export async function wrong(client: CoordinationClient, rest: RestClient, context: Context) {
  client.submit({ type: "t", priority: "high", leaseMs: 1000 });
  // @ts-expect-error: no such field
  client.submit({ type: "t", prio: "high" });
  // @ts-expect-error: no such priority
  client.submit({ type: "t", priority: "urgent" });
  // @ts-expect-error: a task needs a type
  client.submit({ queue: "q" });
  // @ts-expect-error: one of many is wrong
  client.submit([{ type: "t" }, { type: 3 }]);

  const { id } = await client.submit({ type: "t" });
  id.toUpperCase();
  // @ts-expect-error: an id is a text
  id.toFixed();
  const many = await client.submit([{ type: "t" }]);
  many.map((one) => one.state);
  // @ts-expect-error: an array answers an array
  many.state;

  await client.call("task.complete", { taskId: "1-0", workerId: "w", token: 3, result: null });
  // @ts-expect-error: completing needs the token
  await client.call("task.complete", { taskId: "1-0", workerId: "w" });
  // @ts-expect-error: no such operation
  await client.call("task.finish", { taskId: "1-0" });
  // @ts-expect-error: a greeting is the session's own
  await client.call("session.hello", { protocol: 1 });

  client.on("task_assigned", (task) => task.complete());
  // @ts-expect-error: no such event
  client.on("task_assign", () => {});
  // @ts-expect-error: no such state
  client.tasks({ state: "done" });

  for await (const event of client.watch({ queue: "q" })) {
    if (event.event === "gap") event.to.toFixed();
    else event.table.toUpperCase();
    // @ts-expect-error: a gap has no table, and must be looked at first
    event.table;
  }

  void worker<{ to: string }>("q", (task, { progress }) => progress(task.payload.to.length));
  // @ts-expect-error: the payload has no such field
  void worker<{ to: string }>("q", (task) => task.payload.from);
  // @ts-expect-error: concurrency is a number
  void worker("q", () => {}, { concurrency: "2" });
  // @ts-expect-error: an attempt cannot be extended by a text
  void context.extend("1s");

  await rest.submit({ type: "t" });
  // @ts-expect-error: no such field
  await rest.submit({ type: "t", prio: "high" });
  // @ts-expect-error: failing needs an error
  await rest.fail({ taskId: "1-0", workerId: "w", token: 3 });
  (await rest.task("1-0")).payload;
  // @ts-expect-error: a task has no such field
  (await rest.task("1-0")).data;
}
