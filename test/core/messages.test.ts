/** Messages that are kept: what each operation promises, and all of them against a plain model. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { check, stateText } from "../../src/core/check.ts";
import { Consumer, type Inbox, messageIdOf } from "../../src/core/inboxes.ts";
import { fits } from "../../src/lib/topics.ts";
import { limits } from "../../src/wire/limits.ts";
import type { Input } from "../../src/wire/operations.ts";
import { priorities } from "../../src/wire/tasks.ts";
import { heldCount } from "../support/held.ts";
import { World } from "../support/world.ts";

const publish = (world: World, topic: string, payload: unknown = null, more: object = {}) =>
  world.ok("message.publish", { topic, payload, ...more });

/** Numbers from one on, in one entry. */
const publishMany = (world: World, topic: string, from: number, count: number) =>
  world.ok("transaction.run", {
    then: Array.from({ length: count }, (_, i) => ({
      operation: "message.publish" as const,
      input: { topic, payload: from + i },
    })),
  });

const attach = (world: World, name: string, window = 100, session = "s", holding: string[] = []) => {
  const consumer = new Consumer(world.core.inboxes.get(name) as Inbox, session, window);
  const lost = world.core.inboxes.attach(consumer, holding);
  return Object.assign(consumer, { lost });
};
/** What is delivered now: payloads, or whatever is asked of each. */
const delivered = <T = unknown>(
  world: World,
  of: (one: { id: string; payload: unknown; delivery: number; consumer: Consumer }) => T = ({ payload }) =>
    payload as T,
): T[] => {
  const found: T[] = [];
  world.core.inboxes.deliver(10_000, ({ message, delivery }, consumer) =>
    found.push(of({ id: messageIdOf(message), payload: JSON.parse(message.payload), delivery, consumer })),
  );
  world.sound();
  return found;
};
const ids = (world: World) => delivered(world, ({ id }) => id);
const ack = (world: World, subscription: string, messageId: string) =>
  world.ok("message.ack", { subscription, messageId });
const standing = (world: World, name: string) => {
  const { pending, inFlight, waiting, dead, dropped } = world.ok("subscription.get", { name });
  return { pending, inFlight, waiting, dead, dropped };
};

describe("messages - publish and acknowledge", () => {
  test("messages - what is published waits for each subscription that fits, and goes with the last acknowledgement", () => {
    const world = new World();
    world.ok("subscription.put", { name: "a", topic: "orders.*" });
    world.ok("subscription.put", { name: "b", topic: "orders.>" });
    const { messageId, ...more } = publish(world, "orders.eu", { n: 1 });
    expect(more).toEqual({ subscriptions: 2, duplicate: false });
    expect(messageId).toBe(`${world.store.revision}-0`);
    expect(world.core.messages.size).toBe(1);
    attach(world, "a");
    expect(delivered(world)).toEqual([{ n: 1 }]);
    ack(world, "a", messageId);
    expect(world.core.messages.size).toBe(1);
    world.refused("message.ack", { subscription: "a", messageId }, "unknown-message");
    attach(world, "b");
    expect(delivered(world)).toEqual([{ n: 1 }]);
    ack(world, "b", messageId);
    expect([world.core.messages.size, world.core.deliveries.size]).toEqual([0, 0]);
  });

  test("messages - one that nobody keeps is in the log, and nothing is left of it", () => {
    const world = new World();
    const { messageId, subscriptions } = publish(world, "nobody", 1);
    expect([messageId, subscriptions]).toEqual([`${world.store.revision}-0`, 0]);
    expect(
      world.transactions.at(-1)?.changes.map(({ table, after }) => [table.name, after === undefined]),
    ).toEqual([
      ["messages", false],
      ["messages", true],
    ]);
    expect(world.core.limits.bytes).toBe(0);
  });

  test("messages - a subscription gets what is published after it was made, and nothing twice", () => {
    const world = new World();
    world.ok("subscription.put", { name: "a", topic: "t" });
    publish(world, "t", 1);
    world.ok("subscription.put", { name: "b", topic: "t" });
    publish(world, "t", 2);
    attach(world, "b");
    expect(delivered(world)).toEqual([2]);
    expect(delivered(world)).toEqual([]);
    const c = world.ok("subscription.put", { name: "c", topic: "t", fromRevision: 1 });
    expect(c.pending).toBe(2);
  });

  test("messages - the more urgent come first, and those of one priority in their order", () => {
    const world = new World();
    world.ok("subscription.put", { name: "a", topic: ">" });
    for (const priority of ["low", "normal", "critical", "high", "critical", "low"] as const)
      publish(world, "t", priority, { priority });
    attach(world, "a");
    expect(delivered(world)).toEqual(["critical", "critical", "high", "normal", "low", "low"]);
  });

  test("messages - of those who share a subscription each message goes to one, no more than its window", () => {
    const world = new World();
    world.ok("subscription.put", { name: "a", topic: "t" });
    const one = attach(world, "a", 2, "one");
    const other = attach(world, "a", 1, "other");
    for (let i = 0; i < 5; i++) publish(world, "t", i);
    expect(delivered(world, ({ payload, consumer }) => [payload, consumer.session])).toEqual([
      [0, "one"],
      [1, "other"],
      [2, "one"],
    ]);
    expect([one.flying, other.flying]).toEqual([2, 1]);
    const first = world.core.inboxes.get("a")!.flights.first!;
    ack(world, "a", messageIdOf(first.message));
    expect(delivered(world, ({ payload, consumer }) => [payload, consumer.session])).toEqual([[3, "one"]]);
  });

  test("messages - many are acknowledged in one entry, whichever of them still wait", () => {
    const world = new World();
    for (const name of ["a", "b"]) world.ok("subscription.put", { name, topic: "t" });
    const all = Array.from({ length: 5 }, (_, i) => publish(world, "t", i).messageId);
    ack(world, "a", all[2]!);
    const before = world.transactions.length;
    expect(world.ok("message.ackMany", { subscription: "a", messageIds: [...all, "1-0"] })).toEqual({
      acknowledged: 4,
      lost: [all[2]!, "1-0"],
    });
    expect(world.transactions.length).toBe(before + 1);
    // The floor says all of it: one change for five messages, and one for the row that it passed.
    expect(world.transactions.at(-1)?.changes.map(({ table }) => table.name)).toEqual([
      "subscriptions",
      "deliveries",
    ]);
    expect(standing(world, "a").pending).toBe(0);
    expect(world.ok("message.ackMany", { subscription: "b", messageIds: all }).acknowledged).toBe(5);
    expect(world.core.messages.size).toBe(0);
  });

  test("messages - what does not exist is refused, and changes nothing", () => {
    const world = new World();
    for (const operation of ["message.ack", "message.nack", "message.extend"] as const)
      world.refused(operation, { subscription: "x", messageId: "1-0" }, "unknown-subscription");
    world.refused("message.ackMany", { subscription: "x", messageIds: ["1-0"] }, "unknown-subscription");
    world.refused("message.retry", { subscription: "x" }, "unknown-subscription");
    for (const operation of ["subscription.get", "subscription.delete"] as const)
      world.refused(operation, { name: "x" }, "unknown-subscription");
    world.ok("subscription.put", { name: "x", topic: "t" });
    for (const operation of ["message.ack", "message.nack", "message.extend"] as const)
      world.refused(operation, { subscription: "x", messageId: "1-0" }, "unknown-message");
    world.refused("message.publish", {}, "invalid-input");
    world.refused("message.publish", { topic: "t", workerId: "w" }, "invalid-input");
    world.refused("message.publish", { topic: "t", guarantee: "exactly-once" }, "invalid-input");
    world.refused("message.publish", { topic: "t", dedupeMs: 5 }, "invalid-input");
    world.refused("subscription.put", { name: "x", topic: "other" }, "invalid-input");
    world.refused("subscription.put", { name: "y", topic: "t", workerId: "nobody" }, "worker-offline");
  });
});

