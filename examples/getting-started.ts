/**
 * A guided tour, step by step: `bun examples/getting-started.ts`
 * It starts a daemon of its own, gives it work, kills it, and shows that nothing is lost. At a terminal it waits for Enter
 * between the steps; it leaves nothing behind.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CoordinationClient, worker } from "@cortexd/client";

const data = mkdtempSync(join(tmpdir(), "cortex-tour-"));
const probe = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
const url = `http://127.0.0.1:${probe.port}`;
await probe.stop(true);
let stepCount = 0;
let daemon = start();
process.once("exit", () => {
  daemon.kill("SIGKILL");
  rmSync(data, { recursive: true, force: true });
});
process.once("SIGINT", () => process.exit(130));

const client = new CoordinationClient({ url });
await step(`A daemon runs at ${url}. Everything it is told lies in ${data}.`, async () => {
  const { revision } = await client.connect();
  console.log(`Connected. Its revision, the number of the newest entry of its log, is ${revision}.`);
});

const submitted = await step("Submit a task. The answer comes once the task is on disk.", async () => {
  const { id, state } = await client.submit({
    queue: "mail",
    type: "send",
    payload: { to: "ada@example.org" },
  });
  console.log(`Task ${id} is ${state}: there is no worker yet.`);
  return id;
});

await step("Kill the daemon with SIGKILL, which no program survives, and start it again.", async () => {
  daemon.kill("SIGKILL");
  await daemon.exited;
  daemon = start();
  const { state } = await client.task(submitted).get(); // the client reconnects by itself
  console.log(`The task is there as before: ${state}.`);
});

const running = await step("Start a worker. The task is pushed to it at once.", () =>
  worker("mail", async (task) => ({ delivered: task.payload }), { workerId: "worker-001", url }),
);

await step("Wait for the result.", async () => {
  const result = await client.task(submitted).result();
  console.log(`Completed: ${JSON.stringify(result)}`);
});

await step("Look at it all.", async () => {
  const { revision, counts } = await client.getState();
  console.log(
    `Revision ${revision}, ${counts.tasks.completed} task completed, ${counts.workers.idle} worker idle.`,
  );
});
await running.stop();
client.close();
console.log(`
That was it. Next: \`bun start\` for a daemon that stays, http://127.0.0.1:9500/swagger to try each operation,
examples/README.md for more examples, docs/README.md for everything else.`);
process.exit(0);

function start() {
  const main = join(import.meta.dir, "../src/main.ts");
  const port = new URL(url).port;
  return Bun.spawn([process.execPath, main, "serve", "--port", port, "--ws-port", "0", "--data", data], {
    ...{ stdin: "ignore", stdout: "ignore", stderr: "inherit" },
  });
}

/** Says what comes, waits for Enter, and does it. */
function step<T>(title: string, work: () => Promise<T>): Promise<T> {
  stepCount++;
  console.log(`\n${stepCount}. ${title}`);
  if (process.stdin.isTTY) prompt("   [Enter]");
  return work();
}
