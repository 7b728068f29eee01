/** The client against a real daemon, from the source or the executable, at both of its WebSocket addresses. */
import { afterAll, expect, test } from "bun:test";
import { CoordinationClient, CortexError, worker } from "../../client/index.ts";
import { spawnDaemon } from "../support/daemon.ts";

const daemon = await spawnDaemon({ preset: "durable", args: ["--token", "s3cret"] });
afterAll(() => daemon.kill());

const addresses: [string, string][] = [
  ["the WebSocket's own port", daemon.wsUrl],
  ["/ws beside REST", `${daemon.url.replace("http", "ws")}/ws`],
];

test.each(addresses)(
  "client - at %s a task is pushed, done, and its result comes back",
  async (where, url) => {
    const queue = where.replace(/[^a-z]/gi, "-").replace(/^-/, "");
    const running = await worker(queue, async (task) => ({ echoed: task.payload }), { url, token: "s3cret" });
    const client = new CoordinationClient({ url, token: "s3cret" });
    await client.connect();
    expect(await client.submit({ queue, type: "echo", payload: [1, "zwei"] }).result()).toEqual({
      echoed: [1, "zwei"],
    });
    await client.close();
    await running.stop();
  },
);

test.each(addresses)("client - at %s a wrong token is refused by name", async (_, url) => {
  const client = new CoordinationClient({ url, token: "s3cres" });
  const refusal = await client.connect().catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(CortexError);
  expect(refusal).toMatchObject({ code: "unauthorized" });
  await client.close();
});
