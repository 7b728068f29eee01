/**
 * One leader of many candidates: `bun examples/leader-election.ts [NAME]`
 * Start several. The leader does what only one may do: here it counts. When it ends, or is killed, another one leads and
 * goes on where it was.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { CoordinationClient, CortexError } from "@cortexd/client";

const name = process.argv[2] ?? `candidate-${process.pid}`;
const { CORTEX_URL: url, CORTEX_TOKEN: token } = process.env;
const client = new CoordinationClient({ url, token });
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());

async function lead(): Promise<void> {
  const leadership = await client.elections.campaign("counter", name, { ttlMs: 2000, signal: stop.signal });
  const over = AbortSignal.any([leadership.signal, stop.signal]);
  try {
    while (!over.aborted) {
      // Refused once another one leads, even if this process was paused and does not know it yet.
      const { value } = await leadership.client.kv.increment("counter/ticks");
      console.log(`${name} leads: tick ${value}`);
      await sleep(250, null, { signal: over }).catch(() => {});
    }
  } catch (error) {
    if (!(error instanceof CortexError && error.code === "fence-lost")) throw error;
  } finally {
    await leadership.release();
  }
}

console.log(
  `${name} is a candidate; ${(await client.elections.leader<string>("counter"))?.value ?? "nobody"} leads`,
);
while (!stop.signal.aborted)
  await lead().catch((error) => {
    if (!stop.signal.aborted) throw error;
  });
client.close();
console.log(`${name} has stopped`);
