/** Messages over connections: who hears what, in which order, and what a slow reader loses. */
import { describe, expect, test } from "bun:test";
import { limits } from "../../src/wire/limits.ts";
import { type Line, SessionWorld } from "./world.ts";

const payloads = (line: Line, subscriptionId?: string) =>
  line
    .events("message")
    .filter((event) => subscriptionId === undefined || event.subscriptionId === subscriptionId)
    .map(({ payload }) => payload);

describe("messages - at most once", () => {
  test("messages - who listens gets what is emitted to topics that fit, and nobody else", async () => {
    const it = await SessionWorld.start();
    const [one, other, publisher] = [await it.greet("one"), await it.greet("other"), await it.greet("pub")];
    await one.ok("topic.subscribe", { subscriptionId: "a", topic: "orders.*" });
    await other.ok("topic.subscribe", { subscriptionId: "b", topic: "orders.>" });
    expect(await publisher.ok("message.emit", { topic: "orders.eu", payload: { n: 1 } })).toEqual({
      deliveries: 2,
    });
    expect(await publisher.ok("message.emit", { topic: "orders.eu.new" })).toEqual({ deliveries: 1 });
    expect(await publisher.ok("message.emit", { topic: "bills.eu" })).toEqual({ deliveries: 0 });
    expect(payloads(one)).toEqual([{ n: 1 }]);
    expect(payloads(other)).toEqual([{ n: 1 }, null]);
    expect(one.events("message")[0]).toEqual({
      event: "message",
      subscriptionId: "a",
      messageId: null,
      topic: "orders.eu",
      workerId: null,
      priority: "normal",
      publisher: "pub",
      publishedAt: it.world.clock.wall(),
      payload: { n: 1 },
    });
  });

  test("messages - of a group one gets each message, in turns; a group of another pattern is another", async () => {
    const it = await SessionWorld.start();
    const lines = [await it.greet("a"), await it.greet("b"), await it.greet("c")] as const;
    for (const line of lines.slice(0, 2))
      await line.ok("topic.subscribe", { subscriptionId: "s", topic: "jobs.*", group: "g" });
    await lines[2].ok("topic.subscribe", { subscriptionId: "s", topic: "jobs.>", group: "g" });
    const publisher = await it.greet("pub");
    for (let i = 0; i < 4; i++)
      expect(await publisher.ok("message.emit", { topic: "jobs.x", payload: i })).toEqual({ deliveries: 2 });
    expect(payloads(lines[0])).toEqual([0, 2]);
    expect(payloads(lines[1])).toEqual([1, 3]);
    expect(payloads(lines[2])).toEqual([0, 1, 2, 3]);
    await lines[0].cut();
    await publisher.ok("message.emit", { topic: "jobs.x", payload: 4 });
    await publisher.ok("message.emit", { topic: "jobs.x", payload: 5 });
    expect(payloads(lines[1])).toEqual([1, 3, 4, 5]);
  });

  test("messages - it waits for no log: neither the message nor the answer", async () => {
    const it = await SessionWorld.start({ held: true });
    const [listener, publisher] = [await it.greet("a"), await it.greet("b")];
    await listener.ok("topic.subscribe", { subscriptionId: "s", topic: "t" });
    it.world.log.auto = false;
    const put = publisher.nextSeq;
    await publisher.frame({ op: "kv.put", seq: put, input: { key: "k", value: 1 } });
    expect(publisher.reply(put)).toBeUndefined();
    expect(await publisher.ok("message.emit", { topic: "t", payload: 1 })).toEqual({ deliveries: 1 });
    expect(payloads(listener)).toEqual([1]);
    expect(publisher.reply(put)).toBeUndefined();
    expect(it.world.engine.counters.entriesLogged).toBe(1);
    it.world.log.complete();
  });

  test("messages - of one frame the most urgent come first, and those of one priority in their order", async () => {
    const it = await SessionWorld.start();
    const [listener, publisher] = [await it.greet("a"), await it.greet("b")];
    await listener.ok("topic.subscribe", { subscriptionId: "s", topic: ">" });
    const emit = (payload: string, priority?: string) => ({
      ...{ op: "message.emit", seq: publisher.nextSeq },
      input: { topic: "t", payload, ...(priority && { priority }) },
    });
    await publisher.frame(
      emit("l1", "low"),
      emit("n1"),
      emit("c1", "critical"),
      emit("n2"),
      emit("h1", "high"),
      emit("c2", "critical"),
    );
    expect(payloads(listener)).toEqual(["c1", "c2", "h1", "n1", "n2", "l1"]);
  });

  test("messages - a slow reader loses them, is told how many, and slows nobody; its answers still come", async () => {
    const it = await SessionWorld.start();
    const [slow, quick, publisher] = [await it.greet("slow"), await it.greet("quick"), await it.greet("pub")];
    for (const line of [slow, quick]) await line.ok("topic.subscribe", { subscriptionId: "s", topic: "t" });
    slow.stuck = true;
    const payload = "x".repeat(limits.messageBufferBytesMax / 4);
    for (let i = 0; i < 10; i++)
      await publisher.ok("message.emit", { topic: "t", payload: `${i}${payload}` });
    expect(payloads(quick)).toHaveLength(10);
    const got = payloads(slow).length;
    expect(got).toBeGreaterThan(0);
    expect(got).toBeLessThan(10);
    expect(slow.events("messages.lost")).toEqual([]);
    expect(slow.closed).toBeNull();
    expect(await slow.ok("session.ping")).toMatchObject({ revision: expect.any(Number) });
    slow.stuck = false;
    await slow.drain();
    expect(slow.events("messages.lost")).toEqual([
      { event: "messages.lost", subscriptionId: "s", count: 10 - got },
    ]);
    expect(it.world.engine.counters.messagesLost).toBe(10 - got);
    await publisher.ok("message.emit", { topic: "t", payload: "after" });
    expect(payloads(slow).at(-1)).toBe("after");
    expect(slow.events("messages.lost")).toHaveLength(1);
  });

  test("messages - a subscription ends by itself, with its connection, or when its name is used again", async () => {
    const it = await SessionWorld.start();
    const [listener, publisher] = [await it.greet("a"), await it.greet("b")];
    const deliveries = async (topic: string) => (await publisher.ok("message.emit", { topic })).deliveries;
    await listener.ok("topic.subscribe", { subscriptionId: "s", topic: "one" });
    await listener.ok("topic.subscribe", { subscriptionId: "s", topic: "two" });
    expect([await deliveries("one"), await deliveries("two")]).toEqual([0, 1]);
    await listener.ok("topic.unsubscribe", { subscriptionId: "s" });
    expect(await deliveries("two")).toBe(0);
    await listener.ok("topic.subscribe", { subscriptionId: "s", topic: "two" });
    await listener.cut();
    expect(await deliveries("two")).toBe(0);
    expect(it.world.engine.counters.subscriptionsOpen).toBe(0);
  });

  test("messages - handed out once an interval, where the daemon is told so", async () => {
    const it = await SessionWorld.start({ config: { messageIntervalMs: 10 } });
    const [listener, publisher] = [await it.greet("a"), await it.greet("b")];
    await listener.ok("topic.subscribe", { subscriptionId: "s", topic: "t" });
    await publisher.ok("message.emit", { topic: "t", payload: 1 });
    await publisher.ok("message.emit", { topic: "t", payload: 2 });
    await publisher.ok("message.emit", { topic: "t", payload: 3, priority: "high" });
    expect(payloads(listener)).toEqual([1]);
    await it.world.advance(9);
    expect(payloads(listener)).toEqual([1]);
    await it.world.advance(1);
    expect(payloads(listener)).toEqual([1, 3, 2]);
  });

  const bad = ["", "a..b", ".a", "a b", "a.*", ">", "$worker.w", `a${".b".repeat(16)}`];
  test.each(bad)("messages - nothing is emitted to %j", async (topic) => {
    const it = await SessionWorld.start();
    const publisher = await it.greet("a");
    expect((await publisher.ask("message.emit", { topic })).error.code).toBe("invalid-input");
  });
  const badPatterns = ["", "a.>.b", "a..b", "$worker.w", "$worker.>", "a*", ">>"];
  test.each(badPatterns)("messages - nobody listens to %j", async (topic) => {
    const it = await SessionWorld.start();
    const listener = await it.greet("a");
    const { error } = await listener.ask("topic.subscribe", { subscriptionId: "s", topic });
    expect(error.code).toBe("invalid-input");
  });
  test("messages - a message has one address, and a payload that is not too large or too deep", async () => {
    const it = await SessionWorld.start();
    const line = await it.greet("a");
    await line.ok("topic.subscribe", { subscriptionId: "s", topic: ">" });
    const code = async (input: object) => (await line.ask("message.emit", input)).error.code;
    expect(await code({})).toBe("invalid-input");
    expect(await code({ topic: "t", workerId: "w" })).toBe("invalid-input");
    expect(await code({ topic: "t", payload: "x".repeat(limits.payloadBytesMax) })).toBe("payload-too-large");
    let deep: unknown = 0;
    for (let i = 0; i <= limits.depthMax; i++) deep = [deep];
    expect(await code({ topic: "t", payload: deep })).toBe("payload-too-deep");
    expect((await line.ask("message.request", { topic: "t", payload: deep, waitMs: 1 })).error.code).toBe(
      "payload-too-deep",
    );
    expect(payloads(line)).toEqual([]);
    expect(it.world.engine.core.bus.askedCount).toBe(0);
  });
});

