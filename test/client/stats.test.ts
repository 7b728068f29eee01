/** Figures as the client hands them on: each once, in their order, over connections that come and go. */
import { expect, test } from "bun:test";
import { CoordinationClient, type Stats } from "../../client/index.ts";
import { connected, settle, TwoWays, World } from "./world.ts";

const sample = (at: number) => ({ at, overMs: 1000 }) as Stats;
const told = (at: number) => ({ event: "stats", ...sample(at) });

async function keeping() {
  const { world, daemon, client } = await connected();
  let samples: Stats[] = [];
  daemon.script["stats.start"] = () => ({ ok: { samples } });
  daemon.script["stats.stop"] = () => ({ ok: {} });
  const keeps = (...ats: number[]) => {
    samples = ats.map(sample);
  };
  return { world, daemon, client, keeps };
}

/** Reads on until it is ended; what was read so far. */
function reading(samples: AsyncIterable<Stats>) {
  const seen: number[] = [];
  const end = (async () => {
    for await (const { at } of samples) seen.push(at);
  })();
  return { seen, end };
}

test("stats - a loop gets those of the time before, then each as it is told, and leaving it ends them", async () => {
  const { daemon, client, keeps } = await keeping();
  keeps(1, 2);
  const leave = new AbortController();
  const { seen, end } = reading(client.stats({ historyMs: 60_000, signal: leave.signal }));
  await settle();
  expect(daemon.line.ops("stats.start").map(({ input }) => input)).toEqual([{ historyMs: 60_000 }]);
  daemon.line.say(told(2), told(3));
  await settle();
  expect(seen).toEqual([1, 2, 3]);
  leave.abort();
  await end;
  await settle();
  expect(daemon.line.ops("stats.stop").length).toBe(1);
});

test("stats - two loops share what is told, and the daemon is asked to stop when the last one ends", async () => {
  const { daemon, client } = await keeping();
  const [first, second] = [new AbortController(), new AbortController()];
  const one = reading(client.stats({ signal: first.signal }));
  const other = reading(client.stats({ signal: second.signal }));
  await settle();
  daemon.line.say(told(1));
  await settle();
  first.abort();
  await one.end;
  await settle();
  expect(daemon.line.ops("stats.stop").length).toBe(0);
  daemon.line.say(told(2));
  await settle();
  second.abort();
  await other.end;
  await settle();
  expect([one.seen, other.seen]).toEqual([[1], [1, 2]]);
  expect(daemon.line.ops("stats.stop").length).toBe(1);
});

test("stats - a reconnect asks again, and tells what was missed and nothing twice", async () => {
  const { world, daemon, client, keeps } = await keeping();
  const { seen } = reading(client.stats());
  await settle();
  daemon.line.say(told(10));
  keeps(9, 10, 11, 12);
  daemon.line.break();
  await world.advance(10_000);
  daemon.line.say(told(13));
  await settle();
  expect(seen).toEqual([10, 11, 12, 13]);
});

test("stats - without a WebSocket the loop says that there is none to push them over", async () => {
  const client = new CoordinationClient({
    transport: { http: new TwoWays().transports.http },
    environment: new World(),
  });
  expect(reading(client.stats()).end).rejects.toMatchObject({ code: "connection-needed" });
});

test("stats - a client that closes ends the loop with its error", async () => {
  const { client } = await keeping();
  const { end } = reading(client.stats());
  await settle();
  client.close();
  expect(end).rejects.toMatchObject({ code: "closed" });
});
