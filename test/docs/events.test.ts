/** The events that docs/PROTOCOL.md shows are those the daemon sends in the run that the page tells of. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { Value } from "@sinclair/typebox/value";
import { protocolFile } from "../../docs/generate.ts";
import { limits } from "../../src/wire/limits.ts";
import { ChangeView } from "../../src/wire/state.ts";
import { Stats } from "../../src/wire/stats.ts";
import { Assignment, assignmentOf } from "../../src/wire/tasks.ts";
import { SessionWorld } from "../ws/world.ts";

const examplesOf = (marker: string) =>
  [
    ...readFileSync(protocolFile, "utf8").matchAll(
      new RegExp(`<!-- ${marker} -->\\n\`\`\`json\\n([\\s\\S]*?)\\n\`\`\``, "g"),
    ),
  ].map(([, json]) => JSON.parse(json!));
const shown = examplesOf("events of a run");
const figures = examplesOf("figures of a run").flat();

/** A worker of one queue that watches it; its task is on its way. */
async function aTaskIsRunning(withFigures = false) {
  const it = await SessionWorld.start();
  const line = await it.greet("c0ffee42");
  if (withFigures) await line.ok("stats.start");
  await line.ok("worker.register", { workerId: "worker-001", queues: ["mail"] });
  await line.ok("watch.start", { watchId: "mail", queue: "mail" });
  const submit = () =>
    line.ok("task.submit", { queue: "mail", type: "send", payload: { to: "ada@example.org" } });
  const { id: taskId } = await submit();
  const { token } = line.events("task.assigned")[0].lease;
  return { it, line, submit, world: it.world, lease: { taskId, workerId: "worker-001", token } };
}

test("protocol - the events it shows are those of a real run", async () => {
  const { it, line, submit, lease } = await aTaskIsRunning();
  await line.ok("task.progress", { ...lease, progress: { percent: 40 } });
  await line.ok("task.cancel", { taskId: lease.taskId, reason: "ordered twice" });
  const run = line.events();
  await line.ok("worker.credit", { workerId: "worker-001", credit: 0 });
  line.buffered = limits.watchBufferBytesMax;
  for (let i = 0; i < 3; i++) await submit();
  await line.drain();
  const gap = line.events().slice(run.length);
  const { lockId } = await line.ok("lock.acquire", { resources: [{ name: "deploy" }] });
  const operator = await it.greet("ada");
  await operator.ok("lock.steal", { lockId, reason: "its holder hangs" });
  expect(shown).toEqual([run, gap, line.events().slice(run.length + gap.length)]);
});

test("protocol - the figures it shows are those of such a run", async () => {
  const { line, lease, world } = await aTaskIsRunning(true);
  await line.ok("task.progress", { ...lease, progress: { percent: 40 } });
  await line.ok("task.cancel", { taskId: lease.taskId, reason: "ordered twice" });
  await world.clock.advance(1000);
  // How much memory the daemon takes is no promise.
  const memoryBytes = figures[0].memoryBytes;
  expect(figures).toEqual(line.events("stats").map((stats) => ({ ...stats, memoryBytes })));
});

test("protocol - there is an example of every event, and each fits its schema", () => {
  const events = [...shown.flat(), ...figures];
  expect(new Set(events.map(({ event }) => event))).toEqual(
    new Set(["change", "gap", "lock.lost", "stats", "task.aborted", "task.assigned"]),
  );
  for (const { event, watchId, ...rest } of events) {
    if (event === "task.assigned") expect([...Value.Errors(Assignment, assignmentOf(rest))]).toEqual([]);
    if (event === "stats") expect([...Value.Errors(Stats, rest)]).toEqual([]);
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
