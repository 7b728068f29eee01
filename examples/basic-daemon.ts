/**
 * The whole coordinator in your own process, with no port: `bun examples/basic-daemon.ts [FOLDER]`
 * It keeps its state in FOLDER, as `cortexd serve` would: run it again, and the count goes on.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createCoordinator } from "@cortexd/client/embedded";

const data = process.argv[2] ?? mkdtempSync(join(tmpdir(), "cortex-example-"));
const cortex = await createCoordinator({ data });
const client = cortex.client();

await cortex.worker("mail", async (task, { client: fenced }) => {
  const { value } = await fenced.kv.increment("sent");
  return { to: task.payload, sent: value };
});
for (const to of ["ada@example.org", "grace@example.org"])
  console.log(await client.submit({ queue: "mail", type: "send", payload: to }).result());

const { revision } = await client.getState();
console.log(`revision ${revision}, on disk in ${data}`);
await cortex.stop();
