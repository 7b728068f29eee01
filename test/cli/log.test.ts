/** `cortexd log` and `cortexd diff`, of a daemon that keeps its history. */
import { afterAll, describe, expect, test } from "bun:test";
import { RestClient } from "../../client/rest.ts";
import { exitTable } from "../../src/cli/exit.ts";
import { runCortexd, spawnDaemon } from "../support/daemon.ts";

const daemon = await spawnDaemon();
afterAll(() => daemon.kill());
const client = new RestClient({ url: daemon.url });

async function ends(code: number, words: string[]): Promise<string> {
  const ended = await runCortexd([...words, "--url", daemon.url], { environment: { NO_COLOR: "1" } });
  expect([words, ended.code, ended.errors]).toEqual([words, code, code === 0 ? "" : ended.errors]);
  return code === 0 ? ended.output : ended.errors;
}
const json = async (words: string[]) => JSON.parse(await ends(0, [...words, "--json"]));

describe("log", () => {
  test("log - it tells what was done to a thing, and a difference what came of it", async () => {
    const { revision: first } = await client.kv.put({ key: "old", value: 1 });
    await client.kv.put({ key: "gone", value: 1 });
    const { revision: from } = await client.kv.put({ key: "same", value: 1 });
    await client.kv.put({ key: "old", value: 2 });
    await client.kv.put({ key: "new", value: { n: 1 } });
    await client.kv.put({ key: "between", value: 1 });
    await client.kv.delete({ key: "between" });
    await client.kv.delete({ key: "gone" });
    const { id } = await client.submit({ type: "t", queue: "q" });
    const { revision: to } = await client.cancel(id, "enough");
    await client.kv.put({ key: "later", value: 1 });

    const lines = (await ends(0, ["log", "--key", "old"])).trimEnd().split("\n");
    expect(lines[0]).toMatch(new RegExp(`^${first}  \\d{4}-\\d\\d-\\d\\dT\\S+Z  kv\\.put  by http$`));
    expect(lines[1]).toBe(`    + key old {"revision":${first},"value":1}`);
    expect(lines.length).toBe(4);
    expect(await ends(0, ["log", "--key", "gone", "--operation", "kv.delete"])).toContain(
      "\n    - key gone\n",
    );
    expect((await json(["log", "--task", id, "--limit", "1"])).operation).toBe("task.submit");

    const told = await json(["diff", String(from), String(to)]);
    const names = (list: { id: string }[]) => list.map((one) => one.id).sort();
    expect([names(told.made), names(told.changed), names(told.gone)]).toEqual([
      ["key new", `task ${id}`],
      ["key old"],
      ["key gone"],
    ]);
    expect(told.made.find((one: { id: string }) => one.id === `task ${id}`).parts).toMatchObject({
      task: { queue: "q", type: "t" },
      "task.run": { state: "cancelled", reason: "enough" },
    });
    const words = await ends(0, ["diff", String(from)]);
    expect(words).toContain("+ key later ");
    expect(words).toMatch(/\n5 differences from revision [0-9]+ to [0-9]+: 3 made, 1 changed, 1 gone\.\n$/);
  });

  test("log - what is in a value cannot command the terminal", async () => {
    await client.kv.put({ key: "bell", value: "\u009b2J\u202eevil" });
    expect(await ends(0, ["log", "--key", "bell"])).toContain('"\\u009b2J\\u202eevil"');
  });

  test("log - what is wrong is told before anything is read", async () => {
    expect(await ends(exitTable.usage.code, ["diff", "x"])).toContain("FROM is");
    expect(await ends(exitTable.usage.code, ["diff", "5", "3"])).toContain("TO is 3");
  });
});
