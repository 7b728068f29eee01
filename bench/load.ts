/**
 * A load, as a process of its own: it connects, says that it is ready, begins when it is told and says what it did.
 * Loads of bare frames speak the protocol by hand and do no more than they must; the others use the public client as
 * a program would. Every answer is looked at: one error ends the load with an exception. Moments are wall ms of one
 * clock, so that those of several processes can be put together.
 */
import { connect } from "node:net";
import { CoordinationClient } from "../client/index.ts";
import type { TaskSubmit } from "../src/wire/tasks.ts";

export type Load =
  /** Bare frames of `perFrame` operations, `inFlight` of them without an answer; until `count`, or as long as `for`. */
  | {
      kind: "frames";
      url: string;
      operation: "submit" | "complete" | "publish" | "emit";
      perFrame: number;
      inFlight: number;
      length: Length;
      /** The other side sends back what it gets, and must not be greeted. */
      echo: boolean;
      /** Tasks are of so many groups, in turn. */
      groups?: number;
    }
  /** Locks that are taken and released, in bare frames of one operation, `inFlight` of them without an answer. */
  | { kind: "locks"; url: string; length: Length; inFlight: number; echo: boolean }
  /** Bare frames of one operation on keys, `inFlight` of them without an answer, each on a key of its own. */
  | {
      kind: "keys";
      url: string;
      operation: KeyOperation;
      inFlight: number;
      length: Length;
      echo: boolean;
      /** Values are longer by so many characters. */
      longer?: number;
    }
  /** So many connections that listen to what is emitted, and count it; until it is stopped. */
  | { kind: "listeners"; url: string; connections: number }
  /** From an emit, or a publish, until another connection has it, one at a time and at rest. */
  | { kind: "heard"; url: string; samples: number; emits: boolean }
  /** So many callers of one client, each waiting for its submit before the next. */
  | { kind: "callers"; url: string; callers: number; length: Length }
  /** A worker over bare frames, or over the client; until it is stopped. */
  | { kind: "worker"; url: string; workerId: string; capacity: number; bare: boolean }
  /** From a submit until its handler starts, one at a time and at rest. */
  | { kind: "start"; url: string; samples: number }
  /** The same for a frame that is echoed. */
  | { kind: "echoed"; url: string; samples: number }
  /** Workers of the client with nothing to do, or bare connections that say something so often; until it is stopped. */
  | { kind: "idle"; url: string; name: string; workers: number; everyMs: number; echo: boolean }
  /** One submit a request over so many kept connections. */
  | { kind: "requests"; port: number; connections: number; length: Length };

/** put: whatever was there. cas: only if nobody changed it. */
export type KeyOperation = "put" | "cas" | "get";

export type Length = { count: number } | { warmMs: number; runMs: number };

export type Outcome = {
  /** Operations answered between the two moments. */
  count: number;
  startedAt: number;
  endedAt: number;
  /** Operations answered in all. */
  total: number;
  /** Single times in ms, where one at a time was measured. */
  times: number[];
};

export const now = (): number => performance.timeOrigin + performance.now();

/** About a hundred bytes of JSON. */
export const payload = (i: number) => ({
  path: `/srv/files/incoming/${i}/report.pdf`,
  sizeBytes: 184_467 + i,
  checksum: "9f86d081884c7d659a2feaa0",
});

const task = (i: number): TaskSubmit => ({ queue: "bench", type: "hash", payload: payload(i) });

const payloadText = (i: number) =>
  `{"path":"/srv/files/incoming/${i}/report.pdf","sizeBytes":${184_467 + i},"checksum":"9f86d081884c7d659a2feaa0"}`;

const submitText = (seq: number, groups = 0) =>
  `{"op":"task.submit","seq":${seq},"input":{"queue":"bench","type":"hash",${groups === 0 ? "" : `"group":"tenant-${seq % groups}",`}"payload":${payloadText(seq)}}`;
const completeText = (seq: number, taskId: string, workerId: string, token: number) =>
  `{"op":"task.complete","seq":${seq},"input":{"taskId":"${taskId}","workerId":"${workerId}","token":${token}}`;

type Message = {
  seq?: number;
  error?: unknown;
  event?: string;
  task?: { id: string };
  lease?: { token: number };
};

/** Sends a frame, and waits for its answer. */
async function ask(socket: WebSocket, text: string): Promise<void> {
  const answered = new Promise<MessageEvent>((resolve) => {
    socket.onmessage = resolve;
  });
  socket.send(text);
  check(JSON.parse((await answered).data));
}