describe("messages - redelivery", () => {
  const start = (more: Partial<Input<"subscription.put">> = {}) => {
    const world = new World();
    world.ok("subscription.put", { name: "a", topic: "t", ackWaitMs: 1000, ...more });
    const consumer = attach(world, "a");
    const { messageId } = publish(world, "t", 1);
    return { world, consumer, messageId };
  };
  const fixed = { strategy: "fixed", delayMs: 500, jitter: 0 } as const;

  test("messages - what is not acknowledged in time comes again after its backoff, and is dead after too often", () => {
    const { world, messageId } = start({ deliveriesMax: 3, backoff: fixed });
    for (const delivery of [1, 2, 3]) {
      expect(delivered(world, (one) => [one.id, one.delivery])).toEqual([[messageId, delivery]]);
      world.advance(999);
      expect(standing(world, "a")).toMatchObject({ inFlight: 1, waiting: 0 });
      world.advance(1);
      expect(standing(world, "a").inFlight).toBe(0);
      expect(delivered(world)).toEqual([]);
      world.advance(500);
    }
    expect(standing(world, "a")).toEqual({ pending: 0, inFlight: 0, waiting: 0, dead: 1, dropped: 0 });
    expect(delivered(world)).toEqual([]);
    expect(world.core.messages.size).toBe(1);
    expect(world.ok("message.retry", { subscription: "a" })).toEqual({ retried: 1 });
    expect(delivered(world, ({ delivery }) => delivery)).toEqual([1]);
    ack(world, "a", messageId);
    expect([world.core.messages.size, world.core.deliveries.size]).toEqual([0, 0]);
  });

  test("messages - a shorter time to acknowledge counts for what comes from then on, also behind what has longer", () => {
    const { world } = start({ ackWaitMs: 3_600_000 });
    expect(delivered(world)).toEqual([1]);
    world.ok("subscription.put", { name: "a", topic: "t", ackWaitMs: 1000 });
    publish(world, "t", 2);
    expect(delivered(world)).toEqual([2]);
    world.advance(999);
    expect(standing(world, "a")).toMatchObject({ inFlight: 2, waiting: 0 });
    world.advance(1);
    expect(standing(world, "a")).toMatchObject({ inFlight: 1, waiting: 1 });
    world.advance(3_600_000 - 1000);
    expect(standing(world, "a").inFlight).toBe(0);
  });

  test("messages - what was on its way in a subscription whose deletion a full disk took back comes again in its time", () => {
    const world = new World();
    world.ok("subscription.put", { name: "s", topic: "a", ackWaitMs: 1000 });
    attach(world, "s");
    publish(world, "a", 1);
    expect(delivered(world)).toEqual([1]);
    const durable = world.durable();
    world.ok("subscription.delete", { name: "s" });
    world.advance(1500);
    world.undo(durable);
    expect(standing(world, "s")).toMatchObject({ inFlight: 1 });
    world.advance(1000);
    expect(standing(world, "s")).toMatchObject({ inFlight: 0, waiting: 1 });
    world.advance(1000);
    expect(delivered(world)).toEqual([1]);
  });

  test("messages - what many lose at once is ready again in entries that are none too large", () => {
    const world = new World();
    world.ok("subscription.put", { name: "s", topic: "t", ackWaitMs: 1000, deliveriesMax: 100 });
    for (const from of [0, 1000, 2000]) publishMany(world, "t", from, from < 2000 ? 1000 : 500);
    attach(world, "s", 10_000);
    expect(delivered(world).length).toBe(2500);
    world.transactions.length = 0;
    world.advance(1000);
    expect(standing(world, "s")).toMatchObject({ waiting: 2500, inFlight: 0 });
    expect(world.transactions.map(({ changes }) => changes.length)).toEqual([1000, 1000, 500]);
  });

  test("messages - a refused one waits as long as it is told, or its backoff, or is dead at once", () => {
    const { world, messageId } = start({ backoff: fixed });
    delivered(world);
    const nack = (more: object) => world.ok("message.nack", { subscription: "a", messageId, ...more });
    expect(nack({ delayMs: 50 })).toEqual({ messageId, state: "waiting" });
    world.advance(49);
    expect(delivered(world)).toEqual([]);
    world.advance(1);
    expect(delivered(world)).toEqual([1]);
    nack({});
    world.advance(499);
    expect(delivered(world)).toEqual([]);
    world.advance(1);
    expect(delivered(world)).toEqual([1]);
    nack({ delayMs: 0 });
    expect(delivered(world)).toEqual([1]);
    expect(nack({ dead: true, reason: "no way" })).toEqual({ messageId, state: "dead" });
    world.refused("message.nack", { subscription: "a", messageId }, "unknown-message");
    world.refused("message.nack", { subscription: "a", messageId, dead: true, delayMs: 1 }, "invalid-input");
    ack(world, "a", messageId);
    expect(world.core.messages.size).toBe(0);
  });

  test("messages - who says that it still works on it has its time again", () => {
    const { world, messageId } = start();
    delivered(world);
    world.advance(900);
    expect(world.ok("message.extend", { subscription: "a", messageId })).toEqual({
      messageId,
      deadlineAt: world.now + 1000,
    });
    world.advance(900);
    expect(standing(world, "a").inFlight).toBe(1);
    world.advance(100);
    expect(standing(world, "a")).toMatchObject({ inFlight: 0, waiting: 1 });
    world.refused("message.extend", { subscription: "a", messageId }, "unknown-message");
  });

  test("messages - one that is acknowledged late is acknowledged, if nobody did before", () => {
    const { world, messageId } = start();
    delivered(world);
    world.advance(1000);
    ack(world, "a", messageId);
    world.advance(100_000);
    expect(delivered(world)).toEqual([]);
    expect(world.core.messages.size).toBe(0);
  });

  test("messages - a connection that goes gives back at once, or keeps what it still works on for its session", () => {
    const { world, consumer, messageId } = start();
    const second = publish(world, "t", 2).messageId;
    expect(delivered(world)).toEqual([1, 2]);
    world.core.inboxes.detach(consumer, false);
    expect(standing(world, "a").inFlight).toBe(2);
    const again = attach(world, "a", 100, "s", [messageId, "7-0"]);
    expect([again.lost, again.flying]).toEqual([["7-0"], 1]);
    expect(delivered(world)).toEqual([2]);
    world.core.inboxes.detach(again, true);
    expect(standing(world, "a")).toMatchObject({ inFlight: 0, pending: 2 });
    attach(world, "a", 100, "other");
    expect(delivered(world, (one) => [one.id, one.delivery])).toEqual([
      [messageId, 1],
      [second, 1],
    ]);
  });

  test("messages - who listened where nothing came is held no longer than it listens", async () => {
    const world = new World();
    world.ok("subscription.put", { name: "s", topic: "a" });
    const stays = attach(world, "s");
    const gone = Array.from({ length: 40 }, () => {
      const consumer = attach(world, "s");
      world.core.inboxes.detach(consumer, true);
      return new WeakRef(consumer);
    });
    expect(await heldCount(gone)).toBeLessThan(10);
    publish(world, "a", 1);
    expect(delivered(world, ({ consumer }) => consumer)).toEqual([stays]);
  });

  test("messages - after a restart what was on its way is delivered again, but not what its session names", () => {
    const { world, messageId } = start();
    const second = publish(world, "t", 2).messageId;
    delivered(world);
    const restarted = world.restarted();
    const again = attach(restarted, "a", 100, "s", [messageId]);
    expect([again.lost, again.flying]).toEqual([[], 1]);
    expect(ids(restarted)).toEqual([second]);
    ack(restarted, "a", messageId);
  });

  test("messages - of the dead no more than the newest are kept", () => {
    const { world } = start({ deliveriesMax: 1 });
    for (let i = 0; i < limits.deadMessagesMax; i++) world.run("message.publish", { topic: "t", payload: i });
    const consumer = [...world.core.inboxes.get("a")!.consumers][0]!;
    consumer.window = 10_000;
    world.core.inboxes.room(consumer);
    delivered(world);
    world.advance(1000);
    expect(standing(world, "a").dead).toBe(limits.deadMessagesMax);
    expect(world.core.messages.size).toBe(limits.deadMessagesMax);
  });
});

