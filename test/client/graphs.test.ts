/** Graphs through the client and its worker, against the coordinator in this process. */
import { afterEach, describe, expect, test } from "bun:test";
import { createCoordinator, type TestCoordinator } from "@cortexd/client/testing";
import { AfterChildren } from "../../client/verdicts.ts";
import { limits } from "../../src/wire/limits.ts";

let cortex: TestCoordinator;
const create = async () => {
  cortex = await createCoordinator();
  return cortex.client();
};
afterEach(() => cortex.stop());

describe("graphs - the client", () => {
  test("graphs - a builder submits what was added, each runs after what it waits for, and sees the results", async () => {
    const client = await create();
    await cortex.worker("q", async (task, { dependencies }) => {
      if (task.type === "render") return `page ${task.payload}`;
      const all = await dependencies();
      return Object.fromEntries(
        Object.entries(all).map(([name, { state, result }]) => [name, [state, result]]),
      );
    });
    const graph = client.graph();
    const pages = [1, 2].map((payload) =>
      graph.add({ queue: "q", type: "render", payload, ref: `p${payload}` }),
    );
    const book = graph.add({ queue: "q", type: "bind" }, pages);
    const after = graph.add({ queue: "q", type: "bind" }, [{ task: book, onFail: "ignore" }]);
    expect(() => book.id).toThrow("not submitted");
    const { ids, duplicates } = await graph.submit();
    expect([ids.length, duplicates]).toEqual([4, []]);
    await cortex.settle();
    const bound = { p1: ["completed", "page 1"], p2: ["completed", "page 2"] };
    expect(await book.result()).toEqual(bound);
    expect(await after.result()).toEqual({ "task-2": ["completed", bound] });
    const rows = [];
    for await (const { name, taskId, relation } of client.task(book.id).dependencies())
      rows.push([name, taskId, relation]);
    expect(rows).toEqual([
      ["p1", pages[0]!.id, "after"],
      ["p2", pages[1]!.id, "after"],
    ]);
  });

  test("graphs - results that are too large for the push are read when the handler asks for them", async () => {
    const client = await create();
    const large = "x".repeat(limits.dependenciesUnitsMax);
    await cortex.worker("q", async (task, { dependencies }) => {
      if (task.type === "a") return large;
      const { a } = await dependencies();
      return (a!.result as string).length;
    });
    const graph = client.graph();
    const b = graph.add({ queue: "q", type: "b" }, [graph.add({ queue: "q", type: "a", ref: "a" })]);
    await graph.submit();
    await cortex.settle();
    expect(await b.result<number>()).toBe(large.length);
  });

  test("graphs - a handler adds children, returns AfterChildren, and runs again when they are done, in one attempt", async () => {
    const client = await create();
    const runs: string[] = [];
    await cortex.worker(
      "q",
      async (task, { dependencies, addChildren }) => {
        if (task.type === "child") {
          if (task.payload === 2) throw Object.assign(new Error("no"), { final: true });
          return task.payload;
        }
        const done = await dependencies();
        runs.push(Object.keys(done).join());
        if (Object.keys(done).length > 0) return [done.one?.result, done.two?.state, task.attempt];
        await addChildren([
          { queue: "q", type: "child", payload: 1, ref: "one" },
          { queue: "q", type: "child", payload: 2, ref: "two", onFail: "ignore" },
        ]);
        return AfterChildren();
      },
      { concurrency: 3 },
    );
    const parent = client.submit({ queue: "q", type: "parent", attempts: 1 });
    await cortex.settle();
    expect(await parent.result<unknown>()).toEqual([1, "failed", 1]);
    expect(runs).toEqual(["", "one,two"]);
  });

  test("graphs - AfterChildren without children fails the attempt", async () => {
    const client = await create();
    await cortex.worker("q", () => AfterChildren());
    const task = await client.submit({ queue: "q", type: "t", attempts: 1 });
    await cortex.settle();
    expect(await client.task(task.id).get()).toMatchObject({ state: "dead", error: { code: "no-children" } });
  });

  test("graphs - a batch is closed, a cancel and a retry cascade", async () => {
    const client = await create();
    const batch = await client.submit({ type: "done", open: true });
    await client.submit({ type: "t", parent: { taskId: batch.id } });
    expect((await client.task(batch.id).close()).state).toBe("blocked");
    await client.task(batch.id).cancel("no more", { cascade: true });
    const [child] = (await client.tasks({ state: "cancelled" })).tasks.filter(({ id }) => id !== batch.id);
    expect(child?.graph).toMatchObject({ parentId: batch.id });
    await client.task(child!.id).retry();
    await client.task(child!.id).cancel();
    // It was cancelled by hand and not for its child: a cascade leaves it.
    await client.task(child!.id).retry({ cascade: true });
    expect((await client.task(batch.id).get()).state).toBe("cancelled");
  });

  test("graphs - a graph of the largest number goes in one frame", async () => {
    const client = await create();
    const graph = client.graph();
    let last = graph.add({ queue: "none", type: "step", payload: { n: 0 } });
    for (let n = 1; n < limits.tasksPerGraphMax; n++)
      last = graph.add({ queue: "none", type: "step", payload: { n } }, [last]);
    const { ids } = await graph.submit();
    expect(ids.length).toBe(limits.tasksPerGraphMax);
    expect(last.id).toBe(ids.at(-1) as string);
    expect((await client.task(last.id).get()).state).toBe("blocked");
    const { tasks } = await client.getState().then(({ counts }) => counts);
    expect(tasks).toMatchObject({ blocked: limits.tasksPerGraphMax - 1, queued: 1 });
  }, 60_000);
});
