/** The app's type, as the typed client sees it: right calls compile, wrong ones do not. */
import { afterAll, describe, expect, test } from "bun:test";
import { treaty } from "@elysiajs/eden";
import type { App } from "../../src/http/app.ts";
import type { Problem } from "../../src/wire/errors.ts";
import type { Task, TaskSubmitted } from "../../src/wire/tasks.ts";
import { world } from "./world.ts";

const w = world();
afterAll(() => w[Symbol.asyncDispose]());
const api = treaty<App>(w.url, { parseDate: false });

describe("http eden", () => {
  test("http eden - a call is typed by the wire's schemas, both ways", async () => {
    const { data, error } = await api.api.tasks.post({ type: "send", priority: "high" });
    expect(error).toBeNull();
    const task: Task | TaskSubmitted | (Task | TaskSubmitted)[] | null = data;
    expect(Array.isArray(task)).toBe(false);
    const { data: again } = await api.api.tasks({ id: (task as Task).id }).get({ query: { wait: "1s" } });
    const read: Task | null = again;
    expect(read).toEqual(task as Task);
    const { data: page } = await api.api.tasks.get({ query: { limit: 5 } });
    const tasks: Task[] | undefined = page?.tasks;
    expect(tasks).toHaveLength(1);
  });

  test("http eden - a refusal arrives as the problem", async () => {
    const { error } = await api.api.tasks({ id: "9-0" }).get();
    const problem = error?.value as Problem;
    expect([error?.status, problem.code]).toEqual([404, "unknown-task"]);
  });

  test("http eden - a wrong field, choice or route does not compile", () => {
    const never = () => {
      // @ts-expect-error: no such field
      void api.api.tasks.post({ type: "send", prio: "high" });
      // @ts-expect-error: no such choice
      void api.api.tasks.post({ type: "send", priority: "urgent" });
      // @ts-expect-error: the type is missing
      void api.api.tasks.post({ queue: "mail" });
      // @ts-expect-error: no such route
      void api.api.jobs.get();
    };
    expect(never).toBeFunction();
  });
});
