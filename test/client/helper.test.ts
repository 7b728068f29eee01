/** The worker helper: types with schemas, middleware and batches, over the coordinator whose time the test moves. */
import { afterEach, expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { Value } from "@sinclair/typebox/value";
import {
  type BatchItem,
  Cancel,
  type Context,
  Discard,
  Invalid,
  type Middleware,
  type StandardSchema,
  type Task,
  TaskFailed,
  task,
  typebox,
} from "../../client/index.ts";
import { createCoordinator, type TestCoordinator } from "../../client/testing.ts";

let cortex: TestCoordinator;
const open = async () => {
  cortex = await createCoordinator();
  return cortex.client();
};
afterEach(() => cortex?.stop());

/** A schema as the libraries make them: a text that is a whole number, of which it makes the number. */
const digits: StandardSchema<string, number> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) =>
      typeof value === "string" && /^\d+$/.test(value)
        ? { value: Number(value) }
        : { issues: [{ message: "must be digits" }] },
  },
};
const later = <G, M>(schema: StandardSchema<G, M>): StandardSchema<G, M> => ({
  "~standard": {
    ...schema["~standard"],
    validate: async (value) => schema["~standard"].validate(value),
  },
});
const Mail = Type.Object({ to: Type.String(), copies: Type.Optional(Type.Integer({ minimum: 1 })) });
const caught = (promise: PromiseLike<unknown>) =>
  Promise.resolve(promise).then(
    () => null,
    (error) => error,
  );

test.each([
  ["at once", digits],
  ["later", later(digits)],
])(
  "helper - a schema that checks %s makes the handler's payload, and the producer's result",
  async (_, schema) => {
    const client = await open();
    const double = task("double", { queue: "sums", payload: schema, result: schema });
    const seen: unknown[] = [];
    await cortex.worker(double.queue, [
      double.handle((payload, { task: { payload: sent } }) => {
        seen.push(payload, sent);
        return String(2 * payload);
      }),
    ]);
    const submitted = client.submit(double, "21");
    await cortex.waitFor(submitted, "completed");
    expect(await submitted.result()).toBe(42);
    // Over the wire goes what was given.
    expect(seen).toEqual([21, "21"]);
    expect(await client.task((await submitted).id).get()).toMatchObject({ payload: "21", result: "42" });
  },
);

test.each([
  ["a Standard Schema", digits, 7, ["must be digits"]],
  ["a Standard Schema that checks later", later(digits), 7, ["must be digits"]],
  ["a compiled TypeBox schema", TypeCompiler.Compile(Mail), { copies: 0 }, ["to", "copies"]],
  ["a TypeBox schema with Value", typebox(Mail, Value), { copies: 0 }, ["to", "copies"]],
])("helper - a payload that does not fit %s is not submitted", async (_, payload, wrong, words) => {
  const client = await open();
  const send = task("send", { payload: payload as StandardSchema });
  const error = await caught(client.submit(send, wrong));
  expect(error).toBeInstanceOf(Invalid);
  expect(error).toMatchObject({ code: "invalid-payload", part: "payload", type: "send" });
  for (const word of words) expect(error.message).toContain(word);
  expect((await client.tasks()).tasks).toEqual([]);
});

test("helper - a payload that somebody else submitted wrongly fails its task for good, with the issues in words", async () => {
  const client = await open();
  const send = task("send", { payload: TypeCompiler.Compile(Mail), attempts: 5 });
  let called = 0;
  await cortex.worker("default", [send.handle(() => called++)]);
  const { id } = await client.submit({ type: "send", payload: { to: "ada", copies: 0 }, attempts: 5 });
  const failed = await cortex.waitFor(id, "failed");
  expect(failed).toMatchObject({ attempt: 1, error: { code: "invalid-payload" } });
  expect(failed.error?.message).toStartWith("the payload of send does not fit: copies: ");
  expect(called).toBe(0);
});

test("helper - a result that does not fit completes nothing", async () => {
  const client = await open();
  const send = task("send", { result: digits });
  await cortex.worker("default", [send.handle(() => "no digits")]);
  const submitted = client.submit(send);
  const failed = await cortex.waitFor(submitted, "failed");
  expect(failed).toMatchObject({ attempt: 1, result: null, error: { code: "invalid-result" } });
  expect(failed.error?.message).toBe("the result of send does not fit: must be digits");
  expect(await caught(submitted.result())).toBeInstanceOf(TaskFailed);
});

