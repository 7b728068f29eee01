/** A worker whose handlers hold its loop for as long as they are told: what test/client/health.test.ts spawns. */
import { worker } from "../../client/index.ts";

const handle = ({ payload }: { payload: unknown }) => {
  process.stdout.write("busy\n");
  const end = performance.now() + (payload as number);
  while (performance.now() < end);
  return "held";
};

await worker("q", handle, { url: process.argv[2] as string, workerId: "busy", concurrency: 5 });
process.stdout.write("ready\n");
