/** What a subscription of the client does with what comes back: refusals, connections that go, its own end. */
import { expect, test } from "bun:test";
import type { Lost, Message } from "../../client/index.ts";
import { connected, type FakeDaemon, settle } from "./world.ts";

const view = (n: number) => ({
  ...{ event: "message", subscriptionId: "s1", subscription: "s", delivery: 1, messageId: `${n}-0` },
  ...{ topic: "t", workerId: null, priority: "normal", publisher: "p", publishedAt: 0 },
  ...{ expiresAt: null, publishId: null, payload: n },
});
const inputs = (daemon: FakeDaemon, op: string) => daemon.line.ops(op).map(({ input }) => input);

/** Attached to a subscription that lasts; each message is done when `end` says so. */
async function attached(onLost?: (lost: Lost) => void) {
  const all = await connected();
  const { script } = all.daemon;
  script["subscription.put"] = () => ({ ok: { name: "s", ackWaitMs: 30_000 } });
  script["subscription.attach"] = ({ input }) => ({ ok: { ...(input as object), lost: [] } });
  script["message.ackMany"] = () => ({ ok: { acknowledged: 1, lost: [] } });
  const errors: unknown[] = [];
  all.client.on("error", (error) => errors.push(error));
  const got: number[] = [];
  const ends: (() => void)[] = [];
  const handler = ({ payload }: Message<number>) => {
    got.push(payload);
    return new Promise<void>((resolve) => ends.push(resolve));
  };
  all.client.topics.handle<number>("t", handler, { name: "s", onLost });
  await settle();
  return { ...all, got, errors, end: () => ends.shift()?.() };
}

test("subscriptions - an acknowledgement that is refused for a while is said again, and the message is not begun anew", async () => {
  const { world, daemon, client, got, errors, end } = await attached();
  daemon.script["message.ackMany"] = () => ({ error: "disk-full", retryAfterMs: 5000 });
  daemon.line.say(view(1), view(2));
  end();
  await settle();
  expect(inputs(daemon, "message.ackMany")).toEqual([{ subscription: "s", messageIds: ["1-0"] }]);
  // Its time was over meanwhile.
  daemon.line.say({ ...view(1), delivery: 2 });
  await settle();
  expect(got).toEqual([1, 2]);
  daemon.line.break();
  await world.advance(100);
  expect(inputs(daemon, "subscription.attach")).toEqual([
    { subscriptionId: "s1", name: "s", holding: ["2-0", "1-0"] },
  ]);
  daemon.script["message.ackMany"] = () => ({ ok: { acknowledged: 1, lost: [] } });
  await world.advance(4900);
  expect(inputs(daemon, "message.ackMany")).toEqual([{ subscription: "s", messageIds: ["1-0"] }]);
  await world.advance(60_000);
  expect(daemon.line.ops("message.ackMany").length).toBe(1);
  expect(errors).toEqual([]);
  // It is settled: what comes under its id now is another delivery.
  daemon.line.say(view(1));
  await settle();
  expect(got).toEqual([1, 2, 1]);
  client.close();
});

test("subscriptions - an acknowledgement whose answer is too old to ask for is said anew", async () => {
  const { world, daemon, client, errors, end } = await attached();
  daemon.script["message.ackMany"] = () => "silent";
  daemon.line.say(view(1));
  end();
  await settle();
  daemon.down = true;
  daemon.line.break();
  await world.advance(600_000);
  daemon.down = false;
  daemon.script["message.ackMany"] = () => ({ ok: { acknowledged: 0, lost: ["1-0"] } });
  await world.advance(20_000);
  expect(inputs(daemon, "message.ackMany")).toEqual([{ subscription: "s", messageIds: ["1-0"] }]);
  expect(errors).toEqual([]);
  client.close();
});

test("subscriptions - an acknowledgement that is refused for good is told", async () => {
  const { daemon, client, errors, end } = await attached();
  daemon.script["message.ackMany"] = () => ({ error: "invalid-input" });
  daemon.line.say(view(1));
  end();
  await settle();
  expect(errors).toMatchObject([{ code: "invalid-input" }]);
  client.close();
});

test("subscriptions - who closes says first what was done in the same turn", async () => {
  const { daemon, client } = await attached();
  const { line } = daemon;
  const messages = client.topics.subscribe("t", { name: "s" });
  const first = messages.next();
  await settle();
  line.say({ ...view(7), subscriptionId: "s2" });
  await first;
  const next = messages.next();
  client.close();
  await expect(next).rejects.toMatchObject({ code: "closed" });
  expect(line.ops("message.ackMany").map(({ input }) => input)).toEqual([
    { subscription: "s", messageIds: ["7-0"] },
  ]);
  expect(line.ops("subscription.detach").length).toBe(2);
});

test("subscriptions - one with a name is told too what was lost of that which nobody keeps", async () => {
  const lost: Lost[] = [];
  const { world, daemon, client } = await attached((one) => lost.push(one));
  daemon.line.say({ event: "messages.lost", subscriptionId: "s1", count: 3 });
  expect(lost).toEqual([{ count: 3 }]);
  daemon.line.break();
  await world.advance(100);
  expect(lost).toEqual([{ count: 3 }, { count: null }]);
  expect(inputs(daemon, "subscription.attach")).toEqual([{ subscriptionId: "s1", name: "s", holding: [] }]);
  client.close();
});

test("subscriptions - who asks while there is no daemon is told so a second after the time, and it is never sent", async () => {
  const { world, daemon, client } = await connected();
  daemon.down = true;
  daemon.line.break();
  const asked = client.topics.request("t", 1, { timeoutMs: 500 });
  let ended: unknown = null;
  asked.catch((error) => {
    ended = error;
  });
  await world.advance(1400);
  expect(ended).toBeNull();
  await world.advance(100);
  expect(ended).toMatchObject({ code: "timeout" });
  daemon.down = false;
  await world.advance(20_000);
  expect(client.state).toBe("connected");
  expect(daemon.line.ops("message.request")).toEqual([]);
  client.close();
});

test("subscriptions - one that cannot be made for a while is made later, unless it was ended meanwhile", async () => {
  const { world, daemon, client } = await connected();
  const errors: unknown[] = [];
  client.on("error", (error) => errors.push(error));
  daemon.script["subscription.put"] = () => ({ error: "busy", retryAfterMs: 100 });
  daemon.script["subscription.attach"] = ({ input }) => ({ ok: { ...(input as object), lost: [] } });
  client.topics.handle("t", () => {}, { name: "s" });
  const end = client.topics.handle("t", () => {}, { name: "ended" });
  await settle();
  end();
  daemon.script["subscription.put"] = () => ({ ok: { name: "s", ackWaitMs: 30_000 } });
  await world.advance(100);
  expect(inputs(daemon, "subscription.put")).toMatchObject([{ name: "s" }, { name: "ended" }, { name: "s" }]);
  expect(inputs(daemon, "subscription.attach")).toMatchObject([{ name: "s" }]);
  daemon.script["subscription.put"] = () => ({ error: "worker-offline" });
  client.topics.handle("t", () => {}, { name: "refused" });
  await settle();
  expect(errors).toMatchObject([{ code: "worker-offline" }]);
  client.close();
});
