/** `cortexd log` and `cortexd diff`, of a daemon that keeps its history. */
import { afterAll, describe, expect, test } from "bun:test";
import { CoordinationClient } from "../../client/client.ts";
import { RestClient } from "../../client/rest.ts";
import { exitTable } from "../../src/cli/exit.ts";
import { runCortexd, spawnDaemon, startCortexd, until } from "../support/daemon.ts";

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

  test("log - a difference knows what was there before from what came in between", async () => {
    const worker = { workerId: "w1", instanceId: "i1", queues: ["work"], capacity: 1 };
    const setUp = async (name: string) => {
      const { revision } = await client.kv.put({ key: `diff/${name}`, value: 1 });
      return revision;
    };
    await setUp("put-again");
    await setUp("put-again-and-gone");
    const { id } = await client.submit({ type: "t", queue: "work", attempts: 1 });
    await client.subscriptions.put({ name: "there", topic: "a.>" });
    await client.register(worker);
    const { assignments } = await client.claim({ workerId: "w1" });
    const { token } = assignments[0]!.task.lease!;
    await client.fail({ taskId: id, workerId: "w1", token, error: { message: "no" } });
    const from = await setUp("last");
    for (const name of ["put-again", "put-again-and-gone"]) {
      await client.kv.delete({ key: `diff/${name}` });
      await client.kv.put({ key: `diff/${name}`, value: 2 });
    }
    await client.kv.delete({ key: "diff/put-again-and-gone" });
    await client.retry(id);
    const again = await client.claim({ workerId: "w1" });
    const lease = { workerId: "w1", token: again.assignments[0]!.task.lease!.token };
    await client.log(id, { ...lease, lines: ["begun"] });
    await client.subscriptions.put({ name: "there", topic: "a.>", deliveriesMax: 3 });
    await client.subscriptions.put({ name: "new", topic: "a.>" });

    const { made, changed, gone } = await json(["diff", String(from)]);
    const names = (list: { id: string }[]) => list.map((one) => one.id).sort();
    expect([names(made), names(changed), names(gone)]).toEqual([
      ["subscription new"],
      ["key diff/put-again", "subscription there", `task ${id}`],
      ["key diff/put-again-and-gone"],
    ]);
  });

  test("log - a difference says where an entry changed more than is shown of it", async () => {
    const { revision: from } = await client.kv.put({ key: "a", value: 1 });
    // Several thousand tasks in one entry.
    const many = Array.from({ length: 1000 }, () => ({ type: "t", queue: "many" }));
    const put = { operation: "kv.put" as const, input: { key: "many", value: 1 } };
    const submit = () => ({ operation: "task.submit" as const, input: many });
    const then = [put, ...Array.from({ length: 6 }, submit)];
    const { revision } = await client.transaction({ then });
    const { made, short } = await json(["diff", String(from), String(revision)]);
    expect([made.length, short]).toEqual([5000, [revision]]);
    expect(await ends(0, ["diff", String(from), String(revision)])).toContain(
      `\n… revision ${revision} changed more than the log shows of one entry: the rest is not here\n`,
    );
    expect((await json(["diff", String(revision)])).short).toEqual([]);
  });

  test("log - where no entries are kept there is no difference to tell", async () => {
    const memory = await spawnDaemon({ preset: "development" });
    await using _ = { [Symbol.asyncDispose]: () => memory.kill() };
    const rest = new RestClient({ url: memory.url });
    const { revision } = await rest.kv.put({ key: "a", value: 1 });
    await rest.kv.put({ key: "a", value: 2 });
    const ended = await runCortexd(["diff", String(revision), "--url", memory.url]);
    expect([ended.code, ended.output]).toEqual([exitTable["not-found"].code, ""]);
    expect(ended.errors).toContain(`what changed after revision ${revision} cannot be told`);
  });

  test("log - what is in a value cannot command the terminal", async () => {
    await client.kv.put({ key: "bell", value: "\u009b2J\u202eevil" });
    expect(await ends(0, ["log", "--key", "bell"])).toContain('"\\u009b2J\\u202eevil"');
  });

  const revisions = (output: string) =>
    output
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).revision as number);

  test("log - the newest are told oldest first, of all entries and of those that fit", async () => {
    const made: number[] = [];
    for (let n = 0; n < 30; n++)
      made.push((await client.kv.put({ key: n % 10 === 0 ? "rare" : "often", value: n })).revision);
    const last = (words: string[]) => ends(0, ["log", "--json", ...words]).then(revisions);
    expect(await last(["--last", "3"])).toEqual(made.slice(-3));
    expect(await last(["--last", "2", "--key", "rare"])).toEqual([made[10]!, made[20]!]);
    expect(await last(["--last", "100", "--key", "rare"])).toEqual([made[0]!, made[10]!, made[20]!]);
    expect(await last(["--last", "2", "--up-to", String(made[15]), "--after", String(made[14])])).toEqual([
      made[15]!,
    ]);
    expect(await last(["--last", "3", "--limit", "1"])).toEqual([made[27]!]);
    const more = "… there may be more: --limit shows them, --last the newest";
    expect(await ends(0, ["log", "--key", "rare", "--limit", "2"])).toEndWith(`\n${more}\n`);
    expect(await ends(0, ["log", "--key", "rare"])).not.toContain("there may be more");
    expect(await ends(0, ["log", "--key", "rare", "--last", "2"])).not.toContain("there may be more");
    for (const which of [[], ["--last", "2"]])
      expect(await ends(0, ["log", "--key", "nowhere", ...which])).toBe("There are no entries like that.\n");
  });

  test("log - a program that said no number is told on standard error where there may be more", async () => {
    await Promise.all(Array.from({ length: 1001 }, () => client.kv.increment({ key: "counted" })));
    const asked = async (...words: string[]) => {
      const all = ["log", "--key", "counted", "--json", ...words, "--url", daemon.url];
      const { code, output, errors } = await runCortexd(all);
      return [code, revisions(output).length, errors];
    };
    const more =
      "cortexd: these are the first 1000; there may be more: --limit shows them, --last the newest\n";
    expect(await asked()).toEqual([0, 1000, more]);
    expect(await asked("--limit", "1000")).toEqual([0, 1000, ""]);
    expect(await asked("--limit", "2000")).toEqual([0, 1001, ""]);
  });

  test("log - followed it goes on with what is added, and ends well when it is asked to", async () => {
    const address = ["--url", daemon.url];
    const first = (await client.kv.put({ key: "followed", value: 0 })).revision;
    const words = ["log", "--follow", "--key", "followed", "--json", "--limit", "3", ...address];
    const following = startCortexd(words);
    let ended = false;
    void following.ended.then(() => {
      ended = true;
    });
    const added: number[] = [];
    while (!ended) {
      await client.kv.put({ key: "other", value: added.length });
      added.push((await client.kv.put({ key: "followed", value: added.length })).revision);
    }
    const { code, output, errors } = await following.ended;
    expect([code, errors]).toEqual([0, ""]);
    // Those that were added before it looked are of the last ten.
    const all = [first, ...added];
    const told = revisions(output);
    expect(told.length).toBe(3);
    expect(told).toEqual(all.slice(all.indexOf(told[0]!), all.indexOf(told[0]!) + 3));
    const stopped = startCortexd(["log", "--follow", "--after", String(first), ...address]);
    const other = new CoordinationClient({ url: daemon.wsUrl });
    for await (const { sessions } of other.stats()) if (sessions === 2) break;
    other.close();
    stopped.signal("SIGINT");
    expect((await stopped.ended).code).toBe(0);
  });

  test("log - where nothing fits that is said", async () => {
    expect(await ends(0, ["log", "--key", "never/there"])).toBe("There are no entries like that.\n");
    expect(await ends(0, ["log", "--key", "never/there", "--json"])).toBe("");
  });

  test("log - what is wrong is told before anything is read", async () => {
    expect(await ends(exitTable.usage.code, ["diff", "x"])).toContain("FROM is");
    expect(await ends(exitTable.usage.code, ["diff", "5", "3"])).toContain("TO is 3");
    const { revision } = await client.state();
    expect(await ends(exitTable.usage.code, ["diff", "1", String(revision + 1)])).toContain(
      `the newest revision is ${revision}`,
    );
  });
});

