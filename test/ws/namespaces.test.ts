/** Namespaces over the WebSocket: the greeting chooses one, and its end is the end of the connection. */
import { describe, expect, test } from "bun:test";
import { Session, type Sessions } from "../../src/ws/session.ts";
import { Rooms } from "../engine/rooms.ts";
import { settle } from "../engine/world.ts";
import { Line } from "./world.ts";

const task = { queue: "q", type: "t" };

async function opened(namespacesMax = 4) {
  const rooms = await Rooms.start({ namespacesMax });
  let ids = 0;
  const sessions: Sessions = {
    engine: rooms.namespaces.default,
    admitsToken: () => true,
    newId: () => `made-${++ids}`,
  };
  const connect = (namespace?: string) => {
    const line = new Line();
    line.session = new Session(sessions, line, true, namespace);
    return line;
  };
  const greet = async (namespace: string, more: object = {}) => {
    const line = connect();
    const seq = line.nextSeq;
    await line.frame({ op: "session.hello", seq, input: { protocol: 1, namespace, ...more } });
    await settle();
    return { line, reply: line.reply(seq) };
  };
  return { rooms, connect, greet };
}

describe("ws namespaces", () => {
  test("ws namespaces - the greeting makes one, and what follows happens there", async () => {
    const { rooms, greet } = await opened();
    const { line, reply } = await greet("a");
    expect(reply.ok.namespace).toBe("a");
    const { id } = await line.ok("task.submit", task);
    expect(await line.ok("task.get", { taskId: id })).toMatchObject({ id });
    const elsewhere = (await greet("default")).line;
    expect((await elsewhere.ask("task.get", { taskId: id })).error.code).toBe("unknown-task");
    expect(rooms.namespaces.find("a")!.core.tasks.has(id)).toBe(true);
  });

  test("ws namespaces - what comes behind the greeting waits until its namespace is there, in order", async () => {
    const { rooms, connect } = await opened();
    const held = rooms.places.hold("made a");
    const line = connect();
    await line.frame(
      { op: "session.hello", seq: 1, input: { protocol: 1, namespace: "a" } },
      { op: "task.submit", seq: 2, input: task },
    );
    await line.frame({ op: "task.list", seq: 3 }, { op: "no.such", seq: 4 });
    expect(line.messages.filter(({ ok }) => ok !== undefined)).toEqual([]);
    held.resolve();
    await settle();
    await settle();
    expect(line.messages.filter(({ ok }) => ok !== undefined).map(({ seq }) => seq)).toEqual([1, 2, 3]);
    expect(line.reply(3).ok.tasks).toHaveLength(1);
  });

  test("ws namespaces - behind a greeting that is refused nothing is carried out", async () => {
    const { rooms, connect } = await opened(1);
    const line = connect();
    const frame = [
      { op: "session.hello", seq: 1, input: { protocol: 1, namespace: "a" } },
      { op: "task.submit", seq: 2, input: task },
    ];
    await line.frame(...frame);
    await settle();
    expect(line.messages.map(({ seq, error }) => [seq, error.code])).toEqual([
      [1, "too-many-namespaces"],
      [2, "greeting-expected"],
    ]);
    await line.ok("session.hello", { protocol: 1 });
    expect(rooms.namespaces.default.core.tasks.size).toBe(0);
  });

  test("ws namespaces - a connection that goes while its namespace is made is forgotten", async () => {
    const { rooms, connect } = await opened();
    const held = rooms.places.hold("made a");
    const line = connect();
    await line.frame({ op: "session.hello", seq: 1, input: { protocol: 1, session: "s", namespace: "a" } });
    await line.cut();
    held.resolve();
    await settle();
    expect(rooms.namespaces.find("a")!.sessions.size).toBe(0);
    expect(line.messages).toEqual([]);
  });

  test("ws namespaces - a greeting may ask for one that is there, and makes none then", async () => {
    const { rooms, greet } = await opened();
    expect((await greet("a", { create: false })).reply.error.code).toBe("unknown-namespace");
    await rooms.make("a");
    expect((await greet("a", { create: false })).reply.ok.namespace).toBe("a");
  });

  test("ws namespaces - the handshake's header counts where the greeting says nothing, and a connection stays where it is", async () => {
    const { connect } = await opened();
    const line = connect("a");
    await line.frame({ op: "session.hello", seq: 1, input: { protocol: 1 } });
    await settle();
    expect(line.reply(1).ok.namespace).toBe("a");
    const { error } = await line.ask("session.hello", { protocol: 1, namespace: "b" });
    expect([error.code, error.errors[0].pointer]).toEqual(["invalid-input", "/namespace"]);
    expect((await line.ok("session.hello", { protocol: 1 })).namespace).toBe("a");
  });

  test("ws namespaces - a drop answers who waits, then closes with 4011, and hurts nobody elsewhere", async () => {
    const { rooms, greet } = await opened();
    const { line } = await greet("a");
    const other = (await greet("default")).line;
    const { id } = await line.ok("task.submit", task);
    const waiting = line.nextSeq;
    await line.frame({ op: "task.get", seq: waiting, input: { taskId: id, waitMs: 60_000 } });
    expect(await other.ok("namespace.drop", { namespace: "a" })).toEqual({ namespace: "a" });
    await rooms.clock.advance(1);
    expect(line.reply(waiting).error.code).toBe("namespace-dropped");
    expect(line.closed).toEqual({ code: 4011, reason: "the namespace was dropped" });
    expect(other.closed).toBeNull();
    expect(rooms.namespaces.default.counters.watchesOpen).toBe(0);
  });

  test("ws namespaces - whoever drops its own is answered before its connection ends", async () => {
    const { rooms, greet } = await opened();
    const { line } = await greet("a");
    expect(await line.ok("namespace.drop", { namespace: "a" })).toEqual({ namespace: "a" });
    await rooms.clock.advance(1);
    expect(line.closed?.code).toBe(4011);
  });

  test("ws namespaces - they are listed and made from any of them", async () => {
    const { greet } = await opened();
    const { line } = await greet("b");
    expect(await line.ok("namespace.create", { namespace: "a" })).toEqual({ namespace: "a", created: true });
    const { namespaces, namespacesMax } = await line.ok("namespace.list");
    expect([namespaces.map(({ name }: { name: string }) => name), namespacesMax]).toEqual([
      ["default", "a", "b"],
      4,
    ]);
  });

  test("ws namespaces - the same session id is another session in another namespace", async () => {
    const { greet } = await opened();
    const a = (await greet("a", { session: "s" })).line;
    const b = (await greet("b", { session: "s" })).line;
    expect(a.closed).toBeNull();
    const one = await a.ask("task.submit", task);
    const two = await b.ask("task.submit", task);
    expect([one.ok.state, two.ok.state]).toEqual(["queued", "queued"]);
  });
});