/** A socket that is open and, unless it only echoes, greeted. */
async function open(url: string, echo: boolean, session: string): Promise<WebSocket> {
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onclose = () => reject(new Error(`${url} refused the connection`));
  });
  if (!echo)
    await ask(socket, `[{"op":"session.hello","seq":1,"input":{"protocol":1,"session":"${session}"}}]`);
  socket.onclose = () => {
    throw new Error("the other side closed the connection");
  };
  return socket;
}

function check(messages: Message[]): void {
  for (let i = 0; i < messages.length; i++)
    if ((messages[i] as Message).error !== undefined)
      throw new Error(`an operation was refused: ${JSON.stringify((messages[i] as Message).error)}`);
}

/** Counts answers, and keeps the moments between which they count. */
class Meter {
  total = 0;
  #count = 0;
  #startedAt = now();
  #endedAt = 0;
  readonly #done: () => void;

  constructor(
    private readonly length: Length,
    done: () => void,
  ) {
    this.#done = done;
    if ("runMs" in length)
      setTimeout(() => {
        this.#count = this.total;
        this.#startedAt = now();
        setTimeout(() => this.#end(), length.runMs);
      }, length.warmMs);
  }

  get ended(): boolean {
    return this.#endedAt > 0;
  }

  /** How many operations may still begin. */
  left(begun: number): number {
    if (this.ended) return 0;
    return "count" in this.length ? this.length.count - begun : Number.POSITIVE_INFINITY;
  }

  add(count: number): void {
    this.total += count;
    if ("count" in this.length && this.total >= this.length.count && !this.ended) this.#end();
  }

  #end(): void {
    this.#endedAt = now();
    this.#count = this.total - this.#count;
    this.#done();
  }

  outcome(): Outcome {
    return {
      count: this.#count,
      startedAt: this.#startedAt,
      endedAt: this.#endedAt,
      total: this.total,
      times: [],
    };
  }
}

type Run = (stopped: Promise<unknown>) => Promise<Outcome>;

async function frames(load: Extract<Load, { kind: "frames" }>): Promise<Run> {
  const { perFrame, inFlight, operation, echo } = load;
  const socket = await open(load.url, echo, `bench-${process.pid}`);
  return async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const meter = new Meter(load.length, resolve);
    let begun = 0;
    let answered = 0;
    let seq = 1;
    const send = () => {
      const count = Math.min(perFrame, meter.left(begun));
      if (count <= 0) return;
      let text = "";
      const ackedThrough = answered + 1;
      for (let i = 0; i < count; i++) {
        seq++;
        const one =
          operation === "submit"
            ? submitText(seq, load.groups)
            : operation === "complete"
              ? completeText(seq, `${seq}-0`, "worker-1", seq)
              : messageText(seq, operation);
        text += i === 0 ? `[${one},"ackedThrough":${ackedThrough}}` : `,${one}}`;
      }
      begun += count;
      socket.send(`${text}]`);
    };
    socket.onmessage = ({ data }) => {
      const messages = JSON.parse(data) as Message[];
      check(messages);
      answered += messages.length;
      meter.add(messages.length);
      while (begun - answered <= (inFlight - 1) * perFrame && meter.left(begun) > 0) send();
    };
    for (let i = 0; i < inFlight; i++) send();
    await promise;
    // What is on its way is answered too, so that the counts of both sides agree.
    while (answered < begun) await Bun.sleep(1);
    return { ...meter.outcome(), total: answered };
  };
}

const keyName = (i: number) => `bench/file-${i}/state`;
const valueText =
  '{"path":"/srv/files/incoming/report.pdf","sizeBytes":184467,"checksum":"9f86d081884c7d659a2feaa0"}';

function keyText(operation: KeyOperation, seq: number, key: number, revision: number, value: string): string {
  const head = `{"op":"kv.${operation === "get" ? "get" : "put"}","seq":${seq},"input":{"key":"${keyName(key)}"`;
  if (operation === "get") return `${head}}`;
  return `${head},"value":${value}${operation === "cas" ? `,"ifRevision":${revision}` : ""}}`;
}