test("helper - a result of another worker that does not fit is told who waits for it", async () => {
  const client = await open();
  const send = task("send", { result: digits });
  await cortex.worker("default", () => 42);
  const submitted = client.submit(send);
  await cortex.waitFor(submitted, "completed");
  expect(await caught(submitted.result())).toMatchObject({ code: "invalid-result", name: "Invalid" });
});

test("helper - a request by a type is checked, goes where the type says, and answers what the schema makes", async () => {
  const client = await open();
  const double = task("double", { queue: "sums", attempts: 5, payload: digits, result: digits });
  const seen: unknown[] = [];
  await cortex.worker("sums", [
    double.handle((payload, { task: { attempts, priority } }) => {
      seen.push(attempts, priority);
      return String(2 * payload);
    }),
  ]);
  const answer = client.request(double, "21", { submit: { priority: "high" } });
  await cortex.settle();
  expect(await answer).toBe(42);
  expect(seen).toEqual([5, "high"]);
  expect(await caught(client.request(double, "x"))).toBeInstanceOf(Invalid);
  expect((await client.tasks()).tasks).toHaveLength(1);
});

test("helper - where an issue is, is told by its path, and of many only some are", () => {
  const issues = Array.from({ length: 12 }, (_, i) => ({ path: `rows.${i}`, message: "wrong" }));
  const { message } = new Invalid("payload", "t", issues);
  expect(message).toStartWith("the payload of t does not fit: rows.0: wrong; rows.1: wrong; ");
  expect(message).toEndWith("rows.9: wrong; and more");
});

test("helper - paths of Standard Schema, in both their forms, and of TypeBox read alike", async () => {
  const client = await open();
  const told = async (path: readonly (PropertyKey | { key: PropertyKey })[]) => {
    const schema: StandardSchema = {
      "~standard": { version: 1, vendor: "test", validate: () => ({ issues: [{ message: "no", path }] }) },
    };
    return (await caught(client.submit(task("t", { payload: schema }), 1))).issues;
  };
  expect(await told(["rows", 3, "to"])).toEqual([{ path: "rows.3.to", message: "no" }]);
  expect(await told([{ key: "rows" }, { key: 3 }])).toEqual([{ path: "rows.3", message: "no" }]);
  const rows = TypeCompiler.Compile(Type.Object({ rows: Type.Array(Mail) }));
  const wrong = { rows: [{ to: "ada" }, { to: 3 as unknown as string }] };
  const error = await caught(client.submit(task("t", { payload: rows }), wrong));
  expect(error.issues.map(({ path }: { path: string }) => path)).toEqual(["rows.1.to"]);
});

test("helper - a TypeBox schema with nothing that checks it is refused where the type is said", () => {
  cortex = undefined as never;
  expect(() => task("t", { payload: Mail as never })).toThrow(
    "TypeCompiler.Compile(Schema) or typebox(Schema, Value)",
  );
});

test("helper - a type says how its tasks are submitted, and a submit may say otherwise", async () => {
  const client = await open();
  const send = task<{ to: string }>("send", { queue: "mail", attempts: 5, priority: "high" });
  const { id } = await client.submit(send, { to: "ada" }, { priority: "low", delayMs: 1000 });
  expect(await client.task(id).get()).toMatchObject({
    ...{ queue: "mail", type: "send", attempts: 5, priority: "low", state: "scheduled" },
    payload: { to: "ada" },
  });
  const [first, second] = await client.submit([
    send.with({ to: "ada" }),
    send.with({ to: "bob" }, { queue: "q" }),
  ]);
  expect(await client.task(first!.id).get()).toMatchObject({ queue: "mail", attempts: 5 });
  expect(await client.task(second!.id).get()).toMatchObject({ queue: "q", payload: { to: "bob" } });
});

test("helper - submits of one turn keep their order", async () => {
  const client = await open();
  const t = task("t", { payload: digits });
  const ids = await Promise.all(["1", "2", "3"].map(async (n) => (await client.submit(t, n)).id));
  expect((await client.tasks()).tasks.map(({ id }) => id)).toEqual(ids.toReversed());
});

test("helper - a verdict is taken from a typed handler and from a task of a batch", async () => {
  const client = await open();
  const send = task("send", { result: digits });
  const print = task("print", { result: digits });
  await cortex.worker("default", [
    send.handle(() => Discard("no such address")),
    print.handleBatch({ size: 2 }, (items) => items.map(() => Cancel("no paper"))),
  ]);
  expect(await cortex.waitFor(client.submit(send), "failed")).toMatchObject({ reason: "no such address" });
  expect(await cortex.waitFor(client.submit(print), "cancelled")).toMatchObject({ reason: "no paper" });
});