describe("messages - once", () => {
  test("messages - under one publishId one is published within its time, and another after it", () => {
    const world = new World();
    world.ok("subscription.put", { name: "a", topic: "t" });
    const once = { guarantee: "exactly-once", publishId: "order-17", dedupeMs: 1000 };
    const first = publish(world, "t", 1, once);
    world.advance(999);
    expect(publish(world, "t", 2, once)).toEqual({ ...first, subscriptions: 0, duplicate: true });
    const restarted = world.restarted();
    expect(publish(restarted, "t", 2, once)).toEqual({ ...first, subscriptions: 0, duplicate: true });
    ack(restarted, "a", first.messageId);
    expect(publish(restarted, "t", 2, once).duplicate).toBe(true);
    restarted.advance(1);
    const second = publish(restarted, "t", 3, once);
    expect(second).toMatchObject({ duplicate: false, subscriptions: 1 });
    restarted.advance(1000);
    expect(restarted.core.published.size).toBe(0);
  });

  test("messages - of two who work on the same message one acknowledges it, and the other is refused", () => {
    const world = new World();
    world.ok("subscription.put", { name: "a", topic: "t", ackWaitMs: 1000 });
    attach(world, "a", 1, "one");
    const { messageId } = publish(world, "t", 1);
    delivered(world);
    world.advance(1000);
    world.advance(10_000);
    attach(world, "a", 1, "other");
    expect(ids(world)).toEqual([messageId]);
    ack(world, "a", messageId);
    world.refused("message.ack", { subscription: "a", messageId }, "unknown-message");
  });
});

describe("messages - in transactions", () => {
  const start = () => {
    const world = new World();
    world.ok("subscription.put", { name: "a", topic: "t", ackWaitMs: 1000 });
    const consumer = attach(world, "a");
    const { messageId } = publish(world, "t", 1);
    delivered(world);
    const acked = { operation: "message.ack", input: { subscription: "a", messageId } };
    return { world, consumer, messageId, acked };
  };

  test("messages - what was done and its acknowledgement are one entry, and never two", () => {
    const { world, acked } = start();
    const paid = { operation: "kv.increment", input: { key: "paid" } };
    const said = { operation: "message.publish", input: { topic: "t", payload: "paid" } };
    const before = world.transactions.length;
    world.ok("transaction.run", { then: [paid, acked, said, said] });
    expect(world.transactions.length).toBe(before + 1);
    const refused = world.refused("transaction.run", { then: [paid, acked] }, "unknown-message");
    expect(refused.detail).toContain("/then/1");
    expect(world.ok("kv.get", { key: "paid" }).value).toBe(1);
    const sent = ids(world);
    expect(new Set(sent).size).toBe(2);
    expect(new Set(sent.map((id) => id.split("-")[0])).size).toBe(1);
    world.restarted();
  });

  test("messages - a transaction that comes to nothing leaves the message where it was: on its way to who has it", () => {
    const { world, consumer, acked, messageId } = start();
    world.ok("kv.put", { key: "k", value: 1 });
    const lost = { operation: "kv.put", input: { key: "k", value: 2, ifRevision: 0 } };
    for (const then of [
      [acked, lost],
      [{ ...acked, operation: "message.nack" }, lost],
      [{ operation: "message.ackMany", input: { subscription: "a", messageIds: [messageId] } }, lost],
      [{ operation: "subscription.delete", input: { name: "a" } }, lost],
    ]) {
      world.refused("transaction.run", { then }, "revision-mismatch");
      world.sound();
    }
    expect(standing(world, "a").pending).toBe(1);
    expect(world.core.metrics.messagesAcknowledged).toBe(0);
    // Those who listened on what was deleted for a moment listen there still, and have what they had.
    expect([ids(world), standing(world, "a").inFlight, consumer.flying]).toEqual([[], 1, 1]);
    expect([...(world.core.inboxes.get("a")?.consumers ?? [])]).toEqual([consumer]);
    world.core.inboxes.detach(consumer, false);
    const again = attach(world, "a", 100, "s", [messageId]);
    expect(again.flying).toBe(1);
    world.refused("transaction.run", { then: [acked, lost] }, "revision-mismatch");
    expect([again.flying, delivered(world)]).toEqual([1, []]);
    world.advance(1000);
    expect(standing(world, "a")).toMatchObject({ inFlight: 0, waiting: 1 });
  });
});

describe("messages - ageing", () => {
  const order = (ageingMs: number) => {
    let world = new World({ ageingMs });
    world.ok("subscription.put", { name: "a", topic: "t" });
    publish(world, "t", "low 1", { priority: "low" });
    publish(world, "t", "low 2", { priority: "low" });
    world.advance(1000);
    publish(world, "t", "normal", { priority: "normal" });
    world.advance(1000);
    publish(world, "t", "critical 1", { priority: "critical" });
    world.advance(1001);
    publish(world, "t", "critical 2", { priority: "critical" });
    const before = world.ok("message.receive", { subscription: "a", count: 9 }).messages;
    world = world.restarted({ ageingMs });
    const after = world.ok("message.receive", { subscription: "a", count: 9 }).messages;
    expect(after.map(({ messageId }) => messageId)).toEqual(before.map(({ messageId }) => messageId));
    return before.map(({ payload }) => payload);
  };

  test("messages - one that waits becomes as urgent as a later one of the next priority, and those of one priority stay in order", () => {
    // low 1 and 2 stand where a critical one of 3 s later would, and before one that came later still.
    expect(order(1000)).toEqual(["critical 1", "normal", "low 1", "low 2", "critical 2"]);
    expect(order(60_000)).toEqual(["critical 1", "critical 2", "normal", "low 1", "low 2"]);
  });

  test("messages - where nothing ages the more urgent comes first, however long others wait", () => {
    expect(order(0)).toEqual(["critical 1", "critical 2", "normal", "low 1", "low 2"]);
  });
});

