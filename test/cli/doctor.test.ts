/** `cortexd doctor` against set-ups that are broken on purpose, each in one way: it finds that, and changes nothing. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Finding } from "../../src/cli/doctor.ts";
import { type ExitName, exitTable } from "../../src/cli/exit.ts";
import {
  cortexd,
  type Daemon,
  runCortexd,
  spawnDaemon,
  startProgram,
  temporaryFolder,
} from "../support/daemon.ts";

setDefaultTimeout(60_000);

let daemon: Daemon;
const token = "s3cret";
beforeAll(async () => {
  daemon = await spawnDaemon({ args: ["--token", token] });
});
afterAll(() => daemon.kill());

/** The words that the daemon was started with, its ports known. */
const words = () => {
  const { port, wsPort, data } = daemon;
  return ["--port", `${port}`, "--ws-port", `${wsPort}`, "--data", data, "--token", token];
};
async function findings(
  as: ExitName,
  argv: string[],
  environment: Record<string, string> = {},
  before: string[] = [],
) {
  const command = [...before, ...cortexd, "doctor", "--json", ...argv];
  const { code, output, errors } = await startProgram(command, { environment }).ended;
  expect({ code, errors }).toEqual({ code: exitTable[as].code, errors: "" });
  const told = JSON.parse(output) as { ok: boolean; findings: Finding[] };
  expect(told.ok).toBe(as === "ok");
  return told.findings;
}
const about = (list: readonly Finding[], ...names: string[]) =>
  list.filter((one) => names.includes(one.about)).map(({ about, level }) => [about, level]);
const free = ["--port", "0", "--ws-port", "0"];
const isRoot = process.getuid?.() === 0;
/** Put before a command, root is bound by the permissions of files as everyone is. */
const withoutRights = isRoot ? ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] : [];

describe("doctor - where nothing is wrong", () => {
  test("doctor - before the first start, and it makes nothing", async () => {
    const data = join(temporaryFolder(), "data");
    const list = await findings("ok", [...free, "--data", data]);
    expect(about(list, "configuration", "data folder", "port", "WebSocket port", "daemon")).toEqual([
      ["configuration", "ok"],
      ["data folder", "ok"],
      ["port", "ok"],
      ["WebSocket port", "ok"],
      ["daemon", "ok"],
    ]);
    expect(existsSync(data)).toBe(false);
  });

  test("doctor - beside the daemon that it is about, at both of its WebSockets", async () => {
    const before = readdirSync(daemon.data);
    const list = await findings("ok", words());
    expect(about(list, "daemon", "versions", "token", "WebSocket")).toEqual([
      ["daemon", "ok"],
      ["versions", "ok"],
      ["token", "ok"],
      ["WebSocket", "ok"],
      ["WebSocket", "ok"],
    ]);
    expect(readdirSync(daemon.data)).toEqual(before);
  });

  test("doctor - a distant one is asked alone", async () => {
    const list = await findings("ok", ["--url", daemon.url, "--token", token]);
    expect(new Set(list.map(({ about }) => about))).toEqual(
      new Set(["daemon", "versions", "token", "WebSocket"]),
    );
  });

  test("doctor - people read a line a finding, and what it comes to", async () => {
    const { code, output } = await runCortexd(["doctor", ...words()]);
    expect(code).toBe(0);
    expect(output).toMatch(/^ok +configuration +sound, preset durable$/m);
  });
});

