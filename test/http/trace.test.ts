/** The W3C Trace Context of a task, from whoever submits it to whoever runs it. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { RestClient } from "../../client/rest.ts";
import { worker } from "../../client/worker.ts";
import type { Trace } from "../../src/wire/tasks.ts";
import { inTrace, traceOf, withoutTraces } from "../../src/wire/trace.ts";
import { type Daemon, runCortexd, spawnDaemon, startCortexd } from "../support/daemon.ts";

setDefaultTimeout(60_000);

let daemon: Daemon;
let client: RestClient;
beforeAll(async () => {
  daemon = await spawnDaemon();
  client = new RestClient({ url: daemon.url });
});
afterAll(() => daemon.kill());

const parent = (last: string) => `00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333${last}-01`;
const headers = (last: string, more: Record<string, string> = {}) => ({
  ...{ "content-type": "application/json", traceparent: parent(last), tracestate: "vendor=1" },
  ...more,
});
async function post(path: string, body: unknown, headers: Record<string, string>) {
  const answer = await fetch(`${daemon.url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  expect(answer.ok).toBe(true);
  return answer.json();
}
const task = { queue: "traced", type: "t" };
const own: Trace = { traceparent: parent("9") };

test("trace - a task is in the trace of its request, unless its submit says another", async () => {
  const traced = { traceparent: parent("1"), tracestate: "vendor=1" };
  expect((await post("/api/tasks", task, headers("1"))).trace).toEqual(traced);
  const list = await post("/api/tasks", [task, { ...task, trace: own }], headers("1"));
  expect(list.map(({ trace }: { trace: Trace }) => trace)).toEqual([traced, own]);
  const { ids } = await post("/api/graphs", { tasks: [{ ...task, queue: "graph" }] }, headers("1"));
  expect((await client.task(ids[0])).trace).toEqual(traced);
  expect((await client.submit({ ...task, trace: own })) as object).toMatchObject({ trace: own });
  expect((await client.submit(task)) as object).toMatchObject({ trace: null });
});

test("trace - a header that is none is left out, a field that is none is refused", async () => {
  for (const traceparent of [
    "nonsense",
    parent("1").toUpperCase(),
    `00-${"0".repeat(32)}-b7ad6b7169203331-01`,
  ]) {
    expect((await post("/api/tasks", task, headers("1", { traceparent }))).trace).toBeNull();
    const refused = client.submit({ ...task, trace: { traceparent } });
    await expect(refused).rejects.toMatchObject({ errors: [{ pointer: "/trace/traceparent" }] });
  }
  const tooLong = { tracestate: `a=${"x".repeat(600)}` };
  expect((await post("/api/tasks", task, headers("1", tooLong))).trace).toEqual({ traceparent: parent("1") });
});

test("trace - a request that is sent again in another trace is the same request", async () => {
  const key = { "idempotency-key": "the same" };
  const first = await post("/api/tasks", task, headers("1", key));
  const again = await post("/api/tasks", task, headers("2", key));
  expect([again.id, again.trace]).toEqual([first.id, first.trace]);
});

test("trace - handlers get it, pushed and claimed, also after the daemon was killed", async () => {
  const trace = { traceparent: parent("3"), tracestate: "vendor=3" };
  const pushed = await client.submit({ queue: "pushed", type: "t", trace });
  await client.submit({ queue: "claimed", type: "t", trace });
  const { port, wsPort, data } = daemon;
  await daemon.kill();
  daemon = await spawnDaemon({
    data,
    command: ["serve", "--port", `${port}`, "--ws-port", `${wsPort}`, "--data", data],
  });
  const running = await worker("pushed", ({ trace }) => trace, { url: daemon.wsUrl });
  expect((await client.task(pushed.id, { waitMs: 30_000 })).result).toEqual(trace);
  await running.stop();
  await client.register({ workerId: "claimer", queues: ["claimed"] });
  const { assignments } = await client.claim({ workerId: "claimer", waitMs: 5000 });
  expect(assignments.map(({ task }) => task.trace)).toEqual([trace]);
});

test("trace - the command line takes it from its environment, and gives it to programs", async () => {
  const environment = { CORTEX_URL: daemon.url, TRACEPARENT: parent("4"), TRACESTATE: "vendor=4" };
  const { output } = await runCortexd(["tasks", "submit", "t", "--queue", "program", "--json"], {
    environment,
  });
  const { id } = JSON.parse(output);
  const run = startCortexd(
    ["run", "--queue", "program", "--", "sh", "-c", 'echo "$TRACEPARENT $TRACESTATE"'],
    { environment: { CORTEX_URL: daemon.url } },
  );
  expect((await client.task(id, { waitMs: 30_000 })).result).toBe(`${parent("4")} vendor=4`);
  run.signal("SIGTERM");
  expect((await run.ended).code).toBe(0);
});

test("trace - what is no submit stays as it is", () => {
  const trace = traceOf(parent("1"), null);
  for (const input of [null, 7, "text", [null, 7, []], { tasks: 7 }])
    expect([inTrace(input, trace), withoutTraces(input)]).toEqual([input, input]);
  expect(inTrace({ type: "t" }, null)).toEqual({ type: "t" });
  expect(withoutTraces({ tasks: [{ type: "t", trace: own, payload: { trace: 1 } }] })).toEqual({
    tasks: [{ type: "t", payload: { trace: 1 } }],
  });
});