describe("messages - limits and ends", () => {
  test("messages - over its time a message is gone for everyone, wherever it stands", () => {
    const world = new World();
    for (const name of ["a", "b", "c"])
      world.ok("subscription.put", { name, topic: "t", ackWaitMs: 100, deliveriesMax: name === "b" ? 1 : 9 });
    const { messageId } = publish(world, "t", 1, { ttlMs: 1000 });
    attach(world, "a");
    attach(world, "b");
    delivered(world);
    world.advance(100);
    world.ok("message.ack", { subscription: "c", messageId });
    expect([standing(world, "a").waiting, standing(world, "b").dead]).toEqual([1, 1]);
    world.advance(899);
    expect(world.core.messages.size).toBe(1);
    world.advance(1);
    expect([world.core.messages.size, world.core.deliveries.size]).toEqual([0, 0]);
    world.refused("message.ack", { subscription: "a", messageId }, "unknown-message");
  });

  test("messages - what one carried that is over is held no longer, however many wait before and behind it", () => {
    const world = new World();
    world.ok("subscription.put", { name: "s", topic: "a" });
    const { untouched } = world.core.inboxes.get("s")!.lanes[2]!;
    for (let i = 0; i < 90; i++) publish(world, "a", "carried", i % 3 === 1 ? { ttlMs: 100 } : {});
    // The line still has their places.
    const stood = untouched.toArray();
    world.advance(100);
    expect(standing(world, "s").pending).toBe(60);
    expect(stood.map(({ message }) => message.payload)).toEqual(
      Array.from({ length: 90 }, (_, i) => (i % 3 === 1 ? "" : '"carried"')),
    );
  });

  test("messages - a full subscription refuses the publisher, drops its oldest, or goes: as it was told to", () => {
    const world = new World();
    const pendingMax = 2;
    world.ok("subscription.put", { name: "drop", topic: "t", pendingMax, whenFull: "drop-oldest" });
    world.ok("subscription.put", { name: "gone", topic: "t", pendingMax, whenFull: "delete" });
    publish(world, "t", "low", { priority: "low" });
    publish(world, "t", 1);
    // One of the two that it was for is gone with it.
    expect(publish(world, "t", 2).subscriptions).toBe(1);
    expect(world.core.subscriptions.has("gone")).toBe(false);
    expect(standing(world, "drop")).toMatchObject({ pending: 2, dropped: 1 });
    attach(world, "drop");
    expect(delivered(world)).toEqual([1, 2]);
    world.ok("subscription.put", { name: "no", topic: "t", pendingMax: 1 });
    publish(world, "t", 3);
    const { detail } = world.refused("message.publish", { topic: "t" }, "subscription-full");
    expect(detail).toContain("no");
    world.ok("subscription.delete", { name: "no" });
    publish(world, "t", 4);
  });

  test("messages - where there are as many subscriptions as may be, none is made, nor an inbox for a worker that has none", () => {
    const world = new World();
    world.ok("message.publish", { workerId: "known", payload: 1 });
    // As if there were a hundred thousand.
    const { subscriptions } = world.core;
    Object.defineProperty(subscriptions, "size", { get: () => limits.subscriptionsMax, configurable: true });
    world.refused("subscription.put", { name: "s", topic: "t" }, "busy");
    world.refused("message.publish", { workerId: "new" }, "busy");
    expect("ok" in world.run("message.publish", { workerId: "known", payload: 2 })).toBe(true);
    Reflect.deleteProperty(subscriptions, "size");
    expect(standing(world, "$worker.known").pending).toBe(2);
    expect([...world.core.messages.values()].length).toBe(2);
  });

  test("messages - a subscription that may keep less from now on drops what is over, the oldest first", () => {
    const world = new World();
    const [name, topic] = ["drop", "t"];
    world.ok("subscription.put", { name, topic, whenFull: "drop-oldest" });
    publishMany(world, topic, 0, 1000);
    publishMany(world, topic, 1000, 500);
    expect(world.ok("subscription.put", { name, topic, pendingMax: 400 })).toMatchObject({
      ...{ pending: 500, dropped: 1000 },
    });
    // What one entry did not drop goes with the next ones.
    for (let n = 1500; n < 1512; n++) publish(world, topic, n);
    expect(standing(world, name)).toMatchObject({ pending: 400, dropped: 1112 });
    attach(world, name, 400);
    expect(delivered(world)).toEqual(Array.from({ length: 400 }, (_, i) => 1112 + i));
    // What is on its way is not dropped, and one that refuses or goes does so with the next message.
    expect(world.ok("subscription.put", { name, topic, pendingMax: 1 })).toMatchObject({ pending: 400 });
    for (const whenFull of ["delete", "refuse"] as const) {
      world.ok("subscription.put", { name: whenFull, topic, whenFull });
      for (let n = 0; n < 3; n++) publish(world, topic, n);
      world.ok("subscription.put", { name: whenFull, topic, pendingMax: 1 });
      expect(standing(world, whenFull)).toMatchObject({ pending: 3, dropped: 0 });
    }
    world.refused("message.publish", { topic }, "subscription-full");
  });

  test("messages - a subscription cannot begin beyond the log, where it would get nothing in silence", () => {
    const world = new World();
    publish(world, "t");
    const next = world.store.nextRevision;
    const { detail } = world.refused(
      "subscription.put",
      { name: "s", topic: "t", fromRevision: next + 1 },
      "invalid-input",
    );
    expect(detail).toContain(String(next));
    world.ok("subscription.put", { name: "s", topic: "t", fromRevision: next });
    publish(world, "t");
    expect(standing(world, "s").pending).toBe(1);
  });

  test("messages - over the memory limit nothing is published, and what is there can be had and acknowledged", () => {
    const world = new World({ memoryBytesMax: 20_000 });
    world.ok("subscription.put", { name: "a", topic: "t" });
    const { messageId } = publish(world, "t", "x".repeat(20_000));
    world.refused("message.publish", { topic: "t" }, "busy");
    attach(world, "a");
    expect(ids(world)).toEqual([messageId]);
    ack(world, "a", messageId);
    world.ok("subscription.delete", { name: "a" });
    expect(world.core.limits.bytes).toBe(0);
  });

  test("messages - a subscription that nobody listens on goes after its time, one that somebody does stays", () => {
    const world = new World();
    for (const name of ["idle", "busy"]) world.ok("subscription.put", { name, topic: "t", idleMs: 1000 });
    const consumer = attach(world, "busy");
    publish(world, "t", 1);
    world.advance(1000);
    expect(world.ok("subscription.list", {}).subscriptions.map(({ name }) => name)).toEqual(["busy"]);
    world.advance(1000);
    world.core.inboxes.detach(consumer, true);
    world.advance(999);
    expect(world.core.subscriptions.has("busy")).toBe(true);
    world.advance(1);
    world.settle();
    expect([world.core.subscriptions.size, world.core.messages.size]).toEqual([0, 0]);
  });

  test("messages - one that is deleted is held no longer, however long it might have been idle", async () => {
    const world = new World();
    const deleted = Array.from({ length: 40 }, (_, i) => {
      world.ok("subscription.put", { name: `s${i}`, topic: "a", idleMs: 86_400_000 });
      const inbox = new WeakRef(world.core.inboxes.get(`s${i}`)!);
      world.ok("subscription.delete", { name: `s${i}` });
      return inbox;
    });
    world.transactions.length = 0;
    expect(await heldCount(deleted)).toBeLessThan(10);
    expect(world.core.subscriptions.size).toBe(0);
  });

  test("messages - one whose deletion a full disk took back is idle from then on, and goes after its time", () => {
    const world = new World();
    world.ok("subscription.put", { name: "s", topic: "a", idleMs: 1000 });
    const durable = world.durable();
    world.ok("subscription.delete", { name: "s" });
    world.advance(1500);
    world.undo(durable);
    world.advance(900);
    expect(world.core.subscriptions.has("s")).toBe(true);
    world.advance(100);
    expect(world.core.subscriptions.has("s")).toBe(false);
  });

  test("messages - who takes messages by message.receive listens too: the subscription stays, and goes a time after", () => {
    const world = new World();
    world.ok("subscription.put", { name: "polled", topic: "t", idleMs: 1000 });
    for (let i = 0; i < 5; i++) {
      world.advance(900);
      world.ok("message.receive", { subscription: "polled" });
    }
    expect(world.core.inboxes.idle.size).toBe(1);
    world.advance(999);
    expect(world.core.subscriptions.has("polled")).toBe(true);
    world.advance(1);
    expect(world.core.subscriptions.has("polled")).toBe(false);
  });

  test("messages - deleting a subscription lets go of what only it waited for, a thousand a step", () => {
    const world = new World();
    for (const name of ["a", "b"]) world.ok("subscription.put", { name, topic: `${name}.*` });
    for (let i = 0; i < 2500; i++) world.run("message.publish", { topic: "a.x", payload: i });
    publish(world, "b.x", 1);
    expect(world.ok("subscription.delete", { name: "a" })).toEqual({ name: "a", droppedCount: 2500 });
    for (let i = 0; i < 3; i++) world.settle();
    expect(world.core.messages.size).toBe(1);
    expect(world.core.nextDueMs()).toBeGreaterThan(0);
  });

  test("messages - a worker's subscriptions go in the entry in which it does", () => {
    const world = new World();
    world.worker("w");
    world.ok("subscription.put", { name: "a", topic: "t", workerId: "w" });
    expect(world.ok("subscription.get", { name: "a" }).ownerId).toBe("w");
    world.ok("worker.unregister", { workerId: "w" });
    expect(
      world.transactions
        .at(-1)
        ?.changes.map(({ table }) => table.name)
        .sort(),
    ).toEqual(["subscriptions", "workers"]);
  });
});

