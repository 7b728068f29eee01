/** The terminal dashboard in a real terminal, that of tmux: what is seen there, and what keys do to a real daemon. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { CoordinationClient } from "../../client/client.ts";
import { RestClient } from "../../client/rest.ts";
import { exitTable } from "../../src/cli/exit.ts";
import { type Model, screen, sparkline, took } from "../../src/cli/screen.ts";
import type { Stats } from "../../src/wire/stats.ts";
import {
  cortexd,
  type Daemon,
  runCortexd,
  spawnDaemon,
  startCortexd,
  temporaryFolder,
  until,
} from "../support/daemon.ts";

setDefaultTimeout(60_000);

const tmux = Bun.which("tmux");
const whyNoTmux = tmux === null ? " (skipped: there is no tmux)" : "";
let daemon: Daemon | null = null;
let socket: string | null = null;
afterEach(async () => {
  if (socket !== null) await run("kill-server");
  socket = null;
  await daemon?.kill();
  daemon = null;
});

async function run(...words: string[]): Promise<string> {
  const child = Bun.spawn([tmux!, "-S", socket!, "-f", "/dev/null", ...words], {
    stdout: "pipe",
    stderr: "ignore",
  });
  const text = await new Response(child.stdout).text();
  await child.exited;
  return text;
}

/** A terminal in which the monitor runs, with a line of the shell's before and after it. */
async function terminal(words: string[], columns = 80, rows = 24, language = "C.UTF-8") {
  socket = join(temporaryFolder(), "tmux");
  const line = `echo before; LC_ALL=${language} ${[...cortexd, ...words].join(" ")}; echo ended with $?; read x`;
  await run("-u", "new-session", "-d", "-x", `${columns}`, "-y", `${rows}`, line);
  const seen = () => run("capture-pane", "-p");
  return {
    seen,
    press: (...keys: string[]) => run("send-keys", ...keys),
    resize: (columns: number, rows: number) => run("resize-window", "-x", `${columns}`, "-y", `${rows}`),
    /** What is seen once it holds all of these. */
    async shows(...parts: (string | RegExp)[]): Promise<string> {
      let text = "";
      const holds = (part: string | RegExp) =>
        typeof part === "string" ? text.includes(part) : part.test(text);
      await until(async () => {
        text = await seen();
        return parts.every(holds);
      });
      return text;
    },
  };
}

/** Of queue `mail` one task that waits and one that is dead, and a worker that is idle. */
async function filled() {
  daemon = await spawnDaemon({ preset: "development", args: ["--silence-ms", "10m"] });
  const client = new RestClient({ url: daemon.url });
  await client.register({ workerId: "sender", queues: ["mail"] });
  const dead = await client.submit({ queue: "mail", type: "send", payload: 1, attempts: 1 });
  const { assignments } = await client.claim({ workerId: "sender", waitMs: 5000 });
  await client.fail({
    taskId: dead.id,
    workerId: "sender",
    token: assignments[0]!.lease.token,
    error: "no way",
  });
  const waits = await client.submit({ queue: "mail", type: "send", payload: 2 });
  return { client, dead: dead.id, waits: waits.id, words: ["monitor", "--url", daemon.url] };
}

