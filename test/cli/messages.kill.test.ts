/** Real daemons that are killed while messages are published and acknowledged: what was answered holds afterwards. */
import { expect, test } from "bun:test";
import { RestClient } from "../../client/rest.ts";
import { spawnDaemon, temporaryFolder } from "../support/daemon.ts";

const subscription = "all";

test("messages - after kill -9 nothing published is lost, and nothing acknowledged comes again", async () => {
  const data = temporaryFolder();
  const published = new Set<number>();
  const acknowledged = new Set<number>();
  /** Their acknowledgement was sent, and not answered. */
  const doubtful = new Set<number>();
  /** What came again after its acknowledgement was answered. */
  const again: number[] = [];
  let n = 0;
  for (let round = 0; round < 3; round++) {
    const daemon = await spawnDaemon({ preset: "durable", data });
    const client = new RestClient({ url: daemon.url });
    await client.subscriptions.put({ name: subscription, topic: "t.>", ackWaitMs: 600_000 });
    let killed = false;
    const publishing = async () => {
      while (!killed) {
        const payload = n++;
        await client.messages.publish({ topic: "t.x", payload, publishId: `n${payload}` });
        published.add(payload);
      }
    };
    const acknowledging = async () => {
      while (!killed) {
        const { messages } = await client.messages.receive({ subscription, count: 5, waitMs: 1000 });
        for (const { payload, messageId } of messages) {
          if (acknowledged.has(payload as number)) again.push(payload as number);
          doubtful.add(payload as number);
          await client.messages.ack({ subscription, messageId: messageId as string });
          doubtful.delete(payload as number);
          acknowledged.add(payload as number);
        }
      }
    };
    const running = [publishing(), publishing(), publishing(), publishing(), acknowledging()];
    const ended = Promise.allSettled(running);
    const target = acknowledged.size + 20;
    while (acknowledged.size < target) await new Promise((resolve) => setImmediate(resolve));
    killed = true;
    await daemon.kill();
    await ended;
  }
  const daemon = await spawnDaemon({ preset: "durable", data });
  const client = new RestClient({ url: daemon.url });
  const left: number[] = [];
  for (;;) {
    const { messages } = await client.messages.receive({ subscription, count: 1000 });
    if (messages.length === 0) break;
    left.push(...messages.map(({ payload }) => payload as number));
  }
  expect(new Set(left).size).toBe(left.length);
  expect([...again, ...left.filter((payload) => acknowledged.has(payload))]).toEqual([]);
  const all = new Set([...left, ...acknowledged, ...doubtful]);
  expect([...published].filter((payload) => !all.has(payload))).toEqual([]);
  // The same id published again is the same message.
  const [one] = published;
  const repeated = await client.messages.publish({ topic: "t.x", payload: 0, publishId: `n${one}` });
  expect(repeated.duplicate).toBe(true);
  await daemon.kill();
}, 120_000);
