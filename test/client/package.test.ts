/**
 * The client as a package: built, packed, installed into a plain project, and used there by Node, by Bun and by the
 * type checker. The source beside it is out of reach for all of them.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { operationNames } from "../../src/wire/operations.ts";
import { type Daemon, spawnDaemon } from "../support/daemon.ts";
import { installed, missingNode, packed, project, runIn } from "../support/package.ts";

const root = join(import.meta.dir, "../..");
const token = "s3cret";

let daemon: Promise<Daemon> | null = null;
const aDaemon = () => {
  daemon ??= spawnDaemon({ preset: "development", args: ["--token", token] });
  return daemon;
};
afterAll(async () => void (await (await daemon)?.kill()));

/** Runs a module in a project with the package; what it printed as JSON. */
async function runModule(code: string, command = ["node"]): Promise<unknown> {
  const folder = await project({ "main.mjs": code });
  const { url, wsUrl } = await aDaemon();
  const ran = await runIn(folder, [...command, "main.mjs"], { URL: url, WS_URL: wsUrl, TOKEN: token });
  if (ran.code !== 0) throw new Error(ran.errors || ran.output);
  return JSON.parse(ran.output);
}

const roundTrip = `
  const queue = "q" + Math.random().toString(36).slice(2);
  const running = await worker(queue, (task) => ({ echoed: task.payload }), { ...options });
  const client = new CoordinationClient({ ...options });
  await client.connect();
  const result = await client.submit({ queue, type: "t", payload: [1, "zwei"] }).result();
  const carriers = [running.client.transport, client.transport];
  await running.stop();
  client.close();
  console.log(JSON.stringify({ result, carriers, own: typeof WebSocket }));
`;
const plain = (flags: string[]) => ["node", ...flags];
/** Node 20 has it behind this flag, later ones without. */
const withWebSocket = plain(["--experimental-websocket"]);

