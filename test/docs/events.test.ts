/** The events that docs/PROTOCOL.md shows are those the daemon sends in the run that the page tells of. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { Value } from "@sinclair/typebox/value";
import { protocolFile } from "../../docs/generate.ts";
import { limits } from "../../src/wire/limits.ts";
import { ChangeView } from "../../src/wire/state.ts";
import { Assignment, assignmentOf } from "../../src/wire/tasks.ts";
import { SessionWorld } from "../ws/world.ts";

const shown = [
  ...readFileSync(protocolFile, "utf8").matchAll(/<!-- events of a run -->\n```json\n([\s\S]*?)\n```/g),
].map(([, json]) => JSON.parse(json!));

/** A worker of one queue that watches it; its task is on its way. */
async function aTaskIsRunning() {
  const it = await SessionWorld.start();
  const line = await it.greet("c0ffee42");
  await line.ok("worker.register", { workerId: "worker-001", queues: ["mail"] });
  await line.ok("watch.start", { watchId: "mail", queue: "mail" });
  const submit = () =>
    line.ok("task.submit", { queue: "mail", type: "send", payload: { to: "ada@example.org" } });
  const { id: taskId } = await submit();
  const { token } = line.events("task.assigned")[0].lease;
  return { line, submit, lease: { taskId, workerId: "worker-001", token } };
}

test("protocol - the events it shows are those of a real run", async () => {
  const { line, submit, lease } = await aTaskIsRunning();
  await line.ok("task.progress", { ...lease, progress: { percent: 40 } });
  await line.ok("task.cancel", { taskId: lease.taskId, reason: "ordered twice" });
  const run = line.events();
  await line.ok("worker.credit", { workerId: "worker-001", credit: 0 });
  line.buffered = limits.watchBufferBytesMax;
  for (let i = 0; i < 3; i++) await submit();
  await line.drain();
  expect(shown).toEqual([run, line.events().slice(run.length)]);
});

test("protocol - there is an example of every event, and each fits its schema", () => {
  const events = shown.flat();
  expect(new Set(events.map(({ event }) => event))).toEqual(
    new Set(["change", "gap", "task.aborted", "task.assigned"]),
  );
  for (const { event, watchId, ...rest } of events) {
    if (event === "task.assigned") expect([...Value.Errors(Assignment, assignmentOf(rest))]).toEqual([]);
    if (event === "change") expect([...Value.Errors(ChangeView, rest)]).toEqual([]);
    if (event === "change" || event === "gap") expect(watchId).toBe("mail");
  }
});

test("protocol - before is the state before, and the same as state when something else changed", async () => {
  const { line, lease } = await aTaskIsRunning();
  await line.ok("task.extend", lease);
  await line.ok("watch.start", { watchId: "workers", tables: ["workers"] });
  await line.ok("worker.drain", { workerId: "worker-001" });
  await line.ok("worker.unregister", { workerId: "worker-001" });
  const changes = line.events("change").map((event) => [event.operation, event.before, event.state]);
  expect(changes).toEqual([
    ["task.submit", null, "queued"],
    ["task.dispatch", "queued", "running"],
    ["task.extend", "running", "running"],
    ["worker.drain", "online", "draining"],
    ["worker.unregister", "running", "queued"],
    ["worker.unregister", "draining", null],
  ]);
  // Who holds the task, or held it until now.
  const holders = line.events("change").filter(({ table }) => table === "tasks");
  expect(holders.map(({ workerId }) => workerId)).toEqual([null, "worker-001", "worker-001", "worker-001"]);
});