describe("messages - kept for later, and replayed", () => {
  const kept = (world: World) => world.ok("message.list", {}).messages.map(({ payload }) => payload);

  test("messages - what a topic keeps is let go of in time, also after the oldest that another keeps has expired", () => {
    const world = new World();
    world.ok("topic.put", { topic: "a", keepMs: 1000 });
    world.ok("topic.put", { topic: "b", keepMs: 2000 });
    publish(world, "a", 1, { ttlMs: 10 });
    publish(world, "b", 2);
    world.advance(10);
    expect(world.core.messages.size).toBe(1);
    world.advance(2000);
    expect(world.core.messages.size).toBe(0);
  });

  test("messages - what a topic keeps is what it was when what came after it is refused, or its limit was", () => {
    const world = new World();
    world.ok("topic.put", { topic: "a", keepCount: 2 });
    for (const n of [1, 2]) publish(world, "a", n);
    const topics = () => world.ok("topic.list", {}).topics;
    const before = topics();
    const fails = { operation: "kv.delete", input: { key: "absent" } };
    const again = { operation: "message.publish", input: { topic: "a", payload: 3 } };
    const fewer = { operation: "topic.put", input: { topic: "a", keepCount: 1 } };
    for (const steps of [[again], [again, again, again], [fewer], [fewer, again]])
      world.refused("transaction.run", { then: [...steps, fails] }, "unknown-key");
    expect(topics()).toEqual(before);
    // A full disk takes back what was done, an entry each.
    const durable = world.durable();
    for (const { operation, input } of [again, again, again, fewer, again]) {
      world.ok(operation as "message.publish", input as never);
      world.settle();
    }
    world.undo(durable);
    expect(topics()).toEqual(before);
    world.advance(1000);
    expect(kept(world)).toEqual([1, 2]);
    publish(world, "a", 3);
    expect(kept(world)).toEqual([2, 3]);
  });

  test("messages - a topic keeps what is published for a time, or the newest, and a later subscription begins there", () => {
    const world = new World();
    world.ok("topic.put", { topic: "a.>", keepMs: 1000 });
    world.ok("topic.put", { topic: "*.x", keepCount: 2 });
    publish(world, "b.y", "none");
    for (let n = 0; n < 4; n++) publish(world, "b.x", n);
    expect(kept(world)).toEqual([2, 3]);
    publish(world, "a.y", "a");
    publish(world, "a.x", 4);
    expect(kept(world)).toEqual([3, "a", 4]);
    const { topics } = world.ok("topic.list", {});
    expect(topics.map(({ topic, kept }) => [topic, kept])).toEqual([
      ["*.x", 2],
      ["a.>", 2],
    ]);
    const from = topics[0]!.fromRevision!;
    world.ok("subscription.put", { name: "all", topic: ">", fromRevision: 0 });
    world.ok("subscription.put", { name: "some", topic: ">", fromRevision: from + 1 });
    world.ok("subscription.put", { name: "new", topic: ">" });
    expect(["all", "some", "new"].map((name) => standing(world, name).pending)).toEqual([3, 2, 0]);
    attach(world, "all");
    for (const id of ids(world)) ack(world, "all", id);
    expect(kept(world)).toEqual([3, "a", 4]);
    const restarted = world.restarted();
    world.advance(999);
    expect(kept(world)).toEqual([3, "a", 4]);
    restarted.advance(1000);
    expect(kept(restarted)).toEqual([3, "a", 4]);
    expect(restarted.ok("topic.list", {}).topics.map(({ kept }) => kept)).toEqual([2, 0]);
    restarted.ok("subscription.delete", { name: "some" });
    restarted.settle();
    expect(kept(restarted)).toEqual([3, 4]);
    restarted.ok("topic.delete", { topic: "*.x" });
    restarted.settle();
    expect(kept(restarted)).toEqual([]);
    restarted.refused("topic.delete", { topic: "*.x" }, "unknown-topic");
    restarted.refused("topic.put", { topic: "t" }, "invalid-input");
  });

  test("messages - a topic that was deleted and put again in a transaction that is refused keeps what it kept", () => {
    const world = new World();
    world.ok("subscription.put", { name: "all", topic: "t" });
    world.ok("topic.put", { topic: "t", keepCount: 2 });
    for (let n = 0; n < 4; n++) publish(world, "t", n);
    const then: Input<"transaction.run">["then"] = [
      { operation: "topic.delete", input: { topic: "t" } },
      { operation: "topic.put", input: { topic: "t", keepCount: 2 } },
      { operation: "kv.delete", input: { key: "absent" } },
    ];
    world.refused("transaction.run", { then }, "unknown-key");
    expect(world.ok("topic.list", {}).topics).toMatchObject([{ kept: 2 }]);
    world.ok("subscription.delete", { name: "all" });
    world.settle();
    expect(kept(world)).toEqual([2, 3]);
  });

  test("messages - topics that keep are listed by name, page by page, through a restart and whatever goes meanwhile", () => {
    let world = new World();
    for (const topic of ["b.*", "a.>", "c", "*.x", ">"]) world.ok("topic.put", { topic, keepCount: 2 });
    const names = (input: Input<"topic.list">) => {
      const { topics, cursor } = world.ok("topic.list", input);
      return [topics.map(({ topic }) => topic).join(" "), cursor];
    };
    for (let restarts = 0; restarts < 2; restarts++) {
      expect(names({})).toEqual(["*.x > a.> b.* c", null]);
      expect(names({ limit: 2 })).toEqual(["*.x >", ">"]);
      expect(names({ limit: 2, cursor: ">" })).toEqual(["a.> b.*", "b.*"]);
      expect(names({ limit: 2, cursor: "b.*" })).toEqual(["c", null]);
      world = world.restarted();
    }
    world.ok("topic.delete", { topic: ">" });
    expect(names({ limit: 2, cursor: ">" })).toEqual(["a.> b.*", "b.*"]);
    expect(names({ cursor: "c" })).toEqual(["", null]);
  });

  test("messages - a topic that is put again with less keeps less, and one that is put late begins with what is there", () => {
    const world = new World();
    world.ok("subscription.put", { name: "s", topic: "t" });
    for (let n = 0; n < 5; n++) publish(world, "t", n);
    world.ok("topic.put", { topic: "t", keepCount: 10 });
    world.ok("subscription.delete", { name: "s" });
    world.settle();
    expect(kept(world)).toEqual([0, 1, 2, 3, 4]);
    world.ok("topic.put", { topic: "t", keepCount: 2 });
    world.settle();
    expect(kept(world)).toEqual([3, 4]);
    world.ok("message.publish", { topic: "t", payload: 5, ttlMs: 10 });
    world.advance(10);
    expect(kept(world)).toEqual([4]);
  });

  test("messages - they are listed page by page, as they stand for a subscription", () => {
    const world = new World();
    world.ok("subscription.put", { name: "s", topic: "t.*", ackWaitMs: 1000 });
    world.ok("subscription.put", { name: "other", topic: ">" });
    for (let n = 0; n < 5; n++) publish(world, n < 3 ? "t.a" : "u.b", n);
    const all = world.ok("message.list", { limit: 3 });
    expect(all.messages.map(({ payload }) => payload)).toEqual([0, 1, 2]);
    const rest = world.ok("message.list", { limit: 3, cursor: all.cursor! });
    expect([rest.messages.map(({ payload }) => payload), rest.cursor]).toEqual([[3, 4], null]);
    expect(world.ok("message.list", { topic: "u.>" }).messages).toHaveLength(2);
    const [first, second] = all.messages.map(({ messageId }) => messageId!);
    world.ok("message.nack", { subscription: "s", messageId: first!, dead: true, reason: "no way" });
    ack(world, "s", second!);
    const of = (more: object) =>
      world
        .ok("message.list", { subscription: "s", ...more })
        .messages.map(({ payload, state, reason, failedCount }) => [payload, state, failedCount, reason]);
    expect(of({})).toEqual([
      [0, "dead", 1, "no way"],
      [2, "ready", 0, null],
    ]);
    expect(of({ state: "dead" })).toEqual([[0, "dead", 1, "no way"]]);
    world.refused("message.list", { state: "dead" }, "invalid-input");
    world.refused("message.list", { subscription: "nobody" }, "unknown-subscription");
  });

  test("messages - those that only wait have no entry; who takes or names one gives it its own, wherever it stands", () => {
    const world = new World();
    world.ok("subscription.put", { name: "s", topic: "t.*" });
    world.ok("subscription.put", { name: "other", topic: "t.*" });
    for (let n = 0; n < 6; n++) publish(world, "t.a", n);
    const all = world.ok("message.list", { subscription: "s" }).messages;
    expect(all.map(({ payload, state }) => [payload, state])).toEqual(all.map((_, n) => [n, "ready"]));
    const inbox = world.core.inboxes.get("s")!;
    expect(inbox.entries.size).toBe(0);
    // In the middle, at the end and at the front, and a second time.
    for (const n of [3, 5, 0]) ack(world, "s", all[n]!.messageId!);
    world.refused("message.ack", { subscription: "s", messageId: all[3]!.messageId! }, "unknown-message");
    world.refused("message.ack", { subscription: "s", messageId: all[0]!.messageId! }, "unknown-message");
    world.ok("message.nack", { subscription: "s", messageId: all[2]!.messageId!, delayMs: 0 });
    const taken = world.ok("message.receive", { subscription: "s", count: 10 }).messages;
    expect(taken.map(({ payload, delivery }) => [payload, delivery])).toEqual([
      [1, 1],
      [2, 2],
      [4, 1],
    ]);
    expect(world.core.inboxes.get("other")!.entries.size).toBe(0);
    expect(world.ok("subscription.get", { name: "other" }).pending).toBe(6);
  });

  test("messages - dead ones are on the first page, however many others were published before them", () => {
    const world = new World();
    world.ok("subscription.put", { name: "s", topic: "t" });
    for (let from = 0; from < 11_000; from += 1000) publishMany(world, "t", from, 1000);
    const dead = [publish(world, "t", "x"), publish(world, "t", "y"), publish(world, "t", "z")];
    for (const { messageId } of dead) world.ok("message.nack", { subscription: "s", messageId, dead: true });
    const page = (cursor?: string) =>
      world.ok("message.list", { subscription: "s", state: "dead", limit: 2, ...(cursor && { cursor }) });
    const first = page();
    expect(first.messages.map(({ payload }) => payload)).toEqual(["x", "y"]);
    expect(first.cursor).toBe(dead[1]!.messageId);
    expect(page(first.cursor!)).toMatchObject({ messages: [{ payload: "z", state: "dead" }], cursor: null });
  });

  test("messages - who takes them without a connection has the same time to acknowledge, and shares with those that have one", () => {
    const world = new World();
    world.ok("subscription.put", { name: "s", topic: "t", ackWaitMs: 1000 });
    for (let n = 0; n < 3; n++) publish(world, "t", n);
    const taken = world.ok("message.receive", { subscription: "s", count: 2 }).messages;
    expect(taken.map(({ payload, delivery, subscription }) => [payload, delivery, subscription])).toEqual([
      [0, 1, "s"],
      [1, 1, "s"],
    ]);
    attach(world, "s");
    expect(delivered(world)).toEqual([2]);
    expect(world.ok("message.receive", { subscription: "s" })).toEqual({ messages: [] });
    ack(world, "s", taken[0]!.messageId!);
    world.advance(1000);
    expect(standing(world, "s")).toMatchObject({ inFlight: 0, waiting: 2 });
    world.refused("message.receive", { subscription: "nobody" }, "unknown-subscription");
  });
});