async function keys({
  url,
  operation,
  inFlight,
  length,
  echo,
  longer = 0,
}: Extract<Load, { kind: "keys" }>): Promise<Run> {
  const value = longer === 0 ? valueText : `"${"x".repeat(longer)}"`;
  const socket = await open(url, echo, `bench-${process.pid}`);
  const revisions = new Map<number, number>();
  if (!echo) {
    const client = new CoordinationClient({ url });
    for (let i = 0; i < inFlight; i++)
      revisions.set(i, (await client.kv.put(keyName(i), JSON.parse(valueText))).revision);
    client.close();
  }
  return async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const meter = new Meter(length, resolve);
    let begun = 0;
    let answered = 0;
    let acked = 1;
    const send = (key: number) => {
      if (meter.left(begun) <= 0) return;
      // The key of an answer is told by its number.
      const seq = (begun++ + 1) * inFlight + key + 1;
      socket.send(
        `[${keyText(operation, seq, key, revisions.get(key) ?? 1, value)},"ackedThrough":${acked}}]`,
      );
    };
    socket.onmessage = ({ data }) => {
      const messages = JSON.parse(data) as { seq: number; ok?: { revision: number } }[];
      check(messages);
      answered += messages.length;
      meter.add(messages.length);
      for (const { seq, ok } of messages) {
        const key = (seq - 1) % inFlight;
        if (ok !== undefined) revisions.set(key, ok.revision);
        acked = seq;
        send(key);
      }
    };
    for (let i = 0; i < inFlight; i++) send(i);
    await promise;
    while (answered < begun) await Bun.sleep(1);
    return { ...meter.outcome(), total: answered };
  };
}

const lockText = (seq: number, name: string) =>
  `{"op":"lock.acquire","seq":${seq},"input":{"resources":[{"name":"${name}"}]}`;

/** Takes a lock and releases it: both count as one. An echo answers what would take it. */
async function locks({ url, inFlight, length, echo }: Extract<Load, { kind: "locks" }>): Promise<Run> {
  const socket = await open(url, echo, `bench-${process.pid}`);
  return async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const meter = new Meter(length, resolve);
    const names = new Map<number, string>();
    let begun = 0;
    let done = 0;
    let seq = 1;
    let acked = 1;
    const acquire = (name: string) => {
      if (meter.left(begun) <= 0) return;
      begun++;
      names.set(++seq, name);
      socket.send(`[${lockText(seq, name)},"ackedThrough":${acked}}]`);
    };
    socket.onmessage = ({ data }) => {
      const messages = JSON.parse(data) as { seq: number; ok?: { lockId: string; token?: number } }[];
      check(messages);
      for (const { seq: answered, ok } of messages) {
        acked = answered;
        const name = names.get(answered) as string;
        names.delete(answered);
        if (ok?.token !== undefined) {
          names.set(++seq, name);
          socket.send(
            `[{"op":"lock.release","seq":${seq},"input":{"lockId":"${ok.lockId}"},"ackedThrough":${acked}}]`,
          );
          continue;
        }
        done++;
        meter.add(1);
        acquire(name);
      }
    };
    for (let i = 0; i < inFlight; i++) acquire(keyName(i));
    await promise;
    while (done < begun) await Bun.sleep(1);
    return { ...meter.outcome(), total: done };
  };
}

const messageText = (seq: number, operation: "publish" | "emit") =>
  `{"op":"message.${operation}","seq":${seq},"input":{"topic":"bench.files","payload":${payloadText(seq)}}`;

const subscribeText = '[{"op":"topic.subscribe","seq":2,"input":{"subscriptionId":"s","topic":"bench.*"}}]';

async function listeners({ url, connections }: Extract<Load, { kind: "listeners" }>): Promise<Run> {
  let count = 0;
  let startedAt = 0;
  let endedAt = 0;
  for (let i = 0; i < connections; i++) {
    const socket = await open(url, false, `bench-${process.pid}-${i}`);
    await ask(socket, subscribeText);
    socket.onmessage = ({ data }) => {
      const messages = JSON.parse(data) as Message[];
      check(messages);
      endedAt = now();
      startedAt ||= endedAt;
      // What is emitted faster than it is read is lost, and counts for nothing.
      for (const { event } of messages) if (event === "message") count += 1;
    };
  }
  return async (stopped) => {
    await stopped;
    return { count, startedAt, endedAt, total: count, times: [] };
  };
}

