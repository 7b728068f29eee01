/** What an Idempotency-Key may hold: anything a header may, and the log must still be readable. */
import { expect, test } from "bun:test";
import { callerOf } from "../../src/http/route.ts";
import { EngineWorld } from "../engine/world.ts";

const callerWith = (key: string) =>
  callerOf("task.submit", new Request("http://localhost/", { headers: { "idempotency-key": key } }), null);

const keys = ['"8e03978e-40d5-43dd-bc93-6894a57f9324"', "a\tb", "a/b", "%22", "\u00e9", "a b", "\\", "{}"];

test.each(keys)(
  "idempotency - the key %j survives a restart of the daemon, and is known again",
  async (key) => {
    const world = await EngineWorld.start();
    const first = await world.ok("task.submit", { type: "t" }, callerWith(key));
    const after = await EngineWorld.start({ disk: world.log.disk });
    expect(await after.ok("task.submit", { type: "t" }, callerWith(key))).toEqual(first);
    expect(after.engine.core.tasks.size).toBe(1);
  },
);

test("idempotency - different keys are different requests", () => {
  expect(new Set(keys.map((key) => callerWith(key).session)).size).toBe(keys.length);
});