describe("watch", () => {
  const lines = (output: string) => output.trimEnd().split("\n");
  const put = async (key: string, value: unknown) => (await client.kv.put({ key, value })).revision;

  test("watch - changes from a revision on are told with their cause, and only those that fit", async () => {
    // Changes are kept from now on for who comes to watch.
    await (await fetch(`${daemon.url}/api/state?format=ndjson&table=keys`)).text();
    await client.subscriptions.put({ name: "watched", topic: "orders.>" });
    const from = await put("w/a", { n: 1 });
    await put("other", 1);
    const second = await put("w/a", "\u009b2J");
    const { messageId } = await client.messages.publish({ topic: "orders.eu", payload: { id: 17 } });
    await client.kv.delete({ key: "w/a" });
    const third = (await client.state()).revision;
    const found = lines(await ends(0, ["watch", "--prefix", "w/", "--from", String(from), "--count", "3"]));
    expect(found[0]).toMatch(
      new RegExp(`^${from}  \\d{4}-\\S+Z  keys w/a  new -> present  kv\\.put  by http  {"n":1}$`),
    );
    expect(found[1]).toEndWith(`  keys w/a  present  kv.put  by http  "\\u009b2J"`);
    expect([found[1]!.split(" ")[0], found[2]!.split(" ")[0]]).toEqual([`${second}`, `${third}`]);
    expect(found[2]).toContain("  keys w/a  present -> gone  kv.delete  by http");
    const words = ["watch", "--from", String(from), "--count", "1", "--json"];
    const seen = JSON.parse(await ends(0, [...words, "--tables", "keys", "--key", "other"]));
    expect(seen).toMatchObject({ event: "change", table: "keys", id: "other", value: 1, who: "http" });
    let ended = false;
    const message = ends(0, ["watch", "--topic", "orders.*", "--count", "1", "--json"]).finally(() => {
      ended = true;
    });
    while (!ended) await client.messages.publish({ topic: "orders.us", payload: 1 });
    expect(JSON.parse(await message)).toMatchObject({ table: "messages", topic: "orders.us", value: 1 });
    expect(messageId).toMatch(/^[0-9]+-0$/);
  });

  test("watch - asked to end it ends well, and what is wrong is told by its option", async () => {
    const watches = async () =>
      ((await (await fetch(`${daemon.url}/api/metrics`)).json()) as { bus: { watchesOpen: number } }).bus
        .watchesOpen;
    const before = await watches();
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      const watching = startCortexd(["watch", "--queue", "q", "--url", daemon.url]);
      await until(async () => (await watches()) > before);
      watching.signal(signal);
      expect(await watching.ended).toEqual({ code: 0, output: "", errors: "" });
      await until(async () => (await watches()) === before);
    }
    expect(await ends(exitTable.refused.code, ["watch", "--topic", "a..b"])).toContain("--topic ");
    expect(await ends(exitTable.usage.code, ["watch", "--from", "x"])).toContain("--from");
  });
});