async function heard({ url, samples, emits }: Extract<Load, { kind: "heard" }>): Promise<Run> {
  const [listener, publisher] = [
    await open(url, false, `bench-${process.pid}-l`),
    await open(url, false, `bench-${process.pid}-p`),
  ];
  let came = () => {};
  await ask(listener, subscribeText);
  listener.onmessage = ({ data }) => {
    check(JSON.parse(data));
    came();
  };
  publisher.onmessage = ({ data }) => check(JSON.parse(data));
  return async () => {
    const times: number[] = [];
    const startedAt = now();
    for (let i = 0; i < samples; i++) {
      await Bun.sleep(1);
      const { promise, resolve } = Promise.withResolvers<void>();
      came = resolve;
      const sentAt = performance.now();
      publisher.send(`[${messageText(2 + i, emits ? "emit" : "publish")}}]`);
      await promise;
      times.push(performance.now() - sentAt);
    }
    return { count: samples, startedAt, endedAt: now(), total: samples, times };
  };
}

async function callers(load: Extract<Load, { kind: "callers" }>): Promise<Run> {
  const client = new CoordinationClient({ url: load.url });
  await client.connect();
  return async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const meter = new Meter(load.length, resolve);
    let begun = 0;
    const call = async () => {
      while (meter.left(begun) > 0) {
        await client.submit(task(begun++));
        meter.add(1);
      }
    };
    await Promise.all([promise, ...Array.from({ length: load.callers }, call)]);
    return { ...meter.outcome(), total: begun };
  };
}

async function worker(load: Extract<Load, { kind: "worker" }>): Promise<Run> {
  return load.bare ? bareWorker(load) : clientWorker(load);
}

async function bareWorker({ url, workerId, capacity }: Extract<Load, { kind: "worker" }>): Promise<Run> {
  // A session of its own: the daemon knows the answers of a worker that had this name before.
  const socket = await open(url, false, `${workerId}-${process.pid}`);
  return async (stopped) => {
    let seq = 2;
    let acked = 0;
    let total = -1; // the registration is answered too
    let endedAt = 0;
    const startedAt = now();
    socket.onmessage = ({ data }) => {
      let text = "";
      for (const { seq: answered, error, event, task, lease } of JSON.parse(data) as Message[]) {
        if (error !== undefined) throw new Error(`an operation was refused: ${JSON.stringify(error)}`);
        if (event === undefined) {
          acked = answered as number;
          total++;
        } else if (event === "task.assigned") {
          seq++;
          const one = completeText(seq, task?.id as string, workerId, lease?.token as number);
          text += text === "" ? `[${one},"ackedThrough":${acked}}` : `,${one}}`;
        } else throw new Error(`unasked: ${data}`);
      }
      if (text !== "") socket.send(`${text}]`);
      else endedAt = now();
    };
    socket.send(
      `[{"op":"worker.register","seq":2,"input":{"workerId":"${workerId}","capacity":${capacity}}}]`,
    );
    await stopped;
    while (total < seq - 2) await Bun.sleep(1);
    return { count: total, startedAt, endedAt, total, times: [] };
  };
}

async function clientWorker({ url, workerId, capacity }: Extract<Load, { kind: "worker" }>): Promise<Run> {
  const client = new CoordinationClient({ url, workerId, capacity });
  let assigned = 0;
  let total = 0;
  let startedAt = 0;
  let endedAt = 0;
  client.on("task_assigned", async (held) => {
    assigned++;
    startedAt ||= now();
    await held.complete();
    total++;
    endedAt = now();
  });
  client.on("error", (error) => {
    throw error;
  });
  await client.connect();
  return async (stopped) => {
    await stopped;
    while (total < assigned) await Bun.sleep(1);
    return { count: total, startedAt, endedAt, total, times: [] };
  };
}

/** At rest: long enough that nothing of the last one is on its way, not always equally long. */
const rest = (i: number) => Bun.sleep(2 + (i % 3));

async function start({ url, samples }: Extract<Load, { kind: "start" }>): Promise<Run> {
  const producer = new CoordinationClient({ url });
  const client = new CoordinationClient({ url, workerId: "worker-1", capacity: 1 });
  let began: (at: number) => void = () => {};
  let completed: () => void = () => {};
  client.on("task_assigned", async (held) => {
    began(performance.now());
    await held.complete();
    completed();
  });
  await Promise.all([producer.connect(), client.connect()]);
  return async () => {
    const times: number[] = [];
    const startedAt = now();
    for (let i = 0; i < samples; i++) {
      const start = new Promise<number>((resolve) => {
        began = resolve;
      });
      const end = new Promise<void>((resolve) => {
        completed = resolve;
      });
      const before = performance.now();
      const submitted = producer.submit(task(i));
      times.push((await start) - before);
      await Promise.all([submitted, end]);
      await rest(i);
    }
    return { count: samples, startedAt, endedAt: now(), total: samples, times };
  };
}

