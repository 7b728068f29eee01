/** What a program is promised when it changes many tasks at once. */
import { expect, test } from "bun:test";
import { CoordinationClient, CortexError } from "../../client/index.ts";
import { limits } from "../../src/wire/limits.ts";
import type { Input } from "../../src/wire/operations.ts";
import { FakeDaemon, World } from "./world.ts";

async function connected() {
  const daemon = new FakeDaemon();
  const client = new CoordinationClient({ transport: daemon, environment: new World() });
  await client.connect();
  const inputs = () => daemon.line.work.map(({ op, input }) => [op, input]);
  return { daemon, client, inputs };
}

test("bulk - any number of ids goes slice by slice, and what is refused is gathered", async () => {
  const { daemon, client, inputs } = await connected();
  daemon.script["task.cancelMany"] = ({ input }) => {
    const { taskIds } = input as { taskIds: string[] };
    const refused = taskIds.filter((id) => id === "3-0").map((id) => ({ id, code: "wrong-state" }));
    return { ok: { count: taskIds.length - refused.length, refused, cursor: null } };
  };
  const seen: unknown[] = [];
  const taskIds = ["1-0", "2-0", "3-0", "4-0", "5-0"];
  const changed = await client.bulk.cancel(
    { taskIds },
    { reason: "off", sliceMax: 2, progress: (done) => seen.push(done) },
  );
  expect(changed).toEqual({ count: 4, refused: [{ id: "3-0", code: "wrong-state" }] });
  expect(inputs()).toEqual([
    ["task.cancelMany", { reason: "off", taskIds: ["1-0", "2-0"] }],
    ["task.cancelMany", { reason: "off", taskIds: ["3-0", "4-0"] }],
    ["task.cancelMany", { reason: "off", taskIds: ["5-0"] }],
  ]);
  expect(seen).toEqual([
    { count: 2, refusedCount: 0 },
    { count: 3, refusedCount: 1 },
    { count: 4, refusedCount: 1 },
  ]);
});

test("bulk - a filter goes on from where each answer says", async () => {
  const { daemon, client, inputs } = await connected();
  const cursors = ["9-0", "5-0", null];
  for (const op of ["task.retryMany", "task.deleteMany", "task.moveMany"]) {
    let asked = 0;
    daemon.script[op] = () => ({ ok: { count: 1, refused: [], cursor: cursors[asked++] } });
  }
  const filter = { queue: "q" };
  expect(await client.bulk.retry({ filter })).toEqual({ count: 3, refused: [] });
  await client.bulk.delete({ filter }, { dryRun: true });
  await client.bulk.move({ filter }, { queue: "r" });
  const limit = 1000;
  const rows = (op: string, more: object) =>
    [{}, { cursor: "9-0" }, { cursor: "5-0" }].map((from) => [op, { ...more, filter, limit, ...from }]);
  expect(inputs()).toEqual([
    ...rows("task.retryMany", {}),
    ...rows("task.deleteMany", { dryRun: true }),
    ...rows("task.moveMany", { queue: "r" }),
  ] as never);
});

test("bulk - a caller that stops ends it between two slices", async () => {
  const { daemon, client, inputs } = await connected();
  daemon.script["task.cancelMany"] = () => ({ ok: { count: 1, refused: [], cursor: "9-0" } });
  const controller = new AbortController();
  const failure = await client.bulk
    .cancel(
      { filter: {} },
      {
        signal: controller.signal,
        progress: ({ count }) => count === 2 && controller.abort(new Error("enough")),
      },
    )
    .catch((caught: unknown) => caught);
  expect(failure).toEqual(new Error("enough"));
  expect(inputs()).toHaveLength(2);
});

test("bulk - tasks are submitted in slices of what a frame holds, out of anything that yields them", async () => {
  const { daemon, client } = await connected();
  const sizes: number[] = [];
  let next = 0;
  daemon.script["task.submit"] = ({ input }) => {
    const tasks = input as Extract<Input<"task.submit">, unknown[]>;
    sizes.push(tasks.length);
    return { ok: tasks.map(() => ({ id: `${++next}-0`, state: "queued", duplicate: false })) };
  };
  async function* many() {
    for (let i = 0; i < 2500; i++) yield { type: "t", payload: i };
    for (let i = 0; i < 5; i++) yield { type: "big", payload: "x".repeat(limits.frameBytesMax / 10) };
  }
  const submitted = await client.bulk.submit(many());
  expect(submitted.map(({ id }) => id)).toEqual(Array.from({ length: 2505 }, (_, i) => `${i + 1}-0`));
  expect(sizes).toEqual([1000, 1000, 502, 2, 1]);
});

test("bulk - results are recorded in slices; a refusal of the whole call rejects", async () => {
  const { daemon, client, inputs } = await connected();
  daemon.script["task.completeMany"] = ({ input }) =>
    (input as Input<"task.completeMany">).tasks[0]?.taskId === "3-0"
      ? { error: "invalid-input" as const }
      : { ok: { count: 1, refused: [{ id: "2-0", code: "lease-lost" }] } };
  const tasks = ["1-0", "2-0", "3-0"].map((taskId) => ({ taskId, token: 7 }));
  expect(await client.bulk.complete("w", tasks.slice(0, 2), { sliceMax: 2 })).toEqual({
    count: 1,
    refused: [{ id: "2-0", code: "lease-lost" }],
  });
  const failure = await client.bulk.complete("w", tasks, { sliceMax: 2 }).catch((caught: unknown) => caught);
  expect(failure).toBeInstanceOf(CortexError);
  expect(inputs().at(-1)).toEqual(["task.completeMany", { workerId: "w", tasks: tasks.slice(2) }]);
});
