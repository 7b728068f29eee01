import { expect, test } from "bun:test";
import { Cancel, Discard, Retry, Snooze } from "../../client/verdicts.ts";
import { type Context, type RunOptions, worker } from "../../client/worker.ts";
import { assigned, FakeDaemon, settle, World } from "./world.ts";

/** What the worker says of a task whose handler is this one. */
async function saidOf(handler: (context: Context) => unknown, options: RunOptions = {}, group?: string) {
  const world = new World();
  const daemon = new FakeDaemon();
  const running = await worker("q", (_, context) => handler(context), {
    transport: daemon,
    environment: world,
    workerId: "w",
    ...options,
  });
  daemon.script["queue.pause"] = () => ({ ok: {} });
  daemon.line.say(assigned("1-0", 5, group === undefined ? {} : { group }));
  for (let i = 0; i < 5; i++) await settle();
  const said = daemon.line.work.map(({ op, input }) => [op, input]);
  running.client.close();
  running.done.catch(() => {});
  return said;
}

const lease = { taskId: "1-0", workerId: "w", token: 5 };
const later = new Date(1_900_000_000_000);

test.each([
  ["Snooze(ms)", () => Snooze(5000), "task.snooze", { forMs: 5000 }],
  ["Snooze(Date)", () => Snooze(later), "task.snooze", { until: later.getTime() }],
  ["Cancel(why)", () => Cancel("gone"), "task.cancel", { reason: "gone" }],
  [
    "Discard(why)",
    () => Discard("spam"),
    "task.fail",
    { error: { message: "spam", code: "discarded" }, final: true, reason: "spam" },
  ],
  [
    "Retry(ms, why)",
    () => Retry(10.5, "busy"),
    "task.fail",
    { error: { message: "busy", code: "retry" }, retryInMs: 11 },
  ],
  [
    "Retry(Date, why)",
    () => Retry(later, "busy"),
    "task.fail",
    { error: { message: "busy", code: "retry" }, retryAt: later.getTime() },
  ],
] as const)("verdicts - %s is the same returned and thrown", async (_, verdict, op, more) => {
  const expected = [[op, { ...lease, ...more }]];
  expect(await saidOf(() => verdict())).toEqual(expected as never);
  const thrown = await saidOf(() => {
    throw verdict();
  });
  expect(thrown).toEqual(expected as never);
});

class Busy extends Error {}
class VeryBusy extends Busy {}
const bad = new TypeError("bad");

test.each<[string, RunOptions, unknown, object]>([
  ["an error of a final class is final", { finalErrors: [TypeError] }, bad, { final: true }],
  ["an error of another class is not", { finalErrors: [TypeError] }, new Busy("b"), {}],
  ["a subclass is of its class", { retryErrors: [Busy] }, new VeryBusy("b"), {}],
  ["an error that is of no retried class is final", { retryErrors: [Busy] }, bad, { final: true }],
  ["final goes first", { finalErrors: [VeryBusy], retryErrors: [Busy] }, new VeryBusy("b"), { final: true }],
  [
    "what an error says of itself goes before its class",
    { finalErrors: [Error] },
    Object.assign(new Error("b"), { retryInMs: 7 }),
    { retryInMs: 7 },
  ],
  [
    "an error may name a moment",
    {},
    Object.assign(new Error("b"), { retryAt: later.getTime() }),
    { retryAt: later.getTime() },
  ],
])("verdicts - %s", async (_, options, error, more) => {
  const [[op, input] = []] = await saidOf(() => {
    throw error;
  }, options);
  const { error: _error, ...rest } = input as { error: unknown };
  expect([op, rest]).toEqual(["task.fail", { ...lease, ...more }]);
});

test("verdicts - a handler that was told to slow down shuts its group, or its queue, and may go on", async () => {
  const handler = async ({ pause }: Context) => {
    await pause(60_000, "429");
    return Snooze(60_000);
  };
  const pause = { queue: "q", forMs: 60_000, reason: "429" };
  const snooze = ["task.snooze", { ...lease, forMs: 60_000 }];
  expect(await saidOf(handler)).toEqual([["queue.pause", pause], snooze] as never);
  expect(await saidOf(handler, {}, "acme")).toEqual([
    ["queue.pause", { ...pause, group: "acme" }],
    snooze,
  ] as never);
});