test("helper - an Error that is returned is one that is thrown", async () => {
  const client = await open();
  const send = task("send", { result: digits });
  await cortex.worker("default", [send.handle(() => Object.assign(new Error("gone"), { final: true }))]);
  expect((await cortex.waitFor(client.submit(send), "failed")).error?.message).toBe("gone");
});

test("helper - a worker has a handler for each type, and fails what it does not know", async () => {
  const client = await open();
  const send = task("send");
  const bounce = task("bounce");
  await cortex.worker("default", [send.handle(() => "sent"), bounce.handle(() => "bounced")]);
  await cortex.waitFor(client.submit(send), "completed");
  const bounced = client.submit(bounce);
  await cortex.waitFor(bounced, "completed");
  expect(await bounced.result()).toBe("bounced");
  const unknown = client.submit({ type: "forward", attempts: 1 });
  expect((await cortex.waitFor(unknown, "dead")).error).toMatchObject({ code: "unknown-type" });
  expect(() => cortex.worker("default", [send.handle(() => 1), send.handle(() => 2)])).toThrow(
    "two handlers",
  );
});

test("helper - middleware runs in its order, around everything, and may change what the task comes to", async () => {
  const client = await open();
  const order: string[] = [];
  const note =
    (name: string): Middleware =>
    async (told: Task, context: Context, next) => {
      expect(context.task).toBe(told);
      order.push(`${name} before ${told.type}`);
      const result = await next();
      order.push(`${name} after`);
      return name === "outer" ? { wrapped: result } : result;
    };
  const t = task("t");
  const use = [note("outer"), note("inner")];
  await cortex.worker("default", [t.handle(() => void order.push("handler"))], { use });
  const submitted = client.submit(t);
  await cortex.waitFor(submitted, "completed");
  expect(await submitted.result()).toEqual({ wrapped: null });
  expect(order).toEqual(["outer before t", "inner before t", "handler", "inner after", "outer after"]);
});

test("helper - middleware sees what was thrown, a payload that does not fit too, and may go on without the handler", async () => {
  const client = await open();
  const seen: unknown[] = [];
  const use: Middleware = async (told, _, next) => {
    if (told.payload === "known") return "kept";
    try {
      return await next();
    } catch (error) {
      seen.push((error as { code?: string }).code);
      throw error;
    }
  };
  const t = task("t", { payload: digits });
  await cortex.worker("default", [t.handle(() => "done")], { use });
  const kept = client.submit({ type: "t", payload: "known" });
  await cortex.waitFor(kept, "completed");
  expect(await kept.result()).toBe("kept");
  await cortex.waitFor(client.submit({ type: "t", payload: "wrong" }), "failed");
  expect(seen).toEqual(["invalid-payload"]);
});

test("helper - middleware that goes on twice fails the attempt, and the handler ran once", async () => {
  const client = await open();
  let ran = 0;
  const use: Middleware = async (_, __, next) => {
    await next();
    return next();
  };
  await cortex.worker("default", () => ++ran, { use });
  const dead = await cortex.waitFor(client.submit({ type: "t", attempts: 1 }), "dead");
  expect(dead.error?.message).toContain("next() was called twice");
  expect(ran).toBe(1);
});

// ------------------------------------------------------------------------------------------------------ batches

const index = task("index", { queue: "index", payload: TypeCompiler.Compile(Type.Integer()), attempts: 1 });
const submitAll = async (payloads: unknown[]) =>
  (
    await cortex
      .client()
      .submit(payloads.map((payload) => ({ queue: "index", type: "index", payload, attempts: 1 })))
  ).map(({ id }) => id);

test("helper - a batch is taken when it is full, and otherwise when the first has waited long enough", async () => {
  await open();
  const batches: number[][] = [];
  const many = (items: readonly BatchItem<number>[]) => {
    batches.push(items.map(({ payload }) => payload));
    return items.map(({ payload }) => -payload);
  };
  await cortex.worker("index", [index.handleBatch({ size: 3, waitMs: 1000 }, many)]);
  const ids = await submitAll([1, 2, 3, 4]);
  await cortex.waitFor(ids[2]!, "completed");
  expect(batches).toEqual([[1, 2, 3]]);
  await cortex.advance(500);
  const [fifth] = await submitAll([5]);
  await cortex.advance(400);
  expect(batches).toHaveLength(1);
  await cortex.advance(100);
  await cortex.waitFor(fifth!, "completed");
  expect(batches).toEqual([
    [1, 2, 3],
    [4, 5],
  ]);
  expect((await cortex.client().task(ids[3]!).get()).result).toBe(-4);
});

