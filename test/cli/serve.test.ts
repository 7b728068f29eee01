/** The daemon as a process: how it starts, what it refuses, how it ends, and what is on disk when it answers. */
import { Database } from "bun:sqlite";
import { afterEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { exitTable } from "../../src/cli/exit.ts";
import { version } from "../../src/cli/version.ts";
import { allocatorOptions } from "../../src/lib/allocator.ts";
import { newestMark } from "../../src/log/format.ts";
import { type Daemon, runCortexd, spawnDaemon, temporaryFolder, until } from "../support/daemon.ts";

const daemons: Daemon[] = [];
const start = async (options?: Parameters<typeof spawnDaemon>[0]) => {
  const daemon = await spawnDaemon(options);
  daemons.push(daemon);
  return daemon;
};
afterEach(async () => {
  for (const daemon of daemons.splice(0)) await daemon.kill();
});

const json = { "content-type": "application/json" };
async function submit({ url }: Daemon, payload: unknown): Promise<string> {
  const body = JSON.stringify({ queue: "q", type: "t", payload });
  const response = await fetch(`${url}/api/tasks`, { method: "POST", headers: json, body });
  expect(response.status).toBe(201);
  return ((await response.json()) as { id: string }).id;
}
const read = async ({ url }: Daemon, id: string) =>
  (await (await fetch(`${url}/api/tasks/${id}`)).json()) as { state: string; payload: unknown };

const strace = Bun.which("strace");
const noStrace = strace ? "" : " (there is no strace here)";

/** The system calls of the daemon while `during` runs, in their order. */
async function traced(daemon: Daemon, options: string[], during: () => Promise<void>): Promise<string[]> {
  const path = join(temporaryFolder(), "trace");
  const calls = "trace=fsync,fdatasync,read,recvfrom,recvmsg,readv,write,sendto,sendmsg,writev";
  const words = [
    strace!,
    "-f",
    "-q",
    "-s",
    "64",
    "-e",
    calls,
    ...options,
    "-o",
    path,
    "-p",
    String(daemon.pid),
  ];
  const tracer = Bun.spawn(words, { stderr: "pipe", stdout: "ignore" });
  // It is attached once it has seen a call of ours.
  await until(async () => {
    if (tracer.exitCode !== null) throw new Error(await new Response(tracer.stderr).text());
    await fetch(`${daemon.url}/health`);
    return existsSync(path) && readFileSync(path, "utf8").includes("GET /health");
  });
  await during();
  tracer.kill("SIGINT");
  await tracer.exited;
  return readFileSync(path, "utf8").split("\n");
}

const free = ["--port", "0", "--ws-port", "0"];

describe("serve - commands", () => {
  test("serve - --version and version print the version alone", async () => {
    for (const words of [["--version"], ["version"]]) {
      expect(await runCortexd(words)).toEqual({ code: 0, output: `${version}\n`, errors: "" });
    }
  });

  test("serve - help names the commands and exit codes on a screen, that of serve its presets and options", async () => {
    const help = await runCortexd(["help"]);
    expect(help.code).toBe(0);
    for (const part of ["serve", "submit", "\n  8  ", "cortexd help serve"])
      expect(help.output).toContain(part);
    expect(help.output).not.toContain("--snapshot-interval-ms");
    const own = await runCortexd(["help", "serve"]);
    for (const part of ["high-availability", "--snapshot-interval-ms TIME", "CORTEX_PORT", "Examples:"])
      expect(own.output).toContain(part);
    expect((await runCortexd(["serve", "--port", "x", "--help"])).output).toBe(own.output);
  });

  test("serve - an unknown command is told, with the one that may be meant", async () => {
    const { code, output, errors } = await runCortexd(["serv"]);
    expect([code, output]).toEqual([exitTable.usage.code, ""]);
    expect(errors).toContain("serv is not a command; did you mean serve?");
  });
});

describe("serve - start", () => {
  test("serve - bare cortexd serves durably, with its data below the folder it was started in", async () => {
    const cwd = temporaryFolder();
    const environment = { CORTEX_PORT: "0", CORTEX_WS_PORT: "0" };
    const daemon = await start({ command: [], cwd, environment });
    const ready = await daemon.line("serve.ready");
    expect(ready).toMatchObject({ preset: "durable", data: join(cwd, "cortex-data"), version });
    expect(existsSync(join(cwd, "cortex-data"))).toBe(true);
    expect(ready.mayLose).toBeNull();
  });

  const losses: [Parameters<typeof spawnDaemon>[0], string][] = [
    [{ preset: "production" }, "30s"],
    [{ preset: "high-availability" }, "1s"],
    [{ preset: "development" }, "everything"],
  ];
  test.each(losses)("serve - %j says what a crash may lose: %s", async (options, part) => {
    const daemon = await start(options);
    expect(String((await daemon.line("serve.ready")).mayLose)).toContain(part);
  });

  test("serve - the development preset leaves nothing on disk", async () => {
    const daemon = await start({ preset: "development" });
    await submit(daemon, 1);
    expect(readdirSync(daemon.data)).toEqual([]);
  });

  test("serve - HTTP and both WebSocket addresses answer", async () => {
    const daemon = await start();
    expect((await fetch(`${daemon.url}/health`)).status).toBe(200);
    for (const url of [daemon.wsUrl, `${daemon.url.replace("http", "ws")}/ws`]) {
      const socket = new WebSocket(url);
      const answer = new Promise<string>((resolve, reject) => {
        socket.onmessage = (event) => resolve(String(event.data));
        socket.onclose = ({ code }) => reject(new Error(`closed ${code}`));
      });
      socket.onopen = () =>
        socket.send(JSON.stringify({ op: "session.hello", seq: 1, input: { protocol: 1 } }));
      expect(JSON.parse(await answer)).toMatchObject([{ seq: 1, ok: { protocol: 1 } }]);
      socket.onclose = null;
      socket.close();
    }
  });

  const pages: [string, string][] = [
    ["/swagger", "text/html"],
    ["/swagger/json", "application/json"],
    ["/swagger/ui.js", "javascript"],
    ["/swagger/ui.css", "text/css"],
  ];
  test("serve - Swagger comes from inside, with nothing beside the program", async () => {
    const daemon = await start({ preset: "development" });
    for (const [path, type] of pages) {
      const response = await fetch(daemon.url + path);
      expect([path, response.status, response.headers.get("content-type")]).toEqual([
        path,
        200,
        expect.stringContaining(type),
      ]);
      expect((await response.text()).length).toBeGreaterThan(200);
    }
  });

  // From the source it is Bun that reads them, for every program; the executable is ours.
  if (process.env.CORTEX_TEST_EXECUTABLE) {
    test("serve - the executable ignores a stranger's .env and bunfig.toml in its folder", async () => {
      const cwd = temporaryFolder();
      writeFileSync(join(cwd, ".env"), "CORTEX_PORT=x\n");
      writeFileSync(join(cwd, "bunfig.toml"), 'preload = ["./stranger.ts"]\n');
      await start({ cwd, command: ["--port", "0", "--ws-port", "0"] });
    });
  }
});

describe("serve - what it refuses", () => {
  test("serve - three mistakes are told at once, and nothing is touched", async () => {
    const cwd = temporaryFolder();
    const environment = { CORTEX_PRESET: "fast" };
    const { code, errors } = await runCortexd(["serve", "--port", "70000", "--tokn", "x"], {
      cwd,
      environment,
    });
    expect(code).toBe(exitTable.usage.code);
    expect(errors).toContain("3 mistakes");
    expect(errors).toContain("--tokn is not an option; did you mean --token?");
    expect(errors).toContain('--port is "70000"; allowed is a whole number from 0 to 65535');
    expect(errors).toContain('CORTEX_PRESET is "fast"; allowed is durable,');
    expect(errors).not.toMatch(/^\s+at /m);
    expect(readdirSync(cwd)).toEqual([]);
  });

  test.each(["0.0.0.0", "::"])(
    "serve - listening on %s without a token, with the line that mends it",
    async (host) => {
      const { code, errors } = await runCortexd(["--host", host, ...free]);
      expect(code).toBe(exitTable.usage.code);
      expect(errors).toContain("--token-file FILE");
    },
  );

  test("serve - with a token it listens elsewhere, and only who shows it comes in", async () => {
    const file = join(temporaryFolder(), "token");
    writeFileSync(file, "s3cret\n");
    const daemon = await start({ args: ["--host", "0.0.0.0", "--token-file", file] });
    const state = `${daemon.url}/api/state`;
    expect((await fetch(state)).status).toBe(401);
    expect((await fetch(state, { headers: { authorization: "Bearer s3cres" } })).status).toBe(401);
    expect((await fetch(state, { headers: { authorization: "Bearer s3cret" } })).status).toBe(200);
    expect(JSON.stringify(daemon.lines)).not.toContain("s3cret");
  });

  test("serve - a first start makes a token and tells it, the next one keeps it and tells it no more", async () => {
    const file = join(temporaryFolder(), "made", "token");
    const args = ["--host", "0.0.0.0", "--token-file", file, "--token-missing", "make"];
    const first = await start({ args });
    const { token } = await first.line("token.made");
    expect(token).toMatch(/^[\w-]{43}$/);
    expect(readFileSync(file, "utf8")).toBe(`${token}\n`);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const statusOf = async ({ url }: Daemon, headers = {}) =>
      (await fetch(`${url}/api/state`, { headers })).status;
    const authorization = { authorization: `Bearer ${token}` };
    expect([await statusOf(first), await statusOf(first, authorization)]).toEqual([401, 200]);
    await first.stop();

    const second = await start({ data: first.data, args });
    expect([await statusOf(second), await statusOf(second, authorization)]).toEqual([401, 200]);
    expect(JSON.stringify(second.lines)).not.toContain(token as string);
  });

  test("serve - a token that cannot be kept is not made up: the start is refused", async () => {
    const { code, errors, output } = await runCortexd([
      ...["serve", ...free, "--token-file", "/proc/none/token", "--token-missing", "make"],
    ]);
    expect(code).toBe(exitTable["data-folder-not-writable"].code);
    expect(errors).toContain("/proc/none/token cannot be made");
    expect(output).not.toContain("Bearer");
  });

  test.each(["--port", "--ws-port"])("serve - a port in use: %s", async (flag) => {
    const other = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("other") });
    const { code, errors } = await runCortexd(["serve", ...free, flag, String(other.port)]);
    expect(code).toBe(exitTable["address-unusable"].code);
    expect(errors).toContain(`127.0.0.1:${other.port}`);
    expect(errors).toContain(flag);
    await other.stop(true);
  });

  test("serve - a second daemon on one data folder; the first goes on", async () => {
    const first = await start();
    const { code, errors } = await runCortexd(["serve", ...free, "--data", first.data]);
    expect(code).toBe(exitTable["data-folder-in-use"].code);
    expect(errors).toContain(first.data);
    expect(await read(first, await submit(first, "still"))).toMatchObject({ payload: "still" });
  });

  test("serve - a data folder that cannot be made: its parent is a file", async () => {
    const file = join(temporaryFolder(), "file");
    writeFileSync(file, "");
    const { code, errors } = await runCortexd(["serve", ...free, "--data", join(file, "data")]);
    expect(code).toBe(exitTable["data-folder-not-writable"].code);
    expect(errors).toContain("--data");
  });

  test("serve - a data folder that cannot be written", async () => {
    // Rights do not stop root; the kernel's own file system stops everyone.
    const isRoot = process.getuid?.() === 0;
    const folder = isRoot ? "/proc" : temporaryFolder();
    if (!isRoot) chmodSync(folder, 0o555);
    const { code } = await runCortexd(["serve", ...free, "--data", folder]);
    expect(code).toBe(exitTable["data-folder-not-writable"].code);
  });

  test("serve - a data folder of a newer format, which it leaves as it is", async () => {
    const daemon = await start();
    await submit(daemon, 1);
    await daemon.stop();
    const path = join(daemon.data, "cortex.db");
    const database = new Database(path);
    const { text } = database.query("SELECT text FROM meta").get() as { text: string };
    const newer = text.replace(/"format":\d+/, '"format":99');
    expect(newer).not.toBe(text);
    database.run("UPDATE meta SET text = ?", [newer]);
    database.close(true);
    const before = readFileSync(path);
    const { code, errors } = await runCortexd(["serve", ...free, "--data", daemon.data]);
    expect(code).toBe(exitTable["data-folder-newer-format"].code);
    expect(errors).toContain("newer");
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test("serve - a damaged data folder, and nothing is lost silently", async () => {
    const daemon = await start();
    let id = "";
    for (let i = 0; i < 50; i++) id = await submit(daemon, `payload ${i} ${"x".repeat(500)}`);
    // The mark follows what is synced at some distance; before it, damage could be a torn tail.
    const slots = () =>
      readFileSync(join(daemon.data, "mark"), "latin1").match(/cortex-mark [^\n]*\n/g) ?? [];
    const revision = Number(id.split("-")[0]);
    await until(() => (newestMark(slots())?.revision ?? 0) >= revision);
    await daemon.kill();
    // It would make good what is damaged behind where it begins.
    rmSync(join(daemon.data, "journal"), { force: true });
    // One bit in the middle of what was acknowledged.
    const path = join(daemon.data, "cortex.db-wal");
    const at = Math.floor(statSync(path).size / 2);
    const byte = readFileSync(path)[at]!;
    const file = openSync(path, "r+");
    writeSync(file, Uint8Array.of(byte ^ 1), 0, 1, at);
    closeSync(file);
    const { code, errors } = await runCortexd(["serve", ...free, "--data", daemon.data]);
    expect(code).toBe(exitTable["data-folder-damaged"].code);
    expect(errors).toContain("--recover-to");
  });
});

describe("serve - how it ends", () => {
  test.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)(
    "serve - %s ends it gracefully, within a second",
    async (signal) => {
      const daemon = await start();
      const id = await submit(daemon, signal);
      const before = performance.now();
      daemon.signal(signal);
      expect(await daemon.exited).toBe(exitTable.ok.code);
      expect(performance.now() - before).toBeLessThan(1000);
      const stopped = daemon.lines.map(({ event }) => event).slice(-2);
      expect(stopped).toEqual(["serve.step", "serve.stopped"]);
      expect(await read(await start({ data: daemon.data }), id)).toMatchObject({ payload: signal });
    },
  );

  test("serve - a request that waits is answered before the end", async () => {
    const daemon = await start();
    const id = await submit(daemon, 1);
    const waiting = fetch(`${daemon.url}/api/tasks/${id}?wait=60s`);
    // A second request on the way: when it is answered, the first has been taken.
    await read(daemon, id);
    const ended = daemon.stop();
    expect([200, 503]).toContain((await waiting).status);
    expect(await ended).toBe(0);
  });

  test("serve - one Ctrl-C that arrives twice is one wish", async () => {
    const daemon = await start();
    daemon.signal("SIGINT");
    daemon.signal("SIGINT");
    expect(await daemon.exited).toBe(exitTable.ok.code);
  });

  const proc = existsSync("/proc/self/stat");
  test.skipIf(!proc)(
    `serve - it begins with the allocator's options, unless it was given its own${proc ? "" : " (no /proc here)"}`,
    async () => {
      const optionsOf = async (environment: Record<string, string>) => {
        const daemon = await start({ environment });
        const all = readFileSync(`/proc/${daemon.pid}/environ`, "utf8").split("\0");
        expect(all).toContain(`HOME=${process.env.HOME ?? ""}`);
        return all.filter((one) => one.startsWith("MIMALLOC_")).sort();
      };
      const ours = Object.entries(allocatorOptions).map(([name, value]) => `${name}=${value}`);
      expect(await optionsOf({})).toEqual(ours.sort());
      expect(await optionsOf({ MIMALLOC_PURGE_DELAY: "7" })).toEqual(["MIMALLOC_PURGE_DELAY=7"]);
    },
  );
  test.skipIf(!proc)(
    `serve - the end of npx, which passes nothing on, ends it${proc ? "" : " (no /proc here)"}`,
    async () => {
      const daemon = await start({
        under: ["sh", "-c", 'sh -c "$NPX_SHELL" shell "$@"; exit $?', "npx"],
        environment: { NPX_SHELL: 'sh -c "$RUNNER" runner "$@"; exit $?', RUNNER: '"$@"; exit $?' },
      });
      const parentOf = (pid: number) =>
        Number(/^PPid:\s*([0-9]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]);
      process.kill(parentOf(parentOf(daemon.pid)), "SIGTERM");
      expect(await daemon.line("serve.stopping")).toMatchObject({ by: "the end of npx" });
      await daemon.line("serve.stopped");
      await daemon.exited;
    },
  );

  test.skipIf(!strace)(`serve - a second signal ends it at once${noStrace}`, async () => {
    const daemon = await start();
    // A disk that takes its time holds the graceful end up.
    await traced(daemon, ["-e", "inject=fsync,fdatasync:delay_enter=2000000"], async () => {
      daemon.signal("SIGTERM");
      await daemon.line("serve.stopping");
      // Again and again: what comes right after the first belongs to it.
      const again = setInterval(() => daemon.signal("SIGTERM"), 50);
      const code = await daemon.exited.finally(() => clearInterval(again));
      expect(code).toBe(exitTable["stopped-at-once"].code);
    });
  });

  test.skipIf(!strace)(
    `serve - a failed sync ends it, and what was acknowledged is there again${noStrace}`,
    async () => {
      const daemon = await start();
      const id = await submit(daemon, "before");
      await traced(daemon, ["-e", "inject=fsync,fdatasync:error=EIO"], async () => {
        expect(submit(daemon, "never answered")).rejects.toThrow();
        expect(await daemon.exited).toBe(exitTable["log-failed"].code);
      });
      expect(daemon.errors()).not.toMatch(/^\s+at /m);
      expect(await read(await start({ data: daemon.data }), id)).toMatchObject({ payload: "before" });
    },
  );

  test("serve - after SIGKILL everything acknowledged is there, and revisions go on above", async () => {
    const daemon = await start();
    const ids = await Promise.all(Array.from({ length: 100 }, (_, i) => submit(daemon, i)));
    const highest = Math.max(...ids.map((id) => Number(id.split("-")[0])));
    await daemon.kill();
    const again = await start({ data: daemon.data });
    const tasks = await Promise.all(ids.map((id) => read(again, id)));
    expect(tasks.map(({ payload }) => payload)).toEqual(ids.map((_, i) => i));
    expect(Number((await submit(again, "next")).split("-")[0])).toBeGreaterThan(highest);
  });
});

