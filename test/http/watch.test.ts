/** Changes as server-sent events: what a stream says, and that it goes on where it broke off. */
import { afterAll, describe, expect, test } from "bun:test";
import type { Problem } from "../../src/wire/errors.ts";
import { explain } from "../../src/wire/explain.ts";
import { ChangeView } from "../../src/wire/state.ts";
import { spawnDaemon, until } from "../support/daemon.ts";

const daemon = await spawnDaemon({ preset: "development", args: ["--watch-history-bytes-max", "20KiB"] });
afterAll(() => daemon.kill());

const put = async (key: string, value: unknown = 1): Promise<number> => {
  const response = await fetch(`${daemon.url}/api/kv/${encodeURIComponent(key)}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ value }),
  });
  return ((await response.json()) as { revision: number }).revision;
};

type Event = { id: string; event: string; data: Record<string, unknown> };

/** Reads so many events, then lets go of the stream. */
async function read(query: string, count: number, headers: Record<string, string> = {}): Promise<Event[]> {
  const controller = new AbortController();
  const response = await fetch(`${daemon.url}/api/watch?${query}`, { headers, signal: controller.signal });
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
  const events: Event[] = [];
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body!) {
    text += decoder.decode(chunk, { stream: true });
    const parts = text.split("\n\n");
    text = parts.pop()!;
    for (const part of parts) {
      const fields = Object.fromEntries(part.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
      if (fields.data !== undefined)
        events.push({ id: fields.id, event: fields.event, data: JSON.parse(fields.data) });
    }
    if (events.length >= count) break;
  }
  controller.abort();
  return events.slice(0, count);
}

describe("http watch", () => {
  test("http watch - messages are told by topic", async () => {
    const before = await put("before");
    const published: string[] = [];
    await fetch(`${daemon.url}/api/subscriptions/s`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ topic: "orders.>" }),
    });
    for (const topic of ["other", "orders.eu", "orders"]) {
      const response = await fetch(`${daemon.url}/api/messages`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ topic, payload: topic }),
      });
      published.push(((await response.json()) as { messageId: string }).messageId);
    }
    const [event] = await read(`topic=orders.%3E&after=${before}`, 1);
    expect(event!.data).toMatchObject({
      table: "messages",
      id: published[1],
      topic: "orders.eu",
      value: "orders.eu",
    });
    const wrong = await fetch(`${daemon.url}/api/watch?topic=orders..eu`);
    expect(wrong.status).toBe(422);
  });

  test("http watch - changes come with their cause, and only those that were asked for", async () => {
    const before = await put("other");
    const reading = read(`prefix=seen%2F&tables=keys,tasks&after=${before}`, 2);
    const first = await put("seen/a", { n: 1 });
    await put("other");
    const second = await put("seen/a", null);
    const events = await reading;
    expect(events.map(({ id, event }) => [id, event])).toEqual([
      [`${first}-1`, "change"],
      [`${second}-1`, "change"],
    ]);
    for (const { data } of events) expect(explain(ChangeView, data)).toEqual([]);
    expect(events[0]!.data).toMatchObject({
      id: "seen/a",
      operation: "kv.put",
      who: "http",
      value: { n: 1 },
    });
  });

  test("http watch - a stream that comes again with its last id misses nothing and is told nothing twice", async () => {
    const before = await put("again");
    const response = await fetch(`${daemon.url}/api/transaction`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        then: ["a", "b", "c"].map((key) => ({
          operation: "kv.put",
          input: { key: `again/${key}`, value: 1 },
        })),
      }),
    });
    const { revision } = (await response.json()) as { revision: number };
    await put("again/d");
    const all = await read(`prefix=again%2F&after=${before}`, 4);
    expect(all.map(({ id }) => id)).toEqual(
      [1, 2, 3].map((n) => `${revision}-${n}`).concat(`${revision + 1}-1`),
    );
    for (let told = 0; told < 4; told++) {
      const id = told === 0 ? String(before) : all[told - 1]!.id;
      // The browser sends the id to the same address, whatever that says.
      const rest = await read(`prefix=again%2F&after=${before}`, 4 - told, { "last-event-id": id });
      expect(rest).toEqual(all.slice(told));
    }
  });

  test("http watch - what is kept no more is a gap, behind which one can go on too", async () => {
    const before = await put("gap");
    for (let i = 0; i < 60; i++) await put(`gap/${i}`);
    const [gap, next] = await read(`prefix=gap%2F&after=${before}`, 2);
    expect(gap).toMatchObject({ event: "gap", data: { from: before + 1, to: Number(gap!.id) } });
    expect(next!.data.revision).toBe(Number(gap!.id) + 1);
    expect(await read("prefix=gap%2F", 1, { "last-event-id": gap!.id })).toEqual([next!]);
  });

  test("http watch - an id without data says how far the stream leads where nothing is told, to go on from there", async () => {
    const before = await put("still/a");
    const last = await put("other");
    const response = await fetch(`${daemon.url}/api/watch?prefix=still%2F&after=${before}`);
    let text = "";
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (text.includes("id: ")) break;
    }
    expect(text).toBe(`retry: 1000\n\nid: ${last}\n\n`);
    const next = await put("still/b");
    const [event] = await read("prefix=still%2F", 1, { "last-event-id": String(last) });
    expect([event!.event, event!.data.revision]).toEqual(["change", next]);
  });

  test("http watch - what is wrong is refused by its name", async () => {
    const rows: [string, Record<string, string>, string][] = [
      ["tables=keys,nothing", {}, "/tables/1"],
      ["after=x", {}, "/after"],
      ["prefx=a", {}, "/prefx"],
      ["taskId=1042", {}, "/taskId"],
      ["queue=mail&key=a", {}, "/key"],
      ["lock=deploy&tables=keys,tasks", {}, "/lock"],
      ["topic=a.%3E&workerId=w1", {}, "/topic"],
      ["key=b&prefix=a", {}, "/prefix"],
      ["", { "last-event-id": "now" }, "/Last-Event-ID"],
    ];
    for (const [query, headers, pointer] of rows) {
      const response = await fetch(`${daemon.url}/api/watch?${query}`, { headers });
      const problem = (await response.json()) as Problem;
      expect([response.status, problem.errors?.[0]?.pointer]).toEqual([422, pointer]);
    }
    const unknown = await fetch(`${daemon.url}/api/watch`, { headers: { "cortex-namespace": "none" } });
    expect(unknown.status).toBe(404);
  });

  test("http watch - filters that a change can fit are taken together", async () => {
    const before = await put("both/a");
    await put("both/b");
    const [told] = await read(`prefix=both&key=both%2Fb&tables=keys,locks&after=${before}`, 1);
    expect(told!.data.id).toBe("both/b");
    for (const query of ["queue=a&workerId=w&taskId=1-0", "workerId=w&prefix=a", "queue=a&tables=pauses"]) {
      const response = await fetch(`${daemon.url}/api/watch?${query}`);
      expect(response.status).toBe(200);
      await response.body!.cancel();
    }
  });

  test("http watch - whoever asks for the head alone is answered, and watches nothing", async () => {
    const watches = async () =>
      ((await (await fetch(`${daemon.url}/api/metrics`)).json()) as { bus: { watchesOpen: number } }).bus
        .watchesOpen;
    await until(async () => (await watches()) === 0);
    const response = await fetch(`${daemon.url}/api/watch`, {
      method: "HEAD",
      signal: AbortSignal.timeout(10_000),
    });
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    expect(await watches()).toBe(0);
  });

  test("http watch - a stream ends when its namespace is dropped", async () => {
    const headers = { "content-type": "application/json", "cortex-namespace": "dropped" };
    const body = JSON.stringify({ value: 1 });
    await fetch(`${daemon.url}/api/kv/a`, { method: "PUT", headers, body });
    const response = await fetch(`${daemon.url}/api/watch?after=0`, {
      headers: { "cortex-namespace": "dropped" },
    });
    const reading = response.text();
    await fetch(`${daemon.url}/api/namespaces/dropped`, { method: "DELETE" });
    expect(await reading).toContain('"id":"a"');
  });
});