describe("package", () => {
  test.skipIf(missingNode !== "")(
    `package - it holds what it offers, and nothing of the server${missingNode}`,
    async () => {
      const { files } = await packed();
      expect(files.filter((path) => path.endsWith(".js")).length).toBeGreaterThan(4);
      expect(files.filter((path) => !/\.(js|d\.ts)$/.test(path))).toEqual([
        "LICENSES.txt",
        "README.md",
        "package.json",
      ]);
      expect(
        files.filter((path) => /^types\/src\/(?!wire\/|embedded\/(coordinator|testing)\.)/.test(path)),
      ).toEqual([]);
      const folder = await installed();
      const texts = files.map((path) => ({ path, text: readFileSync(join(folder, path), "utf8") }));
      expect(texts.filter(({ text }) => text.includes(root)).map(({ path }) => path)).toEqual([]);
      const declared = texts.filter(({ path }) => path.endsWith(".d.ts"));
      expect(
        declared.filter(({ text }) => /@sinclair|elysia|bun:|node:/.test(text)).map(({ path }) => path),
      ).toEqual([]);
      const client = texts.find(({ path }) => path === "index.js")!.text;
      expect(client).not.toMatch(/@sinclair|elysia|bun:|node:/);
      expect(readdirSync(join(folder, "../..")).sort()).toEqual([".package-lock.json", "@cortexd"]);
    },
    60_000,
  );

  test.skipIf(missingNode !== "")(
    `package - in Node without a WebSocket a task goes and comes over HTTP${missingNode}`,
    async () => {
      const code = `
      import { CoordinationClient, worker } from "@cortexd/client";
      delete globalThis.WebSocket;
      const options = { url: process.env.URL, token: process.env.TOKEN };
      ${roundTrip}`;
      expect(await runModule(code)).toEqual({
        result: { echoed: [1, "zwei"] },
        carriers: ["http", "http"],
        own: "undefined",
      });
    },
    60_000,
  );

  test.skipIf(missingNode !== "")(
    `package - in Node a WebSocket that is handed in is used${missingNode}`,
    async () => {
      const code = `
      import { CoordinationClient, httpRequests, webSocketBy, worker } from "@cortexd/client";
      const HandedIn = globalThis.WebSocket;
      delete globalThis.WebSocket;
      const transport = { websocket: webSocketBy((url) => new HandedIn(url)), http: httpRequests };
      const options = { url: process.env.WS_URL, token: process.env.TOKEN, transport };
      ${roundTrip}`;
      expect(await runModule(code, withWebSocket)).toEqual({
        result: { echoed: [1, "zwei"] },
        carriers: ["websocket", "websocket"],
        own: "undefined",
      });
    },
    60_000,
  );

  test.skipIf(missingNode !== "")(
    `package - in Node that has a WebSocket it is used unasked${missingNode}`,
    async () => {
      const code = `
      import { CoordinationClient, worker } from "@cortexd/client";
      const options = { url: process.env.URL, token: process.env.TOKEN };
      ${roundTrip}`;
      expect(await runModule(code, withWebSocket)).toMatchObject({ carriers: ["websocket", "websocket"] });
    },
    60_000,
  );

  test.skipIf(missingNode !== "")(
    `package - in Node the REST client tells a refusal by its class${missingNode}`,
    async () => {
      const code = `
      import { CortexError } from "@cortexd/client";
      import { RestClient } from "@cortexd/client/rest";
      const rest = new RestClient({ url: process.env.URL, token: process.env.TOKEN });
      const { id } = await rest.submit({ type: "t", payload: "2026-01-01" });
      const { payload } = await rest.task(id);
      const error = await rest.task("999999-0").catch((error) => error);
      console.log(JSON.stringify({ payload, isOurs: error instanceof CortexError, code: error.code }));`;
      expect(await runModule(code)).toEqual({ payload: "2026-01-01", isOurs: true, code: "unknown-task" });
    },
    60_000,
  );

  test.skipIf(missingNode !== "")(
    `package - in Node the coordinator runs embedded, and in tests${missingNode}`,
    async () => {
      const code = `
      import { TaskFailed } from "@cortexd/client";
      import { createCoordinator } from "@cortexd/client/embedded";
      import { createCoordinator as createForTests } from "@cortexd/client/testing";
      const cortex = await createCoordinator();
      await cortex.worker("q", (task) => { if (task.payload === 0) throw Object.assign(new Error("no"), { final: true }); return 2 * task.payload; });
      const client = cortex.client();
      const result = await client.submit({ queue: "q", type: "t", payload: 21 }).result();
      const failure = await client.submit({ queue: "q", type: "t", payload: 0 }).result().catch((error) => error);
      await cortex.stop();
      const tested = await createForTests();
      await tested.worker("q", () => "late");
      const task = await tested.client().submit({ queue: "q", type: "t", delayMs: 300000 });
      tested.kill();
      await tested.restart();
      await tested.advance("6m");
      const late = (await tested.waitFor(task, "completed")).result;
      await tested.stop();
      const needsBun = await createCoordinator({ data: "data" }).catch((error) => error.message);
      console.log(JSON.stringify({ result, isOurs: failure instanceof TaskFailed, late, needsBun }));`;
      expect(await runModule(code)).toEqual({
        ...{ result: 42, isOurs: true, late: "late" },
        needsBun: expect.stringContaining("needs Bun"),
      });
    },
    60_000,
  );

  test.skipIf(missingNode !== "").each([
    ["Node", ["node"]],
    ["Bun", [process.execPath]],
  ])(
    `package - in %s a typed task is checked, handled and comes back, over a daemon and embedded${missingNode}`,
    async (_, command) => {
      const code = `
      import { CoordinationClient, task, worker } from "@cortexd/client";
      import { createCoordinator } from "@cortexd/client/embedded";
      const number = { "~standard": { version: 1, vendor: "test", validate: (value) =>
        typeof value === "number" ? { value } : { issues: [{ message: "must be a number" }] } } };
      const queue = "q" + Math.random().toString(36).slice(2);
      const double = task("double", { payload: number, result: number, queue });
      const handled = [double.handleBatch({ size: 2 }, (items) => items.map(({ payload }) => 2 * payload))];
      const use = (task, context, next) => next();
      const options = { url: process.env.URL, token: process.env.TOKEN };
      const round = async (client) => [
        await client.submit(double, 21).result(),
        await client.submit(double, "21").then(() => null, ({ name, message }) => name + ": " + message),
      ];
      const running = await worker(queue, handled, { ...options, use });
      const client = new CoordinationClient(options);
      const apart = await round(client);
      await running.stop();
      client.close();
      const cortex = await createCoordinator();
      await cortex.worker(queue, handled, { use });
      const embedded = await round(cortex.client());
      await cortex.stop();
      console.log(JSON.stringify({ apart, embedded }));`;
      const round = [42, "Invalid: the payload of double does not fit: must be a number"];
      expect(await runModule(code, command)).toEqual({ apart: round, embedded: round });
    },
    60_000,
  );

  test.skipIf(missingNode !== "")(
    `package - in Bun the embedded coordinator keeps a data folder${missingNode}`,
    async () => {
      const code = `
      import { createCoordinator } from "@cortexd/client/embedded";
      const first = await createCoordinator({ data: "data" });
      const { id } = await first.client().submit({ queue: "q", type: "t", payload: "kept" });
      await first.stop();
      const second = await createCoordinator({ data: "data" });
      const { payload } = await second.client().task(id).get();
      await second.stop();
      console.log(JSON.stringify({ payload }));`;
      expect(await runModule(code, [process.execPath])).toEqual({ payload: "kept" });
    },
    60_000,
  );
});