async function echoed({ url, samples }: Extract<Load, { kind: "echoed" }>): Promise<Run> {
  const socket = await open(url, true, "");
  return async () => {
    const times: number[] = [];
    const startedAt = now();
    for (let i = 0; i < samples; i++) {
      const answered = new Promise<number>((resolve) => {
        socket.onmessage = () => resolve(performance.now());
      });
      const before = performance.now();
      socket.send(`[${submitText(i)}}]`);
      times.push((await answered) - before);
      await rest(i);
    }
    return { count: samples, startedAt, endedAt: now(), total: samples, times };
  };
}

/** So many connect at once. */
const joiningMax = 50;

async function idle(load: Extract<Load, { kind: "idle" }>): Promise<Run> {
  const { url, name, workers, everyMs, echo } = load;
  const bare = async () => {
    const socket = await open(url, true, "");
    const beat = () => socket.send('[{"op":"session.ping","seq":1}]');
    setTimeout(() => setInterval(beat, everyMs), Math.random() * everyMs);
  };
  const registered = async (i: number) => {
    const client = new CoordinationClient({ url, workerId: `${name}-${i}` });
    const failed = (what: unknown) => {
      throw new Error(`${name}-${i}: ${Bun.inspect(what)}`);
    };
    client.on("disconnected", failed).on("error", failed).on("task_assigned", failed);
    await client.connect();
  };
  for (let i = 0; i < workers; i += joiningMax)
    await Promise.all(
      Array.from({ length: Math.min(joiningMax, workers - i) }, (_, j) =>
        echo ? bare() : registered(i + j),
      ),
    );
  return async (stopped) => {
    const startedAt = now();
    await stopped;
    return { count: workers, startedAt, endedAt: now(), total: workers, times: [] };
  };
}

/** HTTP by hand over plain sockets: a client library would cost more than what it measures. */
async function requests({ port, connections, length }: Extract<Load, { kind: "requests" }>): Promise<Run> {
  const sockets = await Promise.all(
    Array.from({ length: connections }, async () => {
      const socket = connect({ host: "127.0.0.1", port, noDelay: true });
      await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
      return socket.setEncoding("latin1");
    }),
  );
  return async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const meter = new Meter(length, resolve);
    let begun = 0;
    for (const socket of sockets) {
      const send = () => {
        if (meter.left(begun) <= 0) return;
        const body = JSON.stringify(task(begun++));
        socket.write(
          `POST /api/tasks HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
        );
      };
      let text = "";
      socket.on("data", (chunk: string) => {
        text += chunk;
        const body = text.indexOf("\r\n\r\n") + 4;
        if (body < 4) return;
        const bytes = Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1]);
        if (!text.startsWith("HTTP/1.1 201") || Number.isNaN(bytes)) throw new Error(`answered: ${text}`);
        if (text.length < body + bytes) return;
        text = text.slice(body + bytes);
        meter.add(1);
        send();
      });
      send();
    }
    await promise;
    return { ...meter.outcome(), total: begun };
  };
}

function prepare(load: Load): Promise<Run> {
  switch (load.kind) {
    case "frames":
      return frames(load);
    case "locks":
      return locks(load);
    case "keys":
      return keys(load);
    case "listeners":
      return listeners(load);
    case "heard":
      return heard(load);
    case "callers":
      return callers(load);
    case "worker":
      return worker(load);
    case "start":
      return start(load);
    case "echoed":
      return echoed(load);
    case "idle":
      return idle(load);
    case "requests":
      return requests(load);
  }
}

if (import.meta.main) {
  let begin: () => void = () => {};
  let stop: (value?: unknown) => void = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const stopped = new Promise<unknown>((resolve) => {
    stop = resolve;
  });
  process.on("message", async (message: Load | "start" | "stop") => {
    if (message === "start") begin();
    else if (message === "stop") stop();
    else {
      const run = await prepare(message);
      process.send?.("ready");
      await begun;
      process.send?.(await run(stopped));
    }
  });
}
