/** `cortexd run`, as a process against a real daemon: what a program gets, and what its end means for the task. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RestClient } from "../../client/rest.ts";
import { exitTable } from "../../src/cli/exit.ts";
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
const started = new Set<ReturnType<typeof startCortexd>>();
/** A worker of the queue that runs the program. */
function serve(queue: string, program: string[], options: string[] = []) {
  const words = ["run", "--queue", queue, ...options, "--", ...program];
  const worker = startCortexd(words, { environment: environment() });
  started.add(worker);
  return worker;
}
afterEach(async () => {
  for (const worker of started) {
    worker.signal("SIGTERM");
    await worker.ended;
  }
  started.clear();
});

const shell = (text: string) => ["sh", "-c", text];
const submit = (queue: string, payload: unknown, more: object = {}) =>
  client.submit({ queue, type: "t", payload, ...more });
const finished = (id: string) => client.task(id, { waitMs: 30_000 });
const logOf = async (id: string) => (await client.logs(id)).lines.map(({ text }) => text);
const isRunning = (id: string) => async () => (await client.task(id)).state === "running";
const lives = (pid: number) => {
  try {
    process.kill(pid, 0);
    // One that has ended and that nobody asked for is no process any more.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

describe("run - what a program gets and gives", () => {
  test("run - the payload is its input, its last line the result, all of its lines the task's log", async () => {
    const { id } = await submit("io", { to: "ada" });
    serve("io", shell(`echo first; echo aside >&2; read line; echo '  '"$line"'  '; echo`));
    const task = await finished(id);
    expect(task).toMatchObject({ state: "completed", result: { to: "ada" } });
    expect((await logOf(id)).toSorted()).toEqual(["", `  {"to":"ada"}  `, "aside", "first"]);
  });

  const results: [string, string, unknown][] = [
    ["that is no JSON is the text", "echo not json", "not json"],
    ["that is a number is one", "echo 42", 42],
    ["that was renewed is what it came to", "printf '1 %%\\r50 %%\\rdone\\n'", "done"],
    ["without its end counts", "printf 'a\\nb'", "b"],
    ["that there is not is null", "true", null],
  ];
  test.each(results)("run - a last line %s", async (_, text, result) => {
    const { id } = await submit("results", null);
    const worker = serve("results", shell(text));
    expect(await finished(id)).toMatchObject({ state: "completed", result });
    worker.signal("SIGTERM");
    expect((await worker.ended).code).toBe(0);
  });

  test("run - the environment names the task, its lease and the daemon", async () => {
    const { id } = await submit("names", ["x"], { attempts: 7 });
    const names = [
      "TASK_ID",
      "TASK_TYPE",
      "QUEUE",
      "ATTEMPT",
      "ATTEMPTS",
      "PAYLOAD",
      "WORKER",
      "URL",
      "TOKEN",
    ];
    const list = names.map((name) => `"$CORTEX_${name}"`).join(" ");
    serve("names", shell(`printf '%s\\n' ${list}; test -n "$CORTEX_LEASE_TOKEN"`), ["--worker", "printer"]);
    expect((await finished(id)).state).toBe("completed");
    expect(await logOf(id)).toEqual([id, "t", "names", "1", "7", '["x"]', "printer", daemon.url, token]);
  });

  test("run - a text is given without its quotes if that is wanted", async () => {
    const { id } = await submit("raw", "two words");
    serve("raw", ["cat"], ["--raw"]);
    expect((await finished(id)).result).toBe("two words");
  });

  test("run - a payload too large for the environment comes on standard input alone", async () => {
    const { id } = await submit("large", "x".repeat(500_000));
    serve("large", shell(`wc -c; test -z "$CORTEX_PAYLOAD"`));
    expect(await finished(id)).toMatchObject({ state: "completed", result: 500_002 });
  });

  test("run - what a program prints does not command the terminal of who reads it", async () => {
    const { id } = await submit("escapes", null);
    const worker = serve("escapes", shell("printf 'a\\033[2Jb\\n'"));
    await finished(id);
    worker.signal("SIGTERM");
    const logs = await runCortexd(["tasks", "logs", id], { environment: environment() });
    for (const { output } of [logs, await worker.ended]) {
      expect(output).toContain("a\\u001b[2Jb");
      expect(output).not.toContain("\x1b");
    }
  });

  test("run - what is said with --json is an event a line", async () => {
    const { id } = await submit("events", null);
    const worker = serve("events", shell("echo hello; exit 4"), ["--json", "--exit", "4=complete"]);
    expect(await finished(id)).toMatchObject({ state: "completed", result: "hello" });
    worker.signal("SIGTERM");
    const { output } = await worker.ended;
    const events = output
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(events).toMatchObject([
      { event: "started", taskId: id, type: "t", attempt: 1 },
      { event: "line", taskId: id, from: "out", text: "hello" },
      { event: "ended", taskId: id, exit: 4, aborted: false },
    ]);
  });
});

describe("run - what an exit code means", () => {
  test("run - a program that fails fails the attempt, with its code and what it said last", async () => {
    const { id } = await submit("fails", null, { attempts: 2, backoff: { strategy: "fixed", delayMs: 1 } });
    serve("fails", shell("echo out; echo no such host >&2; exit 3"));
    const task = await finished(id);
    expect(task).toMatchObject({ state: "dead", attempt: 2 });
    expect(task.error).toEqual({ message: "no such host", code: "exit-3" });
  });

  test("run - whoever submits says by the code what is final", async () => {
    const { id } = await submit("codes", null, { finalCodes: ["exit-3"] });
    serve("codes", shell("exit 3"));
    const task = await finished(id);
    expect(task).toMatchObject({ state: "failed", attempt: 1 });
    expect(task.error).toEqual({ message: "sh ended with exit code 3", code: "exit-3" });
  });

  test("run - a program that a signal ends fails the attempt by its name", async () => {
    const { id } = await submit("signals", null, { attempts: 1 });
    serve("signals", shell("kill -KILL $$"));
    expect((await finished(id)).error).toEqual({ message: "sh was ended by SIGKILL", code: "SIGKILL" });
  });

  test("run - codes mean what they are told to mean", async () => {
    const meanings = ["2=final", "3=discard", "4=cancel", "5=snooze:1h", "6=retry:2h"];
    serve(
      "meanings",
      shell("read code; echo because; exit $code"),
      meanings.flatMap((one) => ["--exit", one]),
    );
    const ids = await Promise.all([2, 3, 4, 5, 6].map(async (code) => (await submit("meanings", code)).id));
    const [final, discarded, cancelled, snoozed, retried] = ids as [string, string, string, string, string];
    expect(await finished(final)).toMatchObject({ state: "failed", error: { code: "exit-2" } });
    expect(await finished(discarded)).toMatchObject({ state: "failed", reason: "because" });
    expect(await finished(cancelled)).toMatchObject({ state: "cancelled", reason: "because" });
    await until(async () => (await client.task(retried)).state === "scheduled");
    const [later, again] = [await client.task(snoozed), await client.task(retried)];
    expect(later).toMatchObject({ state: "scheduled", attempt: 0, error: null });
    expect(again).toMatchObject({ state: "scheduled", attempt: 1, error: { message: "because" } });
    expect(again.runAt! - later.runAt!).toBeGreaterThan(3_000_000);
  });

  const wrong = ["5", "5=sometimes", "256=final", "5=snooze", "5=final:1m", "x=final"];
  test.each(wrong)("run - --exit %s is refused, and no worker registers", async (exit) => {
    const words = ["run", "--worker", "wrong", "--exit", exit, "--", "true"];
    const { code, errors } = await runCortexd(words, { environment: environment() });
    expect({ code, named: errors.includes("--exit is") }).toEqual({
      code: exitTable.usage.code,
      named: true,
    });
    expect((await client.workers()).workers.map(({ id }) => id)).not.toContain("wrong");
  });

  test("run - a program that is not there is told before any task fails of it", async () => {
    const { code, errors } = await runCortexd(["run", "--", "./nowhere.sh"], { environment: environment() });
    expect(code).toBe(exitTable.usage.code);
    expect(errors).toContain("there is no program ./nowhere.sh");
  });

  test("run - a wrong token ends it at once", async () => {
    const { code } = await runCortexd(["run", "--", "true"], {
      environment: { ...environment(), CORTEX_TOKEN: "wrong" },
    });
    expect(code).toBe(exitTable.refused.code);
  });
});

describe("run - ending what runs", () => {
  /** Writes its own pid and that of one it started, and waits; with `deaf` it does not hear SIGTERM. */
  function waiter(deaf: boolean): { program: string[]; pids(): number[] } {
    const file = join(temporaryFolder(), "pids");
    const program = join(temporaryFolder(), "waiter.sh");
    const trap = deaf ? "trap '' TERM\n" : "";
    writeFileSync(
      program,
      `${trap}sleep 300 &\necho $$ $! > ${file}.new; mv ${file}.new ${file}\nwait; wait\n`,
    );
    const pids = () => (existsSync(file) ? readFileSync(file, "utf8").trim().split(" ").map(Number) : []);
    return { program: ["sh", program], pids };
  }

  test.each([
    ["told to stop", false],
    ["killed where it does not hear", true],
  ])("run - a program whose task is cancelled is %s, with all that it started", async (_, deaf) => {
    const queue = deaf ? "deaf" : "hears";
    const { program, pids } = waiter(deaf);
    const { id } = await submit(queue, null);
    serve(queue, program, ["--kill-after", deaf ? "50ms" : "1h"]);
    await until(() => pids().length === 2);
    expect(pids().map(lives)).toEqual([true, true]);
    await client.cancel(id);
    await until(() => pids().every((pid) => !lives(pid)));
    expect((await client.task(id)).state).toBe("cancelled");
  });

  test("run - what a program leaves running in its group ends with it", async () => {
    const { id } = await submit("leaves", null);
    serve("leaves", shell("sleep 300 & echo $!"));
    const { state, result } = await finished(id);
    expect(state).toBe("completed");
    expect(lives(result as number)).toBe(false);
  });

  test("run - told to stop it lets programs end, and takes no more tasks", async () => {
    const go = join(temporaryFolder(), "go");
    const worker = serve("graceful", shell(`until test -e ${go}; do sleep 0.05; done; echo ended`));
    const first = await submit("graceful", null);
    await until(isRunning(first.id));
    const second = await submit("graceful", null);
    worker.signal("SIGTERM");
    writeFileSync(go, "");
    expect((await worker.ended).code).toBe(0);
    expect(await client.task(first.id)).toMatchObject({ state: "completed", result: "ended" });
    expect(await client.task(second.id)).toMatchObject({ state: "queued", attempt: 0 });
  });

  test("run - out of grace, or told twice, it ends programs and gives their tasks back uncharged", async () => {
    for (const twice of [false, true]) {
      const queue = `grace-${twice}`;
      const { program, pids } = waiter(false);
      const worker = serve(queue, program, ["--grace", twice ? "1h" : "0ms"]);
      const { id } = await submit(queue, null);
      await until(() => pids().length === 2);
      worker.signal("SIGTERM");
      // What comes right after the first signal is the same wish.
      const again = () => worker.signal("SIGTERM");
      if (twice) while (pids().some(lives)) await Bun.sleep(400).then(again);
      expect((await worker.ended).code).toBe(0);
      expect(pids().map(lives)).toEqual([false, false]);
      expect(await client.task(id)).toMatchObject({
        state: "queued",
        attempt: 0,
        interruptions: 0,
        error: null,
      });
    }
  });
});
