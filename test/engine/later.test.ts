/** Answers that come later than their turn. */
import { describe, expect, test } from "bun:test";
import type { Answer } from "../../src/engine/types.ts";
import { EngineWorld, settle, TestSink } from "./world.ts";

describe("answers that come later", () => {
  test("later - each leaves when it is there, and holds up nothing that came after it", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    const [slow, quick] = [Promise.withResolvers<Answer>(), Promise.withResolvers<Answer>()];
    world.engine.answerLater(sink, 1001, () => slow.promise);
    world.engine.answerLater(sink, 1002, () => quick.promise);
    const seq = world.ask(sink, "task.submit", { type: "t" });
    await settle();
    expect(sink.order).toEqual([`answer ${seq}`]);
    const flushes = sink.flushCount;
    quick.resolve({ ok: "2" });
    await settle();
    slow.resolve({ ok: "1" });
    await settle();
    expect(sink.order).toEqual([`answer ${seq}`, "answer 1002", "answer 1001"]);
    expect(sink.ok(1001)).toBe(1);
    expect(sink.flushCount).toBe(flushes + 2);
  });

  test("later - what cannot be read is answered as a bug and noted, and the engine goes on", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    world.engine.answerLater(sink, 1001, () => Promise.reject(new Error("the page is torn")));
    await settle();
    expect(sink.error(1001)).toMatchObject({
      code: "internal",
      detail: expect.stringContaining("the page is torn"),
    });
    expect(world.lines.at(-1)).toMatchObject({ event: "read.failed", error: "the page is torn" });
    expect(world.failures).toEqual([]);
    await world.submit();
  });

  test("later - whoever waits when the engine stops is told so, once", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    const work = Promise.withResolvers<Answer>();
    world.engine.answerLater(sink, 1001, () => work.promise);
    await world.engine.stop();
    expect(sink.error(1001).code).toBe("shutting-down");
    work.resolve({ ok: "1" });
    await settle();
    expect(sink.order).toEqual(["answer 1001"]);
  });

  test("later - whoever waits when the namespace is dropped is told so", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    world.engine.answerLater(sink, 1001, () => new Promise(() => {}));
    await world.engine.endForDrop();
    expect(sink.order).toEqual([]);
    world.engine.dropped();
    expect(sink.error(1001).code).toBe("namespace-dropped");
  });

  test("later - once the log is beyond use nobody is told anything", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    const work = Promise.withResolvers<Answer>();
    world.engine.answerLater(sink, 1001, () => work.promise);
    world.log.fail(new Error("gone"));
    work.resolve({ ok: "1" });
    await settle();
    expect(sink.order).toEqual([]);
    expect(world.failures).toHaveLength(1);
  });

  test("later - the log tells of nothing that is written and not synced yet", async () => {
    const world = await EngineWorld.start();
    world.log.auto = false;
    world.log.writesEarly = true;
    const sink = new TestSink();
    const first = world.ask(sink, "kv.put", { key: "a", value: 1 });
    await settle();
    const read = world.ask(sink, "log.read", {});
    world.ask(sink, "kv.put", { key: "b", value: 2 });
    await settle();
    world.log.complete();
    await settle();
    expect(world.log.isAppending).toBe(true);
    const { entries } = sink.ok(read);
    expect(entries.map(({ revision }: { revision: number }) => revision)).toEqual([sink.ok(first).revision]);
  });
});