describe("messages - taken by a session that says what it has", () => {
  const aSession = () => {
    const world = new World();
    world.ok("subscription.put", { name: "s", topic: "t", ackWaitMs: 1000 });
    const take = (holding: string[], more: object = {}, session: string | null = "me") => {
      const input = { subscription: "s", count: 10, holding, ...more };
      const result = world.core.run("message.receive", input, { who: "me", session, seq: 1 } as never);
      world.sound();
      if ("error" in result) return result.error.code;
      return (JSON.parse(result.ok) as { messages: { messageId: string; delivery: number }[] }).messages;
    };
    const taken = (...given: Parameters<typeof take>) =>
      (take(...given) as { messageId: string; delivery: number }[]).map(({ messageId }) => messageId);
    const publishes = (count: number) =>
      Array.from({ length: count }, (_, n) => publish(world, "t", n).messageId as string);
    return { world, take, taken, publishes };
  };

  test("messages - what an answer took that never came is taken again at once, uncharged; what is named stays", () => {
    const { world, taken, take, publishes } = aSession();
    const [a, b, c] = publishes(3) as [string, string, string];
    expect(taken([], { count: 2 })).toEqual([a, b]);
    expect(take([a])).toEqual([
      expect.objectContaining({ messageId: b, delivery: 1 }),
      expect.objectContaining({ messageId: c, delivery: 1 }),
    ]);
    expect(standing(world, "s")).toMatchObject({ inFlight: 3, waiting: 0 });
    // Naming it begins its time anew, and nothing else does.
    world.advance(999);
    expect(taken([a])).toEqual([b, c]);
    world.advance(999);
    expect(standing(world, "s").inFlight).toBe(3);
    world.advance(1);
    expect(standing(world, "s")).toMatchObject({ inFlight: 0, waiting: 3 });
  });

  test("messages - so many as it has room for; with 0 it only gives back", () => {
    const { world, taken, publishes } = aSession();
    const [a, b] = publishes(2) as [string, string];
    expect(taken([])).toEqual([a, b]);
    expect(taken([b], { count: 0 })).toEqual([]);
    attach(world, "s", 100, "other");
    expect(ids(world)).toEqual([a]);
  });

  test("messages - a session changes over to a connection and back, with what it names and without the rest", () => {
    const { world, taken, publishes } = aSession();
    const [a, b, c] = publishes(3) as [string, string, string];
    expect(taken([], { count: 2 })).toEqual([a, b]);
    const consumer = attach(world, "s", 100, "me", [b]);
    expect(consumer.lost).toEqual([]);
    expect(ids(world)).toEqual([a, c]);
    world.core.inboxes.detach(consumer, false);
    expect(taken([a])).toEqual([b, c]);
    // Another session gets nothing of it, whatever it names.
    expect(taken([a, b, c], {}, "another")).toEqual([]);
    ack(world, "s", a);
    expect(taken([a, c])).toEqual([b]);
  });

  test("messages - what was refused and is named all the same comes again", () => {
    const { world, taken, publishes } = aSession();
    const [a] = publishes(1) as [string];
    expect(taken([])).toEqual([a]);
    world.ok("message.nack", { subscription: "s", messageId: a, delayMs: 0 });
    expect(taken([a])).toEqual([a]);
  });

  test("messages - a new process takes the word of who says what it has, and who has no session may not", () => {
    const { world, take, publishes } = aSession();
    const [a, b] = publishes(2) as [string, string];
    expect((take([]) as unknown[]).length).toBe(2);
    const after = world.restarted();
    const result = after.core.run("message.receive", { subscription: "s", count: 10, holding: [a] }, {
      ...{ who: "me", session: "me", seq: 1 },
    } as never);
    expect(JSON.parse("ok" in result ? result.ok : "{}").messages).toMatchObject([{ messageId: b }]);
    expect(take([], {}, null)).toBe("invalid-input");
  });

  test("messages - sessions that ask no more are forgotten once there are twice as many", () => {
    const { world, taken } = aSession();
    for (let i = 0; i < 64; i++) taken([], {}, `old-${i}`);
    const { takers } = world.core.inboxes.get("s") as Inbox;
    expect(takers.size).toBe(64);
    world.advance(2 * limits.waitMsMax + 1);
    taken([], {}, "new");
    expect([...takers.keys()]).toEqual(["new"]);
  });
});