describe("messages - request and reply", () => {
  const start = async () => {
    const it = await SessionWorld.start();
    const [asker, asked] = [await it.greet("asker"), await it.greet("asked")];
    await asked.ok("topic.subscribe", { subscriptionId: "s", topic: "ask" });
    const ask = async (waitMs = 1000) => {
      const seq = asker.nextSeq;
      await asker.frame({ op: "message.request", seq, input: { topic: "ask", payload: "?", waitMs } });
      return seq;
    };
    const requestId = () => asked.events("message").at(-1).requestId as string;
    return { it, asker, asked, ask, requestId };
  };

  test("messages - the first reply is the answer, and a later one is told that it is over", async () => {
    const { it, asker, asked, ask, requestId } = await start();
    const seq = await ask();
    expect(asker.reply(seq)).toBeUndefined();
    expect(await asked.ok("message.reply", { requestId: requestId(), payload: [1] })).toEqual({
      requestId: requestId(),
    });
    expect(asker.reply(seq).ok).toEqual({ payload: [1], by: "asked" });
    const late = await asked.ask("message.reply", { requestId: requestId(), payload: 2 });
    expect(late.error.code).toBe("unknown-request");
    expect(it.world.engine.core.bus.askedCount).toBe(0);
  });

  test("messages - nobody listens, nobody replies in time, who was asked could not: each has its refusal", async () => {
    const { it, asker, asked, ask, requestId } = await start();
    const none = await asker.ask("message.request", { topic: "nobody", waitMs: 1000 });
    expect(none.error.code).toBe("no-subscribers");
    const slow = await ask(500);
    await it.world.advance(499);
    expect(asker.reply(slow)).toBeUndefined();
    await it.world.advance(251);
    expect(asker.reply(slow).error.code).toBe("no-reply");
    const failed = await ask();
    await asked.ok("message.reply", { requestId: requestId(), error: "no wheat" });
    expect(asker.reply(failed).error).toMatchObject({ code: "request-failed", detail: "no wheat" });
    expect(it.world.engine.core.bus.askedCount).toBe(0);
  });

  test("messages - an asker that is gone is owed nothing", async () => {
    const { it, asker, asked, ask, requestId } = await start();
    await ask();
    await asker.cut();
    expect(it.world.engine.core.bus.askedCount).toBe(0);
    const { error } = await asked.ask("message.reply", { requestId: requestId() });
    expect(error.code).toBe("unknown-request");
  });

  test("messages - a daemon that stops answers who waits", async () => {
    const { it, asker, ask } = await start();
    const seq = await ask();
    await it.world.engine.stop();
    expect(asker.reply(seq).error.code).toBe("no-reply");
  });
});