test("helper - each task of a batch has its own outcome, and what does not fit never joins", async () => {
  await open();
  const seen: number[][] = [];
  await cortex.worker("index", [
    index.handleBatch({ size: 4, waitMs: 100 }, async (items) => {
      seen.push(items.map(({ payload }) => payload));
      return items.map(({ payload }) =>
        payload === 2 ? Object.assign(new Error("two is too many"), { final: true }) : { id: payload },
      );
    }),
  ]);
  const [one, two, wrong, three] = await submitAll([1, 2, "x", 3]);
  await cortex.settle();
  await cortex.advance(100);
  expect((await cortex.waitFor(one!, "completed")).result).toEqual({ id: 1 });
  expect((await cortex.waitFor(two!, "failed")).error).toMatchObject({ message: "two is too many" });
  expect((await cortex.waitFor(wrong!, "failed")).error).toMatchObject({ code: "invalid-payload" });
  expect((await cortex.waitFor(three!, "completed")).result).toEqual({ id: 3 });
  expect(seen).toEqual([[1, 2, 3]]);
});

test.each([
  ["throws", () => Promise.reject(new Error("the index is down")), "the index is down"],
  ["returns too few outcomes", () => [1], "given 2 tasks and returned 1 outcomes"],
  ["returns none", () => undefined as never, "given 2 tasks and returned no array"],
])("helper - a batch whose handler %s fails the attempts of all its tasks", async (_, many, words) => {
  await open();
  await cortex.worker("index", [index.handleBatch({ size: 2 }, many)]);
  for (const id of await submitAll([1, 2]))
    expect((await cortex.waitFor(id, "dead")).error?.message).toContain(words);
});

test("helper - no more handlers run at once than the concurrency, batches and single tasks together", async () => {
  const client = await open();
  const one = task("one", { queue: "index" });
  let running = 0;
  let most = 0;
  const ends: (() => void)[] = [];
  const work = async () => {
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => ends.push(resolve));
    running--;
  };
  await cortex.worker(
    "index",
    [
      index.handleBatch({ size: 2 }, async (items) => {
        await work();
        return items.map(() => null);
      }),
      one.handle(work),
    ],
    { concurrency: 2 },
  );
  const ids = await submitAll([1, 2, 3, 4]);
  for (let i = 0; i < 4; i++) ids.push((await client.submit(one)).id);
  let done = 0;
  while (done < ids.length) {
    await cortex.settle();
    ends.shift()?.();
    done = (await client.tasks({ state: "completed" })).tasks.length;
  }
  expect(most).toBe(2);
});

test("helper - a task that is cancelled while its batch gathers is left out of it", async () => {
  const client = await open();
  const seen: number[][] = [];
  await cortex.worker("index", [
    index.handleBatch({ size: 3, waitMs: 1000 }, (items) => {
      seen.push(items.map(({ payload }) => payload));
      return items.map(() => "done");
    }),
  ]);
  const [one, two] = await submitAll([1, 2]);
  await cortex.settle();
  await client.task(one!).cancel("changed my mind");
  await cortex.advance(1000);
  await cortex.waitFor(two!, "completed");
  expect(seen).toEqual([[2]]);
});

test("helper - a worker that stops takes the batch that gathers, and waits for it", async () => {
  const client = await open();
  const running = await cortex.worker("index", [
    index.handleBatch({ size: 3, waitMs: 3_600_000 }, (items) => items.map(({ payload }) => payload)),
  ]);
  const [id] = await submitAll([7]);
  await cortex.settle();
  const stopped = running.stop();
  await cortex.settle();
  await cortex.advance(0);
  await stopped;
  expect(await client.task(id!).get()).toMatchObject({ state: "completed", result: 7 });
});

test("helper - what a worker cannot hold is said where it is started", async () => {
  await open();
  const of = (size: number, concurrency = 1) =>
    cortex.worker("index", [index.handleBatch({ size }, () => [])], { concurrency });
  await expect(of(101, 100)).rejects.toThrow("is 10100: at most 10000");
  await expect(of(0)).rejects.toThrow("whole numbers");
  await expect(of(1.5, 2)).rejects.toThrow("whole numbers");
  await expect(of(2, 0)).rejects.toThrow("whole numbers");
  await expect(cortex.worker("index", undefined as never)).rejects.toThrow("needs a handler");
});