describe("messages - to workers", () => {
  test("messages - a worker that is not there has an inbox from its first message on, and no wildcard sees it", () => {
    const world = new World();
    world.ok("subscription.put", { name: "all", topic: ">" });
    const sent = world.ok("message.publish", { workerId: "w.1", payload: 1 });
    expect(sent.subscriptions).toBe(1);
    publish(world, "$x".slice(1), 2);
    world.ok("message.publish", { workerId: "*", payload: 3 });
    expect(world.ok("message.publish", { workerId: "*" }).subscriptions).toBe(1);
    attach(world, "$worker.w.1");
    expect(delivered(world)).toEqual([1, 3, null]);
    attach(world, "all");
    expect(delivered(world)).toEqual([2]);
    expect(world.ok("subscription.get", { name: "$worker.w.1" })).toMatchObject({
      topic: null,
      workerId: "w.1",
      whenFull: "drop-oldest",
      idleMs: 86_400_000,
    });
  });
});

describe("messages - inboxes that nobody fetches from", () => {
  test("messages - a worker's inbox goes a day after the last that was sent to that worker, whatever is sent to all", () => {
    const world = new World();
    const hour = 3_600_000;
    const inbox = () => world.core.subscriptions.has("$worker.w");
    world.ok("message.publish", { workerId: "w", payload: 1 });
    world.advance(23 * hour);
    world.ok("message.publish", { workerId: "w", payload: 2 });
    world.advance(23 * hour);
    world.ok("message.publish", { workerId: "*", payload: 3 });
    expect(standing(world, "$worker.w").pending).toBe(3);
    world.advance(hour);
    expect(inbox()).toBe(false);
    expect(world.core.messages.size).toBe(0);
  });
});

