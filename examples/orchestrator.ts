/**
 * Work of several kinds, given to whoever can do it: `bun examples/orchestrator.ts`
 * It says what is to be done and in which order; which worker does what, the daemon decides. Start workers with
 * examples/basic-worker.ts; for a kind that nobody has it brings one of its own.
 */
import { CoordinationClient, worker } from "@cortexd/client";

const { CORTEX_URL: url, CORTEX_TOKEN: token } = process.env;
const client = new CoordinationClient({ url, token });
const kinds = ["development", "testing", "documentation"];

for (const kind of kinds) {
  const { workers } = await client.workers({ kind });
  if (workers.some(({ state, queues }) => state !== "offline" && queues.includes("examples"))) continue;
  const workerId = `helper-${kind}`;
  await worker("examples", () => ({ doneBy: workerId, kind }), { workerId, kind, url, token });
  console.log(`nobody does ${kind}: ${workerId} was started`);
}

// Each feature is built; then it is tested and described at the same time; the release waits for all of it.
const plan = client.graph();
const parts = ["login", "search", "export"].flatMap((feature) => {
  const add = (kind: string) => ({ queue: "examples", type: kind, payload: feature, kind });
  const built = plan.add(add("development"));
  return [plan.add(add("testing"), [built]), plan.add(add("documentation"), [built])];
});
const last = { queue: "examples", type: "development", payload: "the release", kind: "development" };
const release = plan.add(last, parts);
await plan.submit();

await release.result();
const { tasks } = await client.tasks({ queue: "examples", state: "completed", limit: 10 });
for (const { type, payload, result } of tasks.reverse())
  console.log(`${type} of ${payload} was done by ${(result as { doneBy: string }).doneBy}`);
process.exit(0);
