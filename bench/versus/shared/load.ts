/**
 * A load, as a process of its own: it connects to a system's server, says that it is ready, begins when it is told and says
 * what it did. A publisher is told how much was heard, and is never more than so many messages ahead of its subscribers:
 * what is measured is what arrives, and nobody loses any.
 */
import type { Messages, Peer, Place } from "./system.ts";
import { type SystemName, systems } from "./systems.ts";

export type Load = { system: SystemName; place: Place } & (
  | {
      kind: "calls";
      measure: "put" | "cas" | "get" | "lock";
      inFlight: number;
      warmMs: number;
      runMs: number;
    }
  | { kind: "publisher"; durable: boolean; ahead: number }
  | { kind: "subscriber"; durable: boolean; connections: number; ahead: number }
  /** From a publish until another connection has it, one at a time and at rest. */
  | { kind: "heard"; durable: boolean; samples: number }
);
/** `heard`: so many messages are with every subscriber. */
export type Word = "start" | { heard: number };
export type Said =
  | "ready"
  | { heard: number }
  | { perSecond: number; total: number }
  | { times: number[] }
  | { failed: string };

const say = (said: Said) => process.send?.(said);

/** A hundred bytes that no other has. */
const textOf = (count: number) => `${String(count).padStart(12, "0")}${"x".repeat(88)}`;
const messagesOf = (peer: Peer, durable: boolean) => (durable ? peer.durable : peer.volatile) as Messages;

/** What is told while it runs; the first word begins it. */
type Run = (word: Word) => void;

async function calls(peer: Peer, load: Extract<Load, { kind: "calls" }>): Promise<Run> {
  const { measure, inFlight, warmMs, runMs } = load;
  const keys = peer.keys as NonNullable<Peer["keys"]>;
  // In most of them a lock is a key as well.
  const nameOf = (i: number) => `bench/file-${i}/${measure === "lock" ? "lock" : "state"}`;
  if (measure !== "lock")
    await Promise.all(Array.from({ length: inFlight }, (_, i) => keys.put(nameOf(i), textOf(i))));
  // As high as it has been, by name: whoever takes a lock anew must get more.
  const tokens = new Map<string, number>();
  const lock = async (name: string) => {
    const held = await (peer.lock as NonNullable<Peer["lock"]>)(name);
    if (!(held.token > (tokens.get(name) ?? 0))) throw new Error(`${name} was had under an old token`);
    tokens.set(name, held.token);
    await held.release();
  };
  const get = async (name: string) => {
    if ((await keys.get(name))?.length !== textOf(0).length) throw new Error(`${name} is not as it was put`);
  };
  const operation = {
    put: (name: string, count: number) => keys.put(name, textOf(count)),
    cas: (name: string, count: number) => keys.replace(name, textOf(count)),
    ...{ get, lock },
  }[measure] as (name: string, count: number) => Promise<unknown>;
  return async () => {
    let total = 0;
    let isOver = false;
    const loops = Array.from({ length: inFlight }, async (_, i) => {
      const name = nameOf(i);
      for (; !isOver; total++) await operation(name, total);
    });
    await Bun.sleep(warmMs);
    const from = { total, at: performance.now() };
    await Bun.sleep(runMs);
    const perSecond = (1000 * (total - from.total)) / (performance.now() - from.at);
    isOver = true;
    await Promise.all(loops);
    say({ perSecond, total });
  };
}

function publisher(peer: Peer, { durable, ahead }: Extract<Load, { kind: "publisher" }>): Run {
  const messages = messagesOf(peer, durable);
  let begun = 0;
  return (word) => {
    const heard = word === "start" ? 0 : word.heard;
    for (; begun < heard + ahead; begun++) Promise.resolve(messages.publish(textOf(begun))).catch(failed);
  };
}

async function subscriber(
  first: Peer,
  { system, place, durable, connections, ahead }: Extract<Load, { kind: "subscriber" }>,
): Promise<Run> {
  const counts = new Array<number>(connections).fill(0);
  let told = 0;
  for (let i = 0; i < connections; i++) {
    const peer = i === 0 ? first : await systems[system].connect(place);
    await messagesOf(peer, durable).subscribe((text) => {
      // In the order in which they were published, and each once.
      if (Number(text.slice(0, 12)) !== counts[i]) failed(new Error(`message ${counts[i]} did not come`));
      counts[i] = (counts[i] as number) + 1;
      if ((counts[i] as number) < told + ahead / 8) return;
      const heard = Math.min(...counts);
      if (heard < told + ahead / 8) return;
      told = heard;
      say({ heard });
    });
  }
  return () => {};
}

async function heard(
  publisher: Peer,
  { system, place, durable, samples }: Extract<Load, { kind: "heard" }>,
): Promise<Run> {
  let came: (text: string) => void = () => {};
  await messagesOf(await systems[system].connect(place), durable).subscribe((text) => came(text));
  const messages = messagesOf(publisher, durable);
  return async () => {
    const times: number[] = [];
    for (let i = 0; i < samples; i++) {
      await Bun.sleep(1 + (i % 2));
      const { promise, resolve } = Promise.withResolvers<void>();
      const sent = textOf(i);
      came = (text) => (text === sent ? resolve() : failed(new Error(`${text} came in place of ${sent}`)));
      const before = performance.now();
      const published = messages.publish(sent);
      await promise;
      times.push(performance.now() - before);
      await published;
    }
    say({ times });
  };
}

function failed(error: Error): void {
  say({ failed: error.message });
}

async function prepare(load: Load): Promise<Run> {
  const peer = await systems[load.system].connect(load.place);
  switch (load.kind) {
    case "calls":
      return calls(peer, load);
    case "publisher":
      return publisher(peer, load);
    case "subscriber":
      return subscriber(peer, load);
    case "heard":
      return heard(peer, load);
  }
}

if (import.meta.main) {
  process.on("unhandledRejection", failed);
  let run: Run | null = null;
  process.on("message", async (message: Load | Word) => {
    if (run !== null) run(message as Word);
    else
      try {
        run = await prepare(message as Load);
        say("ready");
      } catch (error) {
        failed(error as Error);
      }
  });
}