describe("messages - all of it against a plain model", () => {
  const topics = ["a", "a.x", "a.y", "b.x"];
  const patterns = ["a", "a.*", ">", "b.>"];
  const names = ["s0", "s1", "s2", "s3"];
  type Step =
    | { kind: "publish"; topic: string; priority: number; once: number; ttl: number }
    | { kind: "put" | "delete"; at: number }
    | { kind: "deliver"; at: number; window: number }
    | { kind: "ack" | "nack" | "dead" | "retry"; at: number; pick: number; count: number }
    | { kind: "pass"; ms: number }
    | { kind: "restart" | "undo" };
  const at = fc.nat({ max: 3 });
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant("publish" as const),
        topic: fc.constantFrom(...topics),
        priority: fc.nat({ max: 3 }),
        once: fc.nat({ max: 6 }),
        ttl: fc.constantFrom(0, 0, 0, 700),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("put" as const), at }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("delete" as const), at }) },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant("deliver" as const),
        at,
        window: fc.integer({ min: 1, max: 4 }),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constantFrom(
          "ack" as const,
          "ack" as const,
          "nack" as const,
          "dead" as const,
          "retry" as const,
        ),
        at,
        pick: fc.nat({ max: 20 }),
        count: fc.integer({ min: 1, max: 3 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.constantFrom(1, 300, 1000) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("restart" as const, "undo" as const) }) },
  );
  const ackWaitMs = 1000;
  const deliveriesMax = 3;

  type Open = { failed: number; dead: boolean };
  type Model = Map<string, { pattern: string; open: Map<string, Open> }>;

  test("messages - every one is delivered until it is acknowledged, in order, and nothing that was comes again", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 70, size: "max" }), (steps) => {
        let world = new World();
        const model: Model = new Map();
        const known = new Map<string, { messageId: string; until: number }>();
        const of = new Map<string, { topic: string; priority: number; expiresAt: number }>();
        const acked = new Set<string>();
        const flying = new Set<string>();
        let sessions = 0;
        const forget = () => {
          for (const [id, { expiresAt }] of of)
            if (expiresAt > 0 && expiresAt <= world.now)
              for (const { open } of model.values()) open.delete(id);
        };
        /** What the tables say must be what the model says, at every step. */
        const compare = () => {
          forget();
          for (const [name, { open }] of model) {
            const inbox = world.core.inboxes.get(name)!;
            const touched = [...inbox.entries.values()]
              .filter(({ standing }) => standing !== "acknowledged")
              .map(({ message, row }) => [
                messageIdOf(message),
                row?.failedCount ?? 0,
                row?.state === "dead",
              ]);
            const untouched = inbox.lanes
              .flatMap((lane) => lane.untouched.toArray())
              .map(({ message }) => [messageIdOf(message), 0, false]);
            const found = [...touched, ...untouched];
            expect(found.sort()).toEqual(
              [...open].map(([id, { failed, dead }]) => [id, failed, dead]).sort(),
            );
          }
          const needed = new Set([...model.values()].flatMap(({ open }) => [...open.keys()]));
          expect([...world.core.messages.values()].map(messageIdOf).sort()).toEqual([...needed].sort());
        };
        const fail = (name: string, id: string, dead = false) => {
          const one = model.get(name)?.open.get(id);
          flying.delete(`${name} ${id}`);
          if (one === undefined) return;
          one.failed += 1;
          one.dead = dead || one.failed >= deliveriesMax;
        };
        for (const one of steps) {
          switch (one.kind) {
            case "publish": {
              const publishId = one.once < 3 ? `p${one.once}` : undefined;
              const before = publishId === undefined ? undefined : known.get(publishId);
              const input: Input<"message.publish"> = {
                topic: one.topic,
                priority: priorities[one.priority]!,
              };
              if (publishId !== undefined) Object.assign(input, { publishId, dedupeMs: 500 });
              if (one.ttl > 0) input.ttlMs = one.ttl;
              const { messageId, duplicate } = world.ok("message.publish", input);
              expect(duplicate).toBe(before !== undefined && before.until > world.now);
              if (duplicate) {
                expect(messageId).toBe(before!.messageId);
                break;
              }
              if (publishId !== undefined) known.set(publishId, { messageId, until: world.now + 500 });
              of.set(messageId, {
                topic: one.topic,
                priority: one.priority,
                expiresAt: one.ttl > 0 ? world.now + one.ttl : 0,
              });
              for (const { pattern, open } of model.values())
                if (fits(pattern, one.topic)) open.set(messageId, { failed: 0, dead: false });
              break;
            }
            case "put": {
              const name = names[one.at]!;
              world.ok("subscription.put", { name, topic: patterns[one.at]!, ackWaitMs, deliveriesMax });
              if (!model.has(name)) model.set(name, { pattern: patterns[one.at]!, open: new Map() });
              break;
            }
            case "delete": {
              const name = names[one.at]!;
              if (!model.delete(name)) break;
              world.ok("subscription.delete", { name });
              world.settle();
              for (const key of [...acked, ...flying])
                if (key.startsWith(`${name} `)) {
                  acked.delete(key);
                  flying.delete(key);
                }
              break;
            }
            case "deliver": {
              const name = names[one.at]!;
              if (!model.has(name)) break;
              const consumer = attach(world, name, one.window, `s${++sessions}`);
              const got = ids(world);
              world.core.inboxes.detach(consumer, false);
              const { open } = model.get(name)!;
              let last: [priority: number, id: string] = [-1, ""];
              for (const id of got) {
                expect(open.get(id)?.dead).toBe(false);
                expect(acked.has(`${name} ${id}`)).toBe(false);
                expect(flying.has(`${name} ${id}`)).toBe(false);
                flying.add(`${name} ${id}`);
                const { priority } = of.get(id)!;
                expect(priority >= last[0]).toBe(true);
                if (priority === last[0])
                  expect(Number(id.split("-")[0]) > Number(last[1].split("-")[0])).toBe(true);
                last = [priority, id];
              }
              break;
            }
            case "ack":
            case "nack":
            case "dead": {
              const name = names[one.at]!;
              const open = model.get(name)?.open;
              if (open === undefined || open.size === 0) break;
              const all = [...open.keys()];
              const chosen = [
                ...new Set(Array.from({ length: one.count }, (_, i) => all[(one.pick + i) % all.length]!)),
              ];
              if (one.kind === "ack") {
                const { acknowledged } = world.ok("message.ackMany", {
                  subscription: name,
                  messageIds: chosen,
                });
                expect(acknowledged).toBe(chosen.length);
                for (const id of chosen) {
                  open.delete(id);
                  acked.add(`${name} ${id}`);
                  flying.delete(`${name} ${id}`);
                }
              } else {
                const id = chosen[0]!;
                if (open.get(id)!.dead) break;
                const how = one.kind === "dead" ? { dead: true } : { delayMs: one.pick * 20 };
                world.ok("message.nack", { subscription: name, messageId: id, ...how });
                fail(name, id, one.kind === "dead");
              }
              break;
            }
            case "retry": {
              const name = names[one.at]!;
              const open = model.get(name)?.open;
              if (open === undefined) break;
              world.ok("message.retry", { subscription: name });
              for (const standing of open.values())
                if (standing.dead) Object.assign(standing, { failed: 0, dead: false });
              break;
            }
            case "pass": {
              const landed = new Set<string>();
              for (const inbox of world.core.inboxes.all())
                for (const { message, landsAt } of inbox.flights)
                  if (landsAt <= world.clock + one.ms) landed.add(`${inbox.name} ${messageIdOf(message)}`);
              world.advance(one.ms);
              forget();
              for (const key of landed) fail(key.split(" ")[0]!, key.split(" ")[1]!);
              break;
            }
            case "restart":
              world = world.restarted();
              flying.clear();
              break;
            case "undo": {
              // A full disk takes the newest entries back: all is as it was before them, and goes on from there.
              const text = stateText(world.core);
              const from = world.transactions.length;
              for (const name of model.keys()) {
                const all = [...model.get(name)!.open.keys()];
                if (all.length > 0)
                  world.ok("message.ackMany", { subscription: name, messageIds: all.slice(0, 3) });
                world.ok("message.publish", { topic: "a.x" });
                world.ok("subscription.put", { name: "other", topic: ">" });
                world.ok("subscription.delete", { name });
              }
              for (const transaction of world.transactions.splice(from).reverse())
                world.store.undo(transaction);
              expect(stateText(world.core)).toBe(text);
              expect(check(world.core)).toEqual([]);
              flying.clear();
              for (const inbox of world.core.inboxes.all())
                for (const { message } of inbox.flights) flying.add(`${inbox.name} ${messageIdOf(message)}`);
              break;
            }
          }
          compare();
        }
      }),
      { numRuns: 100 },
    );
  });
});