describe("messages - that are kept", () => {
  const start = async (more: object = {}, options: Parameters<typeof SessionWorld.start>[0] = {}) => {
    const it = await SessionWorld.start(options);
    const [line, publisher] = [await it.greet("a"), await it.greet("pub")];
    await line.ok("subscription.put", { name: "sub", topic: "t.>", ...more });
    const publish = async (payload: unknown, more: object = {}) =>
      (await publisher.ok("message.publish", { topic: "t.x", payload, ...more })).messageId as string;
    const ack = (messageId: string, from = line) =>
      from.ok("message.ack", { subscription: "sub", messageId });
    return { it, line, publisher, publish, ack };
  };

  test("messages - who attaches gets what waits and what comes, as far as the window goes, and acknowledges", async () => {
    const { it, line, publish, ack } = await start();
    const first = await publish({ n: 1 });
    expect(await line.ok("subscription.attach", { subscriptionId: "s", name: "sub", window: 2 })).toEqual({
      subscriptionId: "s",
      lost: [],
    });
    expect(line.events("message")).toEqual([
      {
        ...{ event: "message", subscriptionId: "s", subscription: "sub", delivery: 1, messageId: first },
        ...{ topic: "t.x", workerId: null, priority: "normal", publisher: "pub" },
        ...{ publishedAt: it.world.clock.wall(), expiresAt: null, publishId: null, payload: { n: 1 } },
      },
    ]);
    await publish(2);
    await publish(3);
    expect(payloads(line)).toEqual([{ n: 1 }, 2]);
    await ack(first);
    expect(payloads(line)).toEqual([{ n: 1 }, 2, 3]);
    expect(it.world.engine.counters.messagesDelivered).toBe(3);
  });

  test("messages - nothing is delivered before the log has it", async () => {
    const { it, line, publisher } = await start({}, { held: true });
    await line.ok("subscription.attach", { subscriptionId: "s", name: "sub" });
    await line.ok("topic.subscribe", { subscriptionId: "live", topic: "t.*" });
    it.world.log.auto = false;
    await publisher.frame({
      op: "message.publish",
      seq: publisher.nextSeq,
      input: { topic: "t.x", payload: 1 },
    });
    expect(payloads(line)).toEqual([]);
    it.world.log.complete();
    await it.world.advance(0);
    expect([payloads(line, "s"), payloads(line, "live")]).toEqual([[1], [1]]);
  });

  test("messages - what a full disk takes back is delivered to nobody; what was delivered before stays so", async () => {
    const { it, line, publisher, publish, ack } = await start({}, { held: true });
    await publisher.ok("subscription.put", { name: "late", topic: "t.>" });
    const kept = await publish("kept");
    await line.ok("subscription.attach", { subscriptionId: "s", name: "sub" });
    expect(payloads(line, "s")).toEqual(["kept"]);
    it.world.log.auto = false;
    const seq = publisher.nextSeq;
    await publisher.frame(
      { op: "message.publish", seq, input: { topic: "t.x", payload: "lost" } },
      { op: "subscription.delete", seq: publisher.nextSeq, input: { name: "sub" } },
      { op: "subscription.put", seq: publisher.nextSeq, input: { name: "sub", topic: "t.>" } },
    );
    // What is handed out now waits behind that.
    await line.frame({
      op: "subscription.attach",
      seq: line.nextSeq,
      input: { subscriptionId: "l", name: "late" },
    });
    await publisher.frame({ op: "subscription.delete", seq: publisher.nextSeq, input: { name: "late" } });
    expect(payloads(line, "l")).toEqual([]);
    it.world.log.full();
    await it.world.advance(0);
    expect(publisher.reply(seq).error.code).toBe("disk-full");
    expect([payloads(line, "s"), payloads(line, "l")]).toEqual([["kept"], ["kept"]]);
    expect(line.events("subscription.ended")).toEqual([]);
    it.world.log.auto = true;
    await it.world.advance(2000);
    await ack(kept);
    expect(await publish("new")).not.toBe(kept);
    expect(payloads(line, "s")).toEqual(["kept", "new"]);
  });

  test("messages - one that is on its way arrives, though a transaction that was refused had acknowledged it meanwhile", async () => {
    const { it, line, publisher, publish } = await start({}, { held: true });
    await line.ok("subscription.attach", { subscriptionId: "s", name: "sub", window: 1 });
    const first = await publish(1);
    const second = await publish(2);
    it.world.log.auto = false;
    const settle = async (...then: object[]) => {
      const seq = publisher.nextSeq;
      await publisher.frame({ op: "transaction.run", seq, input: { then } });
      return seq;
    };
    const ack = (messageId: string) => ({
      operation: "message.ack",
      input: { subscription: "sub", messageId },
    });
    // The second one is handed out, and waits behind the answer.
    await settle(ack(first));
    const refused = await settle(ack(second), ack(first));
    it.world.log.complete();
    await it.world.advance(0);
    expect(publisher.reply(refused).error.code).toBe("unknown-message");
    expect(payloads(line)).toEqual([1, 2]);
  });

  test("messages - one that was acknowledged before it left, which a full disk took back, is delivered at once", async () => {
    const { it, line, publisher } = await start({}, { held: true });
    await line.ok("subscription.attach", { subscriptionId: "s", name: "sub" });
    it.world.log.auto = false;
    const input = { topic: "t.x", payload: 1 };
    await publisher.frame({ op: "message.publish", seq: publisher.nextSeq, input });
    const messageId = `${it.world.engine.revision}-0`;
    const ack = { subscription: "sub", messageId };
    await publisher.frame({ op: "message.ack", seq: publisher.nextSeq, input: ack });
    it.world.log.complete();
    await it.world.advance(0);
    expect(payloads(line)).toEqual([]);
    it.world.log.full();
    await it.world.advance(0);
    expect(line.events("message")).toMatchObject([{ messageId, delivery: 1 }]);
  });

  test("messages - who listens to the topic gets it too, and who is attached gets it once", async () => {
    const { it, line, publish } = await start();
    const other = await it.greet("other");
    await line.ok("subscription.attach", { subscriptionId: "s", name: "sub" });
    await other.ok("topic.subscribe", { subscriptionId: "live", topic: "t.*" });
    await publish(1);
    expect([payloads(line), payloads(other)]).toEqual([[1], [1]]);
    expect(other.events("message")[0].subscription).toBeUndefined();
    expect(await other.ok("message.emit", { topic: "t.x", payload: "now" })).toEqual({ deliveries: 2 });
    expect([payloads(line), payloads(other)]).toEqual([
      [1, "now"],
      [1, "now"],
    ]);
    expect(line.events("message")[1]).toMatchObject({ messageId: null, subscriptionId: "s" });
  });

  test("messages - a connection that was lost goes on with what it holds, and is delivered the rest again", async () => {
    const { it, line, publish, ack } = await start();
    await line.ok("subscription.attach", { subscriptionId: "s", name: "sub" });
    const [first, second] = [await publish(1), await publish(2)];
    await line.cut();
    const again = await it.greet("a");
    const { lost } = await again.ok("subscription.attach", {
      ...{ subscriptionId: "s2", name: "sub", holding: [first, "9-0"] },
    });
    expect(lost).toEqual(["9-0"]);
    expect(again.events("message").map(({ messageId }) => messageId)).toEqual([second]);
    await ack(first, again);
  });

  test("messages - who detaches gives back at once; who is cut, after the time to acknowledge", async () => {
    const { it, line, publish } = await start({
      ackWaitMs: 1000,
      backoff: { strategy: "fixed", delayMs: 0 },
    });
    const other = await it.greet("other");
    await line.ok("subscription.attach", { subscriptionId: "s", name: "sub" });
    await publish(1);
    await line.ok("subscription.detach", { subscriptionId: "s" });
    await other.ok("subscription.attach", { subscriptionId: "s", name: "sub" });
    expect(other.events("message").map(({ delivery }) => delivery)).toEqual([1]);
    await other.cut();
    await line.ok("subscription.attach", { subscriptionId: "s", name: "sub" });
    await it.world.advance(900);
    expect(line.events("message")).toHaveLength(1);
    await it.world.advance(500);
    expect(line.events("message").map(({ delivery }) => delivery)).toEqual([1, 2]);
  });

  test("messages - a socket that takes nothing gets no more than its budget, and the others go on", async () => {
    const { it, line, publish } = await start();
    const other = await it.greet("other");
    for (const one of [line, other])
      await one.ok("subscription.attach", { subscriptionId: "s", name: "sub", window: 1000 });
    line.stuck = true;
    const large = "x".repeat(limits.pushBufferBytesMax / 4);
    for (let i = 0; i < 30; i++) await publish(`${i} ${large}`);
    expect(line.closed).toBeNull();
    const [slow, quick] = [payloads(line).length, payloads(other).length];
    expect(slow + quick).toBe(30);
    expect(slow).toBeLessThan(8);
    line.stuck = false;
    await line.drain();
    for (let i = 0; i < 4; i++) await publish(i);
    expect(payloads(line).length).toBe(slow + 2);
  });

  test("messages - whoever listens on a subscription that is deleted is told, and hears no more", async () => {
    const { it, line, publisher, publish } = await start();
    await line.ok("watch.start", { watchId: "w", tables: ["subscriptions"] });
    await line.ok("subscription.attach", { subscriptionId: "s", name: "sub" });
    await publisher.ok("subscription.delete", { name: "sub" });
    expect(line.events("subscription.ended")).toEqual([
      { event: "subscription.ended", subscriptionId: "s", name: "sub" },
    ]);
    expect(line.events("change").map(({ id, before, state }) => [id, before, state])).toEqual([
      ["sub", "present", null],
    ]);
    await publish(1);
    expect(payloads(line)).toEqual([]);
    expect(it.world.engine.counters.subscriptionsOpen).toBe(0);
    expect((await line.ask("subscription.attach", { subscriptionId: "s", name: "sub" })).error.code).toBe(
      "unknown-subscription",
    );
  });

  test("messages - a worker's inbox keeps what comes while it is away, and hears what is emitted while it listens", async () => {
    const it = await SessionWorld.start();
    const [line, publisher] = [await it.greet("a"), await it.greet("pub")];
    await publisher.ok("message.publish", { workerId: "w.1", payload: "kept" });
    await line.ok("subscription.put", { name: "$worker.w.1" });
    await line.ok("subscription.attach", { subscriptionId: "s", name: "$worker.w.1" });
    await publisher.ok("message.publish", { workerId: "*", payload: "all" });
    expect(await publisher.ok("message.emit", { workerId: "w.1", payload: "now" })).toEqual({
      deliveries: 1,
    });
    expect(await publisher.ok("message.emit", { workerId: "*", payload: "all now" })).toEqual({
      deliveries: 1,
    });
    expect(payloads(line)).toEqual(["kept", "all", "now", "all now"]);
    expect(line.events("message").map(({ topic, workerId }) => [topic, workerId])).toEqual(
      ["w.1", "*", "w.1", "*"].map((workerId) => [null, workerId]),
    );
  });
});

describe("messages - taken without a push", () => {
  test("messages - a request that waits is answered by the next message, one of those who wait, or with none in time", async () => {
    const it = await SessionWorld.start();
    const [one, other, publisher] = [await it.greet("one"), await it.greet("other"), await it.greet("pub")];
    await publisher.ok("subscription.put", { name: "sub", topic: "t" });
    const input = { subscription: "sub", waitMs: 1000 };
    const [first, second] = [one.nextSeq, other.nextSeq];
    await one.frame({ op: "message.receive", seq: first, input });
    await other.frame({ op: "message.receive", seq: second, input });
    expect([one.reply(first), other.reply(second)]).toEqual([undefined, undefined]);
    await publisher.ok("message.publish", { topic: "t", payload: 1 });
    expect(one.reply(first).ok.messages.map(({ payload }: { payload: unknown }) => payload)).toEqual([1]);
    expect(other.reply(second)).toBeUndefined();
    await it.world.advance(1250);
    expect(other.reply(second).ok).toEqual({ messages: [] });
    const third = other.nextSeq;
    await other.frame({ op: "message.receive", seq: third, input });
    await publisher.ok("subscription.delete", { name: "sub" });
    expect(other.reply(third).error.code).toBe("unknown-subscription");
  });
});
