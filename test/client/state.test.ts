/** What a watcher is promised: every change in order, and a gap wherever one may be missing. */
import { expect, test } from "bun:test";
import type { WatchEvent } from "../../client/index.ts";
import { connected, type FakeDaemon, settle, welcome } from "./world.ts";

const change = (watchId: string, revision: number) => ({
  event: "change",
  watchId,
  table: "tasks",
  id: `${revision}-0`,
  revision,
  at: 0,
  operation: "task.submit",
  who: "x",
  state: "queued",
  before: null,
});
const idOf = (daemon: FakeDaemon) =>
  (daemon.line.ops("watch.start").at(-1)!.input as { watchId: string }).watchId;
const short = (event: WatchEvent) => (event.event === "gap" ? [event.from, event.to] : event.revision);

test("state - a loop gets each change, and leaving it ends the watch", async () => {
  const { daemon, client } = await connected();
  const seen: unknown[] = [];
  const loop = (async () => {
    for await (const event of client.watch({ queue: "mail" })) {
      seen.push(short(event));
      if (seen.length === 3) break;
    }
  })();
  await settle();
  expect(daemon.line.ops("watch.start")[0]?.input).toMatchObject({ queue: "mail" });
  const id = idOf(daemon);
  daemon.line.say(change(id, 11), change("another", 12), change(id, 13));
  await settle();
  daemon.line.say(change(id, 14));
  await loop;
  await settle();
  expect(seen).toEqual([11, 13, 14]);
  expect(daemon.line.ops("watch.stop")[0]?.input).toEqual({ watchId: id });
});

test("state - a reconnect goes on behind what was told, and tells nothing twice", async () => {
  const { world, daemon, client } = await connected();
  const events = client.watch();
  await settle();
  const id = idOf(daemon);
  daemon.line.say(change(id, 12), { ...change(id, 13), id: "first" }, { ...change(id, 13), id: "second" });
  // Progress is no entry, and counts for nothing.
  daemon.line.say({ ...change(id, 13), operation: "task.progress" });
  daemon.line.break();
  daemon.script["watch.start"] = ({ input, seq }, line) => {
    const { watchId } = input as { watchId: string };
    // The answer and what was missed share a frame: the third change of 13 had not arrived.
    queueMicrotask(() =>
      line.say(
        { seq, ok: { watchId, revision: 20 } },
        ...["first", "second", "third"].map((id) => ({ ...change(watchId, 13), id })),
        change(watchId, 20),
        change(watchId, 21),
      ),
    );
    return "silent";
  };
  await world.advance(100);
  expect(daemon.line.ops("watch.start").at(-1)!.input).toEqual({ watchId: id, after: 12 });
  const seen: unknown[] = [];
  for (let i = 0; i < 7; i++) seen.push((await events.next()).value);
  expect(seen.map((event) => (event as { id: string }).id)).toEqual([
    ...["12-0", "first", "second", "13-0", "third", "20-0", "21-0"],
  ]);
});

test("state - a watch from a revision begins behind it, and so does each of its connections", async () => {
  const { world, daemon, client } = await connected();
  const events = client.watch({ queue: "mail", after: 3 });
  await settle();
  expect(daemon.line.ops("watch.start")[0]!.input).toMatchObject({ queue: "mail", after: 3 });
  daemon.line.break();
  await world.advance(100);
  expect(daemon.line.ops("watch.start").at(-1)!.input).toMatchObject({ queue: "mail", after: 3 });
  daemon.line.say(change(idOf(daemon), 4));
  expect(short((await events.next()).value)).toBe(4);
});

test("state - a reconnect goes on right before the entry that was told last, however long before it the one before that was", async () => {
  const { world, daemon, client } = await connected();
  const events = client.watch({ queue: "mail" });
  await settle();
  daemon.line.say(change(idOf(daemon), 12), change(idOf(daemon), 90));
  daemon.line.break();
  await world.advance(100);
  expect(daemon.line.ops("watch.start").at(-1)!.input).toMatchObject({ after: 89 });
  daemon.line.say(change(idOf(daemon), 90), change(idOf(daemon), 91));
  const seen: unknown[] = [];
  for (let i = 0; i < 3; i++) seen.push(short((await events.next()).value));
  expect(seen).toEqual([12, 90, 91]);
});

test("state - a reconnect goes on from the place that was told, and what was told before it is not told again", async () => {
  const { world, daemon, client } = await connected();
  const events = client.watch({ queue: "mail" });
  await settle();
  const place = (revision: number) => ({ event: "place", watchId: idOf(daemon), revision });
  daemon.line.say(change(idOf(daemon), 12), place(500));
  daemon.line.break();
  await world.advance(100);
  expect(daemon.line.ops("watch.start").at(-1)!.input).toMatchObject({ after: 500 });
  // Of an entry that came in part, the rest.
  daemon.line.say(place(700), change(idOf(daemon), 701));
  daemon.line.break();
  await world.advance(1000);
  expect(daemon.line.ops("watch.start").at(-1)!.input).toMatchObject({ after: 700 });
  daemon.line.say(change(idOf(daemon), 701), { ...change(idOf(daemon), 701), id: "second" });
  // What the socket was too slow for lies behind the place, and is asked for again.
  daemon.line.say(place(800), { event: "gap", watchId: idOf(daemon), from: 801, to: 900 });
  await settle();
  expect(daemon.line.ops("watch.start").at(-1)!.input).toMatchObject({ after: 800 });
  daemon.line.say(place(700), change(idOf(daemon), 801));
  const seen: unknown[] = [];
  for (let i = 0; i < 4; i++) seen.push((await events.next()).value);
  expect(seen.map((event) => (event as { id: string }).id)).toEqual(["12-0", "701-0", "second", "801-0"]);
});