describe("doctor - what is wrong is found, with what to do", () => {
  const finds = async (
    argv: string[],
    level: Finding["level"],
    name: string,
    environment = {},
    before: string[] = [],
  ) => {
    const list = await findings(level === "fault" ? "set-up-faulty" : "ok", argv, environment, before);
    const one = list.find((finding) => finding.about === name && finding.level === level);
    expect(one?.advice, JSON.stringify(list)).toBeTruthy();
    return one!;
  };

  test("doctor - a mistake in the configuration", async () => {
    const { found } = await finds(["--prot", "1"], "fault", "configuration");
    expect(found).toContain("did you mean --port?");
  });

  test("doctor - a name in the environment that is nearly one of ours", async () => {
    const environment = { CORTEX_PROT: "9500" };
    const argv = [...free, "--data", temporaryFolder()];
    expect((await finds(argv, "concern", "configuration", environment)).found).toContain("CORTEX_PORT");
  });

  test("doctor - a file where the folder should be", async () => {
    const file = join(temporaryFolder(), "file");
    writeFileSync(file, "");
    await finds([...free, "--data", file], "fault", "data folder");
    await finds([...free, "--data", join(file, "below")], "fault", "data folder");
  });

  test.skipIf(isRoot && !Bun.which("setpriv"))(
    "doctor - a folder that may not be written (skipped for root without setpriv: it may write all)",
    async () => {
      const folder = temporaryFolder();
      chmodSync(folder, 0o500);
      await finds([...free, "--data", folder], "fault", "data folder", {}, withoutRights);
      await finds([...free, "--data", join(folder, "below")], "fault", "data folder", {}, withoutRights);
    },
  );

  test("doctor - a port that another program has", async () => {
    const other = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("hello") });
    const argv = ["--port", `${other.port}`, "--ws-port", "0", "--data", temporaryFolder()];
    expect((await finds(argv, "fault", "port")).found).toContain("in use");
    await other.stop(true);
  });

  test("doctor - an address that is not this machine's", async () => {
    const argv = ["--host", "192.0.2.1", "--token", token, "--ws-port", "0", "--data", temporaryFolder()];
    await finds(argv, "fault", "WebSocket port");
  });

  test("doctor - a folder whose daemon is elsewhere, named by its process", async () => {
    const { found } = await finds([...free, "--data", daemon.data], "fault", "daemon");
    expect(found).toContain(`process ${daemon.pid}`);
  });

  test("doctor - a daemon that works on another folder", async () => {
    const argv = words().map((word) => (word === daemon.data ? temporaryFolder() : word));
    await finds(argv, "concern", "daemon");
  });

  test("doctor - a token that is missing, or another", async () => {
    const wrong = words().map((word) => (word === token ? "wrong" : word));
    expect((await finds(wrong, "fault", "token")).found).toContain("another");
    expect((await finds(words().slice(0, -2), "fault", "token")).found).toContain("there is none");
  });

  test("doctor - a token file that others may read", async () => {
    const file = join(temporaryFolder(), "token");
    writeFileSync(file, token);
    chmodSync(file, 0o644);
    const argv = [...free, "--data", temporaryFolder(), "--token-file", file];
    await finds(argv, "concern", "token file");
    chmodSync(file, 0o600);
    expect(about(await findings("ok", argv), "token file")).toEqual([["token file", "ok"]]);
  });

  test("doctor - a clock behind what was written", async () => {
    const data = join(temporaryFolder(), "data");
    mkdirSync(data);
    const file = join(data, "log");
    writeFileSync(file, "");
    const tomorrow = new Date(Date.now() + 24 * 3600_000);
    utimesSync(file, tomorrow, tomorrow);
    expect((await finds([...free, "--data", data], "concern", "clock")).found).toContain("23 h behind");
  });

  test("doctor - a distant one that is not there, or is no cortexd", async () => {
    const other = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("hello") });
    expect((await finds(["--url", `${other.url}`], "fault", "daemon")).found).toContain("no cortexd");
    await other.stop(true);
    expect((await finds(["--url", `${other.url}`], "fault", "daemon")).found).toContain("ECONNREFUSED");
  });

  test("doctor - a proxy that lets no WebSocket through", async () => {
    const proxy = Bun.serve({
      ...{ port: 0, hostname: "127.0.0.1" },
      fetch: (request) => {
        if (request.headers.has("upgrade")) return new Response(null, { status: 502 });
        const { pathname } = new URL(request.url);
        return fetch(`${daemon.url}${pathname}`, { headers: { authorization: `Bearer ${token}` } });
      },
    });
    const url = `http://127.0.0.1:${proxy.port}`;
    await finds(["--url", url, "--token", token], "concern", "WebSocket");
    await proxy.stop(true);
  });

  test.skipIf(process.platform !== "linux")(
    "doctor - too few open files (skipped elsewhere than on Linux)",
    async () => {
      const line = [...cortexd, "doctor", "--json", ...free, "--data", temporaryFolder()].join(" ");
      const child = Bun.spawn(["sh", "-c", `ulimit -n 256; exec ${line}`], { stdout: "pipe" });
      const { findings } = (await new Response(child.stdout).json()) as { findings: Finding[] };
      expect(about(findings, "open files")).toEqual([["open files", "concern"]]);
    },
  );

  test.skipIf(!existsSync("/dev/shm"))(
    "doctor - a folder in memory (skipped where there is no /dev/shm)",
    async () => {
      await finds([...free, "--data", "/dev/shm/cortexd-doctor-test"], "concern", "file system");
    },
  );
});
