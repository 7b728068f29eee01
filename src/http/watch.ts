/**
 * Watching over HTTP: changes as server-sent events. The id of each says how far it leads, to the change within the
 * entry, so that a reader which reconnects with `Last-Event-ID`, as browsers do by themselves, misses nothing and is told
 * nothing twice. A reader that is too slow is let go, and goes on by its last id when it comes again.
 */
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { QuietSink } from "../engine/types.ts";
import { validate } from "../engine/validate.ts";
import type { Watch } from "../engine/watch.ts";
import { WatchQuery } from "../wire/http.ts";
import { limits } from "../wire/limits.ts";
import type { WatchStart } from "../wire/state.ts";
import type { Port } from "./port.ts";
import { invalid, Refusal } from "./problems.ts";
import { checks, docOf, keptFor, portOf, told, unfenced, wholeOf } from "./route.ts";

type Query = Omit<WatchStart, "watchId" | "tables"> & { tables?: string };
const watchQuery = checks<Query>(WatchQuery);
/** Every stream is a connection of its own, so its one watch needs no other name. */
const watchId = "sse";
const headers = {
  "content-type": "text/event-stream",
  "cache-control": "no-store",
  "x-accel-buffering": "no",
};
const head = `{"event":"change","watchId":"${watchId}",`;

/** How long a stream is silent before it says that it is there; proxies end what is quiet for a minute. */
const quietMs = 15_000;
/** What a browser waits before it connects again. */
const retryMs = 1000;

export const watch = (port: Port) => {
  const streamsOf = keptFor((there) => new Streams(there));
  return new Elysia({ normalize: false }).get(
    "/api/watch",
    async ({ query, request, server }): Promise<string> => {
      unfenced(request);
      const { tables, ...filter } = watchQuery(query);
      const start = { watchId, ...filter, ...(tables !== undefined && { tables: tables.split(",") }) };
      const refused = validate("watch.start", start);
      if (refused !== null) throw new Refusal(refused.code, refused.detail, { errors: refused.errors ?? [] });
      const place = placeOf(request.headers.get("last-event-id"));
      const there = await portOf(port, request);
      // Nobody would read it, and so nobody end it.
      if (request.method === "HEAD") return new Response(null, { headers }) as unknown as string;
      server?.timeout(request, 0);
      return streamsOf(there).open(start as WatchStart, place) as unknown as string;
    },
    {
      query: told(WatchQuery),
      response: { 200: told(Type.String()) },
      detail: docOf(
        "watch",
        "state",
        "Changes as server-sent events, as they happen or from a revision on.",
        "Each event is `change` or `gap`, its data a Change or the revisions `from` and `to` that may be missing, its id what to send as `Last-Event-ID` to go on behind it.",
      ),
    },
  );
};

/** `1042`: all of it was told; `1042-3`: three of its changes were. */
type Place = { revision: number; count: number };

function placeOf(id: string | null): Place | null {
  if (id === null) return null;
  const [, revision, count = "0"] = /^([0-9]+)(?:-([0-9]{1,9}))?$/.exec(id) ?? [];
  const whole = wholeOf(revision ?? "");
  if (whole === null || (whole === 0 && count !== "0"))
    throw invalid("/Last-Event-ID", "must be the id of the last event, as it was sent");
  return { revision: whole, count: Number(count) };
}

/** Those of one state. */
class Streams {
  readonly #open = new Set<EventStream>();

  constructor(private readonly port: Port) {
    port.onTurn((now) => {
      for (const stream of this.#open) stream.beat(now);
    });
  }

  open(start: WatchStart, place: Place | null): Response {
    const filter = { ...start };
    if (place !== null) filter.after = place.count === 0 ? place.revision : place.revision - 1;
    const stream = new EventStream(this.port, filter, place, (over) => this.#open.delete(over));
    this.#open.add(stream);
    return new Response(stream.body, { headers });
  }
}

class EventStream extends QuietSink {
  readonly body: ReadableStream<Uint8Array>;
  readonly #encoder = new TextEncoder();
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  readonly #watch: Watch;
  #waiting = `retry: ${retryMs}\n\n`;
  /** The reader has taken all there was. */
  #isWanted = false;
  #isOver = false;
  #heardAt = 0;
  /** What was told of the entry that is being told, and what of it was told before. */
  #of: Place;
  #again: number;

  constructor(
    private readonly port: Port,
    filter: WatchStart,
    place: Place | null,
    private readonly onEnd: (stream: EventStream) => void,
  ) {
    super();
    this.#of = { revision: place?.revision ?? 0, count: 0 };
    this.#again = place?.count ?? 0;
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => {
          this.#isWanted = true;
          this.flush();
        },
        cancel: () => this.#end(),
      },
      { highWaterMark: 0 },
    );
    this.#watch = port.watch(this, filter);
  }

  override change(_watchId: string, revision: number, text: string): void {
    if (this.#isOver) return;
    const isChange = text.startsWith(head);
    const operation = isChange ? /"operation":"([^"]*)"/.exec(text)?.[1] : undefined;
    let id = `id: ${revision}\n`;
    if (operation === "task.progress" || operation === "worker.health") id = "";
    else if (isChange) {
      if (revision !== this.#of.revision) {
        this.#of = { revision, count: 0 };
        this.#again = 0;
      }
      this.#of.count += 1;
      if (this.#again > 0) {
        this.#again -= 1;
        return;
      }
      id = `id: ${revision}-${this.#of.count}\n`;
    }
    const data = isChange
      ? `{${text.slice(head.length)}`
      : text.replace(`"event":"gap","watchId":"${watchId}",`, "");
    this.#waiting += `${id}event: ${isChange ? "change" : "gap"}\ndata: ${data}\n\n`;
    if (this.#waiting.length > limits.watchBufferBytesMax) this.over();
  }

  /** An id without data is no event to a browser, and is what it sends when it comes again. */
  override place(_watchId: string, revision: number): void {
    if (!this.#isOver) this.#waiting += `id: ${revision}\n\n`;
  }

  override flush(): void {
    if (this.#isOver || !this.#isWanted || this.#waiting === "") return;
    this.#isWanted = false;
    const text = this.#waiting;
    this.#waiting = "";
    this.#heardAt = 0;
    this.#controller.enqueue(this.#encoder.encode(text));
    this.port.drained(this);
  }

  beat(now: number): void {
    if (this.#heardAt === 0) this.#heardAt = now;
    else if (now - this.#heardAt >= quietMs && this.#waiting === "") {
      this.#waiting = ":\n\n";
      this.flush();
    }
  }

  override backlog(): number {
    return this.#waiting.length;
  }

  /** What waits is told, and no more. */
  over(): void {
    if (this.#isOver) return;
    if (this.#waiting !== "") this.#controller.enqueue(this.#encoder.encode(this.#waiting));
    this.#controller.close();
    this.#end();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.port.unwatch(this.#watch);
    this.onEnd(this);
  }

  /** It asks nothing. */
  answer(): void {}
}
