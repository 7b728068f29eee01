/** The port: requests and WebSockets beside each other, one owner, and an end that comes. */
import { describe, expect, test } from "bun:test";
import { serveHttp } from "../../src/http/serve.ts";
import { world } from "./world.ts";

const opened = (socket: WebSocket) =>
  new Promise<boolean>((resolve) => {
    socket.onopen = () => resolve(true);
    socket.onerror = () => resolve(false);
  });

describe("http serve", () => {
  test("http serve - /ws speaks WebSocket beside the routes", async () => {
    await using w = world();
    const socket = new WebSocket(`${w.url.replace("http", "ws")}/ws`);
    expect(await opened(socket)).toBe(true);
    const echo = new Promise((resolve) => {
      socket.onmessage = (event) => resolve(event.data);
    });
    socket.send("hello");
    expect(await echo).toBe("echo hello");
    expect((await w.fetch("/health")).status).toBe(200);
    socket.close();
  });

  test("http serve - /ws without an upgrade says so, and no other path upgrades", async () => {
    await using w = world();
    const plain = await w.fetch("/ws");
    expect([plain.status, ((await plain.json()) as { code: string }).code]).toEqual([
      426,
      "upgrade-required",
    ]);
    expect(await opened(new WebSocket(`${w.url.replace("http", "ws")}/api/ws`))).toBe(false);
  });

  test("http serve - a foreign page gets no socket", async () => {
    await using w = world();
    const url = `${w.url.replace("http", "ws")}/ws`;
    const foreign = new WebSocket(url, { headers: { origin: "http://evil.example" } } as unknown as string[]);
    expect(await opened(foreign)).toBe(false);
  });

  test("http serve - a port in use is refused, not shared", async () => {
    await using w = world();
    const again = () =>
      serveHttp<undefined>({
        app: w.app,
        host: "127.0.0.1",
        port: w.server.port,
        upgrade: () => undefined,
        websocket: { message() {} },
        report() {},
      });
    expect(again).toThrow(/EADDRINUSE|in use/);
  });

  test("http serve - stop lets a request finish, takes no new one, and twice is fine", async () => {
    const w = world();
    const arrived = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    w.answer["queue.list"] = async () => {
      arrived.resolve();
      await go.promise;
      return { queues: [] };
    };
    const answered = w.fetch("/api/queues");
    await arrived.promise;
    const stopped = Promise.all([w.server.stop(10_000), w.server.stop(10_000)]);
    await expect(w.fetch("/health", { keepalive: false })).rejects.toThrow();
    go.resolve();
    expect((await answered).status).toBe(200);
    await stopped;
  });

  test("http serve - stop ends although a WebSocket stays open", async () => {
    const w = world();
    const socket = new WebSocket(`${w.url.replace("http", "ws")}/ws`);
    await opened(socket);
    const closed = new Promise((resolve) => {
      socket.onclose = resolve;
    });
    await w.server.stop(50);
    await closed;
  });

  test("http serve - a wait outlives the idle limit only because it asks to", async () => {
    await using w = world();
    const asked: number[] = [];
    const server = w.app.server!;
    const timeout = server.timeout.bind(server);
    server.timeout = (request, seconds) => {
      asked.push(seconds);
      timeout(request, seconds);
    };
    w.answer["task.get"] = () => ({});
    await w.fetch("/api/tasks/1-0?wait=1s");
    await w.fetch("/api/tasks/1-0");
    expect(asked).toEqual([0]);
  });
});