describe("monitor - in a terminal", () => {
  test.skipIf(tmux === null)(
    `monitor - 80 by 24 hold the figures, the queues and the keys${whyNoTmux}`,
    async () => {
      const { words } = await filled();
      const { shows } = await terminal(words);
      const text = await shows(
        ">  mail",
        /operations +\S+\/s/,
        "1 idle",
        "0 failed, 1 dead",
        /queued +1 /,
        "q quit",
      );
      const lines = text.replace(/\n$/, "").split("\n");
      expect(lines).toHaveLength(24);
      expect(lines[0]).toStartWith("cortexd ");
      expect(lines[0]).toContain("  ok  ");
      expect(lines.find((line) => line.startsWith(">  mail"))).toMatch(/^> {2}mail +1 +0 +0 +0 +0 +1$/);
      expect(text).toMatch(/[▁▂▃▄▅▆▇█]/);
    },
  );

  test.skipIf(tmux === null)(`monitor - what happens is seen without a key${whyNoTmux}`, async () => {
    const { client, words } = await filled();
    const { shows } = await terminal(words);
    await shows(">  mail");
    await client.submit({ queue: "builds", type: "b", payload: 1 });
    await shows(/^[> ] {2}builds +1 +0/m, /queued +2 /);
  });

  test.skipIf(tmux === null)(
    `monitor - keys pause, drain, retry and cancel, and ask before they cancel${whyNoTmux}`,
    async () => {
      const { client, dead, waits, words } = await filled();
      const { shows, press } = await terminal(words);
      await shows(">  mail");
      await press("p");
      await shows("mail is paused", /^> {2}mail .*paused/m);
      expect((await client.queue("mail")).paused).not.toBeNull();
      await press("p");
      await shows("mail goes on");
      expect((await client.queue("mail")).paused).toBeNull();

      await press("2");
      await shows(">  sender");
      await press("d");
      await shows("sender is draining");
      expect((await client.worker("sender")).state).toBe("draining");

      await press("3");
      await shows(`>  ${waits}`, dead);
      await press("c");
      await shows(`Cancel ${waits}?`);
      await press("n");
      await shows("q quit");
      expect((await client.task(waits)).state).toBe("queued");
      await press("c");
      await press("y");
      await shows(`${waits} is cancelled`);
      await press("Down");
      await shows(`>  ${dead}`);
      await press("r");
      await shows(`${dead} is queued`);
      expect((await client.task(dead)).state).toBe("queued");
    },
  );

  test.skipIf(tmux === null)(
    `monitor - all dead tasks of a queue are retried, once that is confirmed${whyNoTmux}`,
    async () => {
      const { client, dead, words } = await filled();
      const { shows, press } = await terminal(words);
      await shows(">  mail");
      await press("r");
      await shows("Retry 1 dead or failed task of mail?");
      expect((await client.task(dead)).state).toBe("dead");
      await press("y");
      await shows("1 task of mail queued again");
      expect((await client.task(dead)).state).toBe("queued");
    },
  );

  test.skipIf(tmux === null)(`monitor - it fills the terminal at every size${whyNoTmux}`, async () => {
    const { words } = await filled();
    const { shows, resize } = await terminal(words);
    await shows(">  mail", "q quit");
    for (const [columns, rows] of [
      [120, 40],
      [50, 14],
    ] as const) {
      await resize(columns, rows);
      const isDrawn = (text: string) => text.replace(/\n$/, "").split("\n")[rows - 1]?.startsWith("Tab view");
      let text = "";
      await until(async () => {
        text = await shows(">  mail");
        return isDrawn(text) === true;
      });
      expect(text).toStartWith("cortexd ");
    }
  });

  test.skipIf(tmux === null)(
    `monitor - a daemon that goes is said to be gone, and followed when it is back${whyNoTmux}`,
    async () => {
      const { words } = await filled();
      const { port, wsPort, data } = daemon!;
      const { shows } = await terminal(words);
      await shows(">  mail");
      await daemon!.kill();
      await shows("disconnected: trying again");
      daemon = await spawnDaemon({
        ...{ preset: "development", data },
        command: ["serve", "--port", `${port}`, "--ws-port", `${wsPort}`, "--data", data],
      });
      await shows(/^cortexd \S+ {2}ok /, "There are no queues yet");
    },
  );

  test.skipIf(tmux === null)(
    `monitor - help is a key away, and q gives the terminal back${whyNoTmux}`,
    async () => {
      const { words } = await filled();
      const { shows, press } = await terminal(words);
      await shows(">  mail");
      await press("?");
      await shows("quit", "sort by something else");
      await press("q");
      await shows(">  mail");
      await press("q");
      const text = await shows("ended with 0");
      expect(text.split("\n").slice(0, 2)).toEqual(["before", "ended with 0"]);
    },
  );

  test.skipIf(tmux === null)(`monitor - a signal gives the terminal back too${whyNoTmux}`, async () => {
    const { words } = await filled();
    const { shows, press } = await terminal(words);
    await shows(">  mail");
    await press("C-c");
    expect((await shows("ended with 0")).split("\n")[0]).toBe("before");
  });

  test.skipIf(tmux === null)(
    `monitor - where there is no Unicode it is drawn of plain characters${whyNoTmux}`,
    async () => {
      const { words } = await filled();
      const { shows } = await terminal(words, 80, 24, "C");
      // biome-ignore lint/suspicious/noControlCharactersInRegex: all that is ASCII
      expect(await shows(">  mail", "q quit")).toMatch(/^[\x00-\x7f]*$/);
    },
  );
});

describe("monitor - without a terminal", () => {
  test("monitor - it says what to use instead", async () => {
    daemon = await spawnDaemon({ preset: "development" });
    const { code, errors } = await runCortexd(["monitor", "--url", daemon.url]);
    expect(code).toBe(exitTable.usage.code);
    expect(errors).toContain("cortexd status");
    const gone = await runCortexd(["monitor", "--url", "http://127.0.0.1:9"]);
    expect(gone.code).toBe(exitTable.unreachable.code);
  });

  test("monitor - with --json it is a line a sample, and --watch a line a change", async () => {
    daemon = await spawnDaemon({ preset: "development" });
    const client = new RestClient({ url: daemon.url });
    const samples = startCortexd(["monitor", "--json", "--url", daemon.url]);
    const states = startCortexd(["queues", "--watch", "--json", "--url", daemon.url]);
    await until(async () => (await client.metrics()).bus.socketsOpen === 2);
    await client.submit({ queue: "mail", type: "t", payload: 1 });
    // Their figures of the same second, and of the next.
    const own = new CoordinationClient({ url: daemon.url });
    let seen = 0;
    for await (const _ of own.stats()) if (++seen === 3) break;
    own.close();
    const told = async (process: typeof samples) => {
      process.signal("SIGTERM");
      const { code, output } = await process.ended;
      expect(code).toBe(0);
      return output
        .trim()
        .split("\n")
        .map((one) => JSON.parse(one));
    };
    const list = await told(samples);
    expect(list.length).toBeGreaterThan(1);
    expect(list.at(-1)).toMatchObject({ status: "ok", tasks: { queued: 1 } });
    expect(await told(states)).toMatchObject([
      { queues: [] },
      { queues: [{ name: "mail", counts: { queued: 1 } }] },
    ]);
  });
});