describe("package - types", () => {
  const config = (more: object = {}) =>
    JSON.stringify({
      compilerOptions: {
        ...{
          strict: true,
          noEmit: true,
          module: "nodenext",
          target: "es2022",
          lib: ["es2023", "dom"],
          types: [],
        },
        ...{ skipLibCheck: false, ...more },
      },
      files: ["main.ts"],
    });
  const compile = (folder: string) =>
    runIn(folder, [process.execPath, join(root, "node_modules/.bin/tsc"), "-p", folder]);

  test.skipIf(missingNode !== "")(
    `package - calls that must compile do, those that must not do not, with nothing else installed${missingNode}`,
    async () => {
      const wrong = readFileSync(join(import.meta.dir, "types/wrong.ts"), "utf8");
      const text = wrong
        .replaceAll('"../../../client/index.ts"', '"@cortexd/client"')
        .replaceAll('"../../../client/rest.ts"', '"@cortexd/client/rest"');
      expect(text).not.toContain("../");
      const more = `
      import { createCoordinator } from "@cortexd/client/embedded";
      import { createCoordinator as createForTests } from "@cortexd/client/testing";
      export async function embedded() {
        await createCoordinator({ data: "data", heartbeatMs: "5s" });
        // @ts-expect-error: it opens no port
        await createCoordinator({ port: 9500 });
        const cortex = await createForTests();
        await cortex.waitFor(cortex.client().submit({ type: "t" }), "completed");
        // @ts-expect-error: no such state
        await cortex.waitFor("1-0", "done");
        // @ts-expect-error: no such operation
        cortex.faults.loseAnswer("task.finish");
      }`;
      const files = { "main.ts": text + more, "tsconfig.json": config() };
      expect(await compile(await project(files))).toEqual({ code: 0, output: "", errors: "" });
      const bare = { ...files, "main.ts": files["main.ts"].replaceAll("// @ts-expect-error", "// wrong") };
      const { output } = await compile(await project(bare));
      const lines = files["main.ts"].split("\n");
      const marked = lines.flatMap((line, i) => (line.includes("// @ts-expect-error") ? [i + 2] : []));
      const found = [...output.matchAll(/^main\.ts\((\d+),/gm)].map(([, line]) => Number(line));
      expect([...new Set(found)]).toEqual(marked);
    },
    120_000,
  );

  test.skipIf(missingNode !== "")(
    `package - the types written out are those of the schemas${missingNode}`,
    async () => {
      const folder = await project();
      const declared = join(await installed(), "types/src/wire/operations.js");
      const lines = operationNames.map(
        (name) =>
          `  same<Source.Input<"${name}">, Packed.Input<"${name}">>(),\n  same<Source.Output<"${name}">, Packed.Output<"${name}">>(),\n`,
      );
      const text = `
import type * as Source from "${join(root, "src/wire/operations.ts")}";
import type * as Packed from "${declared}";
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(..._: Same<A, B> extends true ? [] : ["differs"]) => true;
export const all = [
${lines.join("")}];
export const names: Same<Source.OperationName, Packed.OperationName> = true;
export const core: Same<Source.CoreOperationName, Packed.CoreOperationName> = true;
// @ts-expect-error: what differs is found
same<Source.Input<"task.get">, Packed.Input<"task.list">>();
`;
      await Bun.write(join(folder, "main.ts"), text);
      const more = {
        skipLibCheck: true,
        allowImportingTsExtensions: true,
        module: "esnext",
        moduleResolution: "bundler",
      };
      await Bun.write(join(folder, "tsconfig.json"), config(more));
      expect(await compile(folder)).toEqual({ code: 0, output: "", errors: "" });
    },
    120_000,
  );
});