describe("serve - what is on disk when it answers", () => {
  const isSync = (call: string) => /\b(fsync|fdatasync)(\(| resumed)/.test(call) && /= 0$/.test(call);

  test.skipIf(!strace)(`serve - durable: a sync stands between request and answer${noStrace}`, async () => {
    const daemon = await start({ preset: "durable" });
    const calls = await traced(daemon, [], async () => {
      for (let i = 0; i < 5; i++) await submit(daemon, i);
    });
    let synced = false;
    let answers = 0;
    for (const call of calls) {
      if (call.includes("POST /api/tasks")) synced = false;
      if (isSync(call)) synced = true;
      if (!call.includes("HTTP/1.1 201")) continue;
      answers++;
      expect(synced).toBe(true);
      synced = false;
    }
    expect(answers).toBe(5);
  });

  test.skipIf(!strace)(`serve - durable: many requests share a sync${noStrace}`, async () => {
    const daemon = await start({ preset: "durable" });
    const count = 400;
    const calls = await traced(daemon, [], async () => {
      await Promise.all(Array.from({ length: count }, (_, i) => submit(daemon, i)));
    });
    const syncs = calls.filter(isSync).length;
    expect(syncs).toBeGreaterThan(0);
    expect(syncs).toBeLessThan(count / 2);
  });

  test.skipIf(!strace)(`serve - development: nothing is ever synced${noStrace}`, async () => {
    const daemon = await start({ preset: "development" });
    const calls = await traced(daemon, [], async () => {
      for (let i = 0; i < 5; i++) await submit(daemon, i);
    });
    expect(calls.filter((call) => call.includes("HTTP/1.1 201"))).toHaveLength(5);
    expect(calls.filter(isSync)).toEqual([]);
  });
});