test("state - what the daemon keeps no more is told as a gap, once", async () => {
  const { daemon, client } = await connected();
  const events = client.watch({ after: 10 });
  await settle();
  const id = idOf(daemon);
  daemon.line.say({ event: "gap", watchId: id, from: 11, to: 90 }, change(id, 91));
  expect((await events.next()).value).toEqual({ event: "gap", from: 11, to: 90 });
  expect(short((await events.next()).value)).toBe(91);
  expect(daemon.line.ops("watch.start").length).toBe(1);
});

test("state - where revisions began anew, all there is is told as a gap, and a reconnect goes on behind it", async () => {
  const { world, daemon, client } = await connected();
  const events = client.watch();
  await settle();
  const id = idOf(daemon);
  daemon.line.say(change(id, 1000), change(id, 1001));
  daemon.line.break();
  await world.advance(100);
  expect(daemon.line.ops("watch.start").at(-1)!.input).toMatchObject({ after: 1000 });
  daemon.line.say({ event: "gap", watchId: id, from: 1, to: 5 }, change(id, 6));
  daemon.line.break();
  await world.advance(1000);
  expect(daemon.line.ops("watch.start").at(-1)!.input).toMatchObject({ after: 5 });
  daemon.line.say(change(id, 6), change(id, 7));
  const seen: unknown[] = [];
  for (let i = 0; i < 5; i++) seen.push(short((await events.next()).value));
  expect(seen).toEqual([1000, 1001, [1, 5], 6, 7]);
});

test("state - what the socket was too slow for is asked for again, and comes in its order", async () => {
  const { daemon, client } = await connected();
  const events = client.watch();
  await settle();
  const id = idOf(daemon);
  daemon.line.say(change(id, 11), change(id, 12), { event: "gap", watchId: id, from: 13, to: 40 });
  // What still comes of the watch before it is started again will come once more.
  daemon.line.say(change(id, 41));
  await settle();
  expect(daemon.line.ops("watch.start").at(-1)!.input).toEqual({ watchId: id, after: 11 });
  daemon.line.say(...[12, 13, 40, 41].map((revision) => change(id, revision)));
  const seen: unknown[] = [];
  for (let i = 0; i < 5; i++) seen.push(short((await events.next()).value));
  expect(seen).toEqual([11, 12, 13, 40, 41]);
});

test("state - where a connection ended before it said that a watch had begun, what came since may be missing, and is told so", async () => {
  const { world, daemon, client } = await connected();
  const greeted = welcome.revision;
  daemon.script["watch.start"] = () => "silent";
  const events = client.watch();
  await settle();
  daemon.line.break();
  daemon.script["watch.start"] = ({ input }) => ({ ok: { ...(input as object), revision: greeted + 5 } });
  await world.advance(100);
  expect(daemon.line.ops("watch.start").at(-1)!.input).not.toHaveProperty("after");
  daemon.line.say(change(idOf(daemon), greeted + 6));
  expect((await events.next()).value).toEqual({ event: "gap", from: greeted + 1, to: greeted + 5 });
  expect(short((await events.next()).value)).toBe(greeted + 6);
  daemon.line.break();
  await world.advance(1000);
  daemon.line.say(change(idOf(daemon), greeted + 6), change(idOf(daemon), greeted + 7));
  expect(short((await events.next()).value)).toBe(greeted + 7);
});

test("state - a loop that is too slow gets one gap for what it missed", async () => {
  const { daemon, client } = await connected();
  const events = client.watch();
  await settle();
  const id = idOf(daemon);
  for (let i = 0; i < 10_001; i++) daemon.line.say(change(id, 11 + i));
  daemon.line.say(change(id, 20_000));
  expect((await events.next()).value).toEqual({ event: "gap", from: 11, to: 10_011 });
  expect(short((await events.next()).value)).toBe(20_000);
});

test("state - a refused watch ends its loop with the refusal", async () => {
  const { daemon, client } = await connected();
  daemon.script["watch.start"] = () => ({ error: "invalid-input" });
  await expect(client.watch().next()).rejects.toMatchObject({ code: "invalid-input" });
});

test("state - a loop ends when its signal aborts, and throws when the client is closed", async () => {
  const { client } = await connected();
  const controller = new AbortController();
  const ended = client.watch({}, { signal: controller.signal }).next();
  controller.abort();
  expect((await ended).done).toBe(true);
  const thrown = client.watch().next();
  client.close();
  await expect(thrown).rejects.toMatchObject({ code: "closed" });
});

test("state - the change event watches from the first listener to the last", async () => {
  const { daemon, client } = await connected();
  const seen: number[] = [];
  const gaps: unknown[] = [];
  const listener = ({ revision }: { revision: number }) => seen.push(revision);
  client.on("gap", (gap) => gaps.push([gap.from, gap.to]));
  expect(daemon.line.ops("watch.start").length).toBe(0);
  client.on("change", listener).on("change", listener);
  await settle();
  expect(daemon.line.ops("watch.start").length).toBe(1);
  const id = idOf(daemon);
  daemon.line.say({ event: "gap", watchId: id, from: 11, to: 15 }, change(id, 16));
  expect(seen).toEqual([16, 16]);
  expect(gaps).toEqual([[11, 15]]);
  client.off("change", listener);
  await settle();
  expect(daemon.line.ops("watch.stop").length).toBe(1);
});