describe("monitor - the screen", () => {
  const sample = (counted: Partial<Stats["counted"]>, more: Partial<Stats> = {}): Stats => ({
    ...{ at: 1000, overMs: 1000, status: "ok", uptimeMs: 5000, memoryBytes: 2 ** 26, logBytes: 2 ** 20 },
    ...{ revision: 12, durableRevision: 10, schedules: 0, keys: 0, sessions: 2 },
    locks: { held: 3, waiting: 1 },
    messages: { kept: 5, waiting: 4, inFlight: 2, dead: 1 },
    tasks: {
      scheduled: 0,
      blocked: 0,
      queued: 0,
      running: 0,
      completed: 0,
      failed: 0,
      dead: 0,
      cancelled: 0,
    },
    workers: { idle: 0, busy: 0, draining: 0, offline: 0 },
    health: { healthy: 0, failing: 0, quarantined: 0, probation: 0, deaf: 0, stalled: 0 },
    counted: {
      ...{ operations: 0, operationsRefused: 0, tasksSubmitted: 0, tasksLeased: 0, tasksCompleted: 0 },
      ...{ tasksRetried: 0, tasksFailed: 0, tasksDead: 0, tasksCancelled: 0, tasksInterrupted: 0 },
      ...counted,
    },
    ...{ answerMs: null, waitMs: null, runMs: null },
    ...more,
  });
  const model: Model = {
    ...{ url: "http://127.0.0.1:9500", namespace: "default", version: "1.2.3", cut: null },
    samples: [sample({ operations: 12_345 })],
    ...{ view: "queues", sort: { queues: "queued", workers: "running", tasks: "newest" }, filter: null },
    rows: { queues: [], workers: null, tasks: null },
    ...{ chosen: null, said: null, asking: null, help: false, now: 2000 },
  };
  const look = { columns: 80, rows: 24, colours: true, unicode: true };

  test("monitor - no line is wider than the terminal, and there are as many as it has, at any size", () => {
    for (let columns = 1; columns < 200; columns += 7)
      for (const rows of [1, 5, 12, 24, 60])
        for (const help of [true, false]) {
          const lines = screen({ ...model, help }, { ...look, columns, rows });
          expect(lines).toHaveLength(rows);
          for (const line of lines) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(columns);
        }
  });

  test("monitor - a sample over longer than a second is shown by the second", () => {
    const rateOf = (one: Stats) => screen({ ...model, samples: [one] }, { ...look, colours: false })[2]!;
    expect(rateOf(sample({ operations: 12_345 }))).toContain("12,345/s");
    expect(rateOf(sample({ operations: 50_000 }, { overMs: 10_000 }))).toContain("5,000/s");
  });

  test("monitor - it says how many locks are held and how many messages wait", () => {
    const text = screen(model, { ...look, colours: false }).join("\n");
    expect(text).toContain("3 held, 1 waiting   messages 4 waiting, 2 in flight, 1 dead");
  });

  test("monitor - before the first figures, and without a connection, it says so", () => {
    const text = (more: Partial<Model>) =>
      screen({ ...model, ...more }, { ...look, colours: false }).join("\n");
    expect(text({ samples: [] })).toContain("Waiting for the first figures");
    expect(text({ cut: "disconnected: trying again" })).toContain("disconnected: trying again");
    expect(text({})).toContain("There are no queues yet");
    expect(text({ view: "workers" })).toContain("Reading");
  });

  test("monitor - a line of blocks is as high as its largest value, and nothing is lowest", () => {
    expect(sparkline([0, 1, 4, 8], 10, true)).toBe("▁▂▅█");
    expect(sparkline([1, 2, 3, 8, 8], 2, true)).toBe("██");
    expect(sparkline([0, 0], 5, true)).toBe("▁▁");
    expect(sparkline([0, 8], 5, false)).toBe("_#");
  });

  test.each([
    [0.1234, "0.12 ms"],
    [4.26, "4.3 ms"],
    [123.4, "123 ms"],
    [1500, "1.5 s"],
    [42_000, "42 s"],
    [90_000, "1 m"],
  ])("monitor - %d ms are %s", (ms, text) => {
    expect(took(ms)).toBe(text);
  });
});
