/**
 * Calls that must not compile, and beside each the right one that must. Nobody runs this file: the type check reads
 * it, where an `@ts-expect-error` that expects in vain is an error itself, and types.test.ts reads it once more
 * without those lines and counts what the compiler then says.
 */
import {
  type Checker,
  type Context,
  type CoordinationClient,
  type StandardSchema,
  task,
  typebox,
  worker,
} from "../../../client/index.ts";
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

  const done = await client.transaction((tx) => {
    tx.if.key("a").at(3);
    return { put: tx.kv.put("a", 1), task: tx.submit({ type: "t" }), one: tx.kv.get<number>("a"), word: "w" };
  });
  (done.one?.value ?? 0).toFixed(done.put.revision);
  done.task.id.toUpperCase();
  // @ts-expect-error: a key that was put has no state
  done.put.state;
  // @ts-expect-error: the answer is there, and is not waited for again
  done.task.result();
  const [first, second] = await client.transaction((tx) => [tx.kv.put("a", 1), tx.submit([{ type: "t" }])]);
  second.map(({ id }) => id + first.key);
  // @ts-expect-error: each has its own type
  first.map(String);
  const either = await client.transaction(
    (tx) => ({ taken: true, key: tx.kv.put("a", 1) }),
    (tx) => ({ taken: false, by: tx.kv.get("a") }),
  );
  if (either.taken) either.key.revision.toFixed();
  // @ts-expect-error: where it was not taken it has no key
  else either.key;
  // @ts-expect-error: the function of a transaction waits for nothing
  await client.transaction(async (tx) => ({ a: await tx.kv.put("a", 1) }));
  // @ts-expect-error: no such state
  await client.transaction((tx) => tx.if.task("1-0").is("done"));
  await client.transaction(
    (_tx) => ({}),
    // @ts-expect-error: where nothing holds there is nothing to ask
    (tx) => tx.if.key("a").exists(),
  );

  void worker<{ to: string }>("q", (task, { progress }) => progress(task.payload.to.length));
  // @ts-expect-error: the payload has no such field
  void worker<{ to: string }>("q", (task) => task.payload.from);
  // @ts-expect-error: concurrency is a number
  void worker("q", () => {}, { concurrency: "2" });
  // @ts-expect-error: an attempt cannot be extended by a text
  void context.extend("1s");

  type Mail = { to: string };
  const send = task("send", {
    payload: null as unknown as Checker<Mail>,
    result: null as unknown as StandardSchema<string, number>,
    queue: "mail",
    attempts: 5,
  });
  client.submit(send, { to: "ada" }, { delayMs: 1000 }, { timeoutMs: 1000 });
  // @ts-expect-error: the payload's field is a text
  client.submit(send, { to: 3 });
  // @ts-expect-error: it needs its payload
  client.submit(send);
  // @ts-expect-error: no such field
  client.submit(send, { to: "ada" }, { prio: "low" });
  // @ts-expect-error: a type has no idempotency key of its own
  task("send", { idempotencyKey: "k" });
  // @ts-expect-error: a schema that nothing checks
  task("send", { payload: { type: "string" } });
  (await client.submit(send, { to: "ada" }).result()).toFixed();
  // @ts-expect-error: what the schema makes of the result is a number
  (await client.submit(send, { to: "ada" }).result()).trim();
  (await client.request(send, { to: "ada" }, { timeoutMs: 1000 })).toFixed();
  // @ts-expect-error: a request by a type is typed as a submit is
  await client.request(send, { to: 3 });
  client.submit([send.with({ to: "ada" }), { type: "t" }]);
  // @ts-expect-error: one of many has a wrong payload
  client.submit([send.with({ from: "ada" })]);
  send.handle((payload, { task: { id } }) => payload.to + id);
  // @ts-expect-error: the payload has no such field
  send.handle((payload) => payload.from);
  // @ts-expect-error: the handler returns what the result's schema is given, a text
  send.handle(() => 3);
  send.handleBatch({ size: 9 }, (items) => items.map(({ payload }) => (payload.to ? "3" : new Error("no"))));
  // @ts-expect-error: an outcome is a result or an error
  send.handleBatch({ size: 9 }, (items) => items.map(() => 3));
  // @ts-expect-error: a batch has a size
  send.handleBatch({ waitMs: 9 }, () => []);
  const note = task<Mail>("note");
  const ping = task("ping");
  client.submit(ping);
  // @ts-expect-error: typed alone is typed as well
  client.submit(note, { to: 3 });
  void worker("mail", [send.handle(() => "3"), ping.handle(() => {})]);
  // @ts-expect-error: it takes what a type makes of a handler
  void worker("mail", [() => {}]);
  void worker("mail", () => {}, { use: async (_, { signal }, next) => (signal.aborted ? null : next()) });
  // @ts-expect-error: middleware returns what the task comes to
  void worker("mail", () => {}, { use: async (_, __, next) => void (await next()) });
  const value = { Check: (_: { static: Mail }, __: unknown) => true, Errors: () => [] };
  task("send", { payload: typebox({ static: { to: "ada" } }, value) }).handle((payload) => payload.to);
  // @ts-expect-error: no schema of TypeBox
  typebox({ to: "string" }, value);

  await rest.submit({ type: "t" });
  // @ts-expect-error: no such field
  await rest.submit({ type: "t", prio: "high" });
  // @ts-expect-error: failing needs an error
  await rest.fail({ taskId: "1-0", workerId: "w", token: 3 });
  (await rest.task("1-0")).payload;
  // @ts-expect-error: a task has no such field
  (await rest.task("1-0")).data;
}
