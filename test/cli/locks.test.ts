/** `cortexd lock` and `cortexd locks`, as processes against a real daemon. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { RestClient } from "../../client/rest.ts";
import { exitTable } from "../../src/cli/exit.ts";
import { limits } from "../../src/wire/limits.ts";
import {
  type Daemon,
  runCortexd,
  spawnDaemon,
  startCortexd,
  temporaryFolder,
  until,
} from "../support/daemon.ts";

setDefaultTimeout(60_000);

let daemon: Daemon;
let client: RestClient;
const token = "s3cret";
beforeAll(async () => {
  daemon = await spawnDaemon({ preset: "development", args: ["--token", token] });
  client = new RestClient({ url: daemon.url, token });
});
afterAll(() => daemon.kill());

const environment = () => ({ CORTEX_URL: daemon.url, CORTEX_TOKEN: token });
const run = (...words: string[]) => runCortexd(words, { environment: environment() });
const start = (...words: string[]) => startCortexd(words, { environment: environment() });
const shell = (text: string) => ["sh", "-c", text];
const holders = async (name: string) => (await client.locks.list({ name, state: "held" })).locks;
const isHeld = (name: string) => async () => (await holders(name)).length > 0;

describe("lock - a command that runs under a lock", () => {
  test("lock - it has its words, its terminal, the lock in its environment, and its exit code is passed on", async () => {
    const check = 'echo "$1 $CORTEX_LOCK"; curl -sf -X PUT -H "Authorization: Bearer $CORTEX_TOKEN" ';
    const put = `-H "Cortex-If: $CORTEX_IF" -H 'content-type: application/json' -d '{"value":1}' $CORTEX_URL/api/kv/cli >/dev/null; exit 7`;
    const { code, output } = await run("lock", "cli/a", "--", "sh", "-c", check + put, "sh", "--word");
    expect([code, output]).toEqual([7, "--word cli/a\n"]);
    expect((await client.kv.get("cli")).value).toBe(1);
    expect(await holders("cli/a")).toEqual([]);
    expect((await run("lock", "cli/a", "--", "true")).code).toBe(0);
  });

  test("lock - one waits for the other, and one that does not wait is told", async () => {
    const file = join(temporaryFolder(), "order");
    const first = start(
      "lock",
      "cli/b",
      "--",
      ...shell(`echo a >>${file}; until [ -e ${file}.go ]; do sleep 0.05; done; echo b >>${file}`),
    );
    await until(() => existsSync(file));
    const { value } = (await holders("cli/b"))[0]!.lock;
    expect(value).toEqual({ host: hostname(), pid: expect.any(Number) });
    const second = start("lock", "cli/b", "--", ...shell(`echo c >>${file}`));
    const tried = await run("lock", "cli/b", "--wait", "0s", "--", ...shell(`echo d >>${file}`));
    expect(tried.code).toBe(exitTable["timed-out"].code);
    expect(tried.errors).toContain("cli/b could not be had in time; the command was not run.");
    expect((await run("lock", "cli/b", "--wait", "200ms", "--", "true")).code).toBe(
      exitTable["timed-out"].code,
    );
    await until(async () => (await client.locks.list({ name: "cli/b" })).locks.length === 2);
    await Bun.write(`${file}.go`, "");
    expect([(await first.ended).code, (await second.ended).code]).toEqual([0, 0]);
    expect(readFileSync(file, "utf8")).toBe("a\nb\nc\n");
  });

  test("lock - several are had at once, and so many share one", async () => {
    const held = start(
      "lock",
      "cli/c",
      "--and",
      "cli/d/",
      "--limit",
      "2",
      "--value",
      '{"n":1}',
      "--",
      "sleep",
      "60",
    );
    await until(isHeld("cli/d/"));
    const lock = (await holders("cli/c"))[0]?.lock;
    expect(lock).toMatchObject({
      resources: [
        { name: "cli/c", mode: "shared", limit: 2 },
        { name: "cli/d/", mode: "shared", limit: 2 },
      ],
      value: { n: 1 },
    });
    expect((await run("lock", "cli/c", "--shared", "--wait", "0s", "--", "true")).code).toBe(0);
    expect((await run("lock", "cli/d/x", "--wait", "0s", "--", "true")).code).toBe(
      exitTable["timed-out"].code,
    );
    held.signal("SIGTERM");
    expect((await held.ended).code).toBe(128 + 15);
    expect(await holders("cli/c")).toEqual([]);
  });

  test("lock - a signal is the command's, which may end in its own way", async () => {
    const file = join(temporaryFolder(), "trapped");
    const held = start(
      "lock",
      "cli/e",
      "--",
      ...shell(`trap 'echo term >${file}; exit 3' TERM; touch ${file}.up; while :; do sleep 0.05; done`),
    );
    await until(() => existsSync(`${file}.up`));
    held.signal("SIGTERM");
    expect((await held.ended).code).toBe(3);
    expect(readFileSync(file, "utf8")).toBe("term\n");
  });

  test("lock - who still waits when a signal comes leaves the line", async () => {
    const held = start("lock", "cli/f", "--", "sleep", "60");
    await until(isHeld("cli/f"));
    const waiting = start("lock", "cli/f", "--", "true");
    await until(async () => (await client.locks.list({ name: "cli/f" })).locks.length === 2);
    waiting.signal("SIGINT");
    expect((await waiting.ended).code).toBe(128 + 2);
    await until(async () => (await client.locks.list({ name: "cli/f" })).locks.length === 1);
    held.signal("SIGTERM");
    await held.ended;
  });

  test("lock - when the lock is stolen the command is told, and killed if it does not end", async () => {
    const file = join(temporaryFolder(), "up");
    const stubborn = shell(`trap '' TERM; touch ${file}; while :; do sleep 0.05; done`);
    const held = start("lock", "cli/g", "--kill-after", "300ms", "--", ...stubborn);
    await until(() => existsSync(file));
    const shown = await run("locks", "show", "cli/g");
    expect(shown.output).toMatch(/cli\/g\s+exclusive\s+held/);
    const stolen = await run("locks", "steal", "cli/g", "--reason", "it hangs");
    expect([stolen.code, stolen.output]).toEqual([
      0,
      expect.stringMatching(/^Lock [0-9]+-0 was taken from /),
    ]);
    const { code, errors } = await held.ended;
    expect([code, errors]).toEqual([exitTable["lock-lost"].code, expect.stringContaining("it hangs")]);
    const line = await daemon.line("lock.stolen");
    expect(line).toMatchObject({ names: ["cli/g"], reason: "it hangs", level: "warn" });
  });

  test("lock - a program that is not there is told before anything is locked", async () => {
    const { code, errors } = await run("lock", "cli/h", "--", "no-such-program");
    expect([code, errors]).toEqual([exitTable.usage.code, expect.stringContaining("no-such-program")]);
    expect((await run("lock", "cli/h")).code).toBe(exitTable.usage.code);
  });

  test("lock - a file that is no program is told, and the lock is released", async () => {
    const file = join(temporaryFolder(), "no-first-line");
    writeFileSync(file, "\x00 no program", { mode: 0o755 });
    const { code, errors } = await run("lock", "cli/i", "--", file);
    expect([code, errors]).toEqual([exitTable.usage.code, expect.stringContaining(`${file} could not be`)]);
    expect((await client.locks.list({ name: "cli/i" })).locks).toEqual([]);
  });
});

describe("locks - the commands", () => {
  test("locks - list shows who holds and who waits, by prefix and state", async () => {
    const first = await client.locks.acquire({ resources: [{ name: "list/a" }], ttlMs: 60_000 });
    await client.locks.acquire({ resources: [{ name: "list/a" }], waitMs: 60_000 });
    const all = JSON.parse((await run("locks", "list", "list/", "--json")).output);
    expect(all.locks.map(({ name, lock }: never) => [name, (lock as { state: string }).state])).toEqual([
      ["list/a", "held"],
      ["list/a", "waiting"],
    ]);
    expect(
      (await run("locks", "list", "list/", "--state", "waiting")).output.trim().split("\n"),
    ).toHaveLength(2);
    expect((await run("locks", "list", "nothing/")).output).toBe(
      "Nobody holds or waits for anything like that.\n",
    );
    expect((await run("locks", "steal", "nothing")).code).toBe(exitTable["not-found"].code);
    const taken = JSON.parse(
      (await run("locks", "steal", "list/a", "--lock", first.lockId, "--json")).output,
    );
    expect(taken).toEqual({ stolen: [first.lockId] });
    expect(await holders("list/a")).toHaveLength(1);
  });

  test("locks - steal takes a name from all who hold it, however many", async () => {
    const resources = [{ name: "many", mode: "shared" as const }];
    const count = limits.pageMax + 1;
    for (let made = 0; made < count; made += 77)
      await Promise.all(
        Array.from({ length: Math.min(77, count - made) }, () =>
          client.locks.acquire({ resources, ttlMs: 60_000 }),
        ),
      );
    const taken = JSON.parse((await run("locks", "steal", "many", "--json")).output);
    expect(taken.stolen).toHaveLength(count);
    expect(await holders("many")).toEqual([]);
  });
});
