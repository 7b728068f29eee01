/**
 * Readers of the state: a table page by page, or all of it at one revision as a stream. They see only what is
 * durable, and change nothing. A stream's views cost memory for what changes meanwhile, so a reader that stands
 * still loses them.
 */
import { type Failures, failuresText } from "../core/failures.ts";
import type { MessageRecord } from "../core/inboxes.ts";
import { type KeyRecord, keyText } from "../core/kv.ts";
import { type LockRecord, lockRecordText } from "../core/locks.ts";
import { type ScheduleRecord, scheduleText } from "../core/schedules.ts";
import { Slot } from "../core/slots.ts";
import type { RowName, View } from "../core/store.ts";
import { messageBody } from "../core/subscriptions.ts";
import { type TaskRecord, taskText } from "../core/tasks.ts";
import { type Held, type WorkerRecord, workerText } from "../core/workers.ts";
import type { Clock } from "./clock.ts";
import type { Engine } from "./engine.ts";

/** A reader of the whole state. */
type Stream = { views: [string, View<unknown>][]; readAt: number };

/** How long a reader may stand still. */
const streamMsMax = 60_000;

export class Readers {
  readonly #streams = new Set<Stream>();

  constructor(
    private readonly engine: Pick<Engine, "core" | "store">,
    private readonly clock: Clock,
    /**
     * Reads the clocks for what is read next, and answers whether the state as it is now becomes durable; false: a
     * full disk undid it.
     */
    private readonly whenDurable: () => Promise<boolean>,
  ) {}

  /** A page of a table's records as JSON texts, in an order that holds while the table changes. */
  async page(table: string, cursor: string | null, limit: number) {
    const { store } = this.engine;
    for (;;) {
      const durable = this.whenDurable();
      const page = store.table<unknown>(table).page(cursor, limit);
      const { revision } = store;
      const rows = page.rows.map(([row, record]) => this.#recordText(table, row, record));
      if (await durable) return { rows, cursor: page.cursor, revision };
    }
  }

  /** These tables at one revision: a line with the revision, then a line a record. */
  async *stream(tables: readonly string[]): AsyncIterable<string> {
    const { store } = this.engine;
    const walked = tables.includes("workers") && !tables.includes("tasks") ? ["tasks", ...tables] : tables;
    let revision: number;
    let views: [string, View<unknown>][];
    do {
      const durable = this.whenDurable();
      revision = store.revision;
      views = walked.map((table) => [table, store.table<unknown>(table).view()]);
      if (!(await durable)) for (const [, view] of views.splice(0)) view.close();
    } while (views.length === 0);
    // What each worker holds as of this revision: the tasks come before the workers.
    const held = new Map<string, Held>();
    const stream: Stream = { views, readAt: this.clock.monotonic() };
    this.#streams.add(stream);
    try {
      yield `{"revision":${revision},"at":${this.engine.core.now}}\n`;
      for (const [table, view] of views)
        for (let slice = this.#nextOf(stream, view); slice !== null; slice = this.#nextOf(stream, view))
          if (!tables.includes(table)) for (const [, record] of slice) countHeld(record as TaskRecord, held);
          else if (slice.length > 0)
            yield slice
              .map(
                ([row, record]) =>
                  `{"table":"${table}","record":${this.#recordText(table, row, record, held)}}\n`,
              )
              .join("");
    } finally {
      this.#end(stream);
    }
  }

  #nextOf(stream: Stream, view: View<unknown>): [RowName, unknown][] | null {
    if (!this.#streams.has(stream)) throw new Error(`the state was not read on for ${streamMsMax} ms`);
    stream.readAt = this.clock.monotonic();
    return view.next();
  }

  #end(stream: Stream): void {
    if (this.#streams.delete(stream)) for (const [, view] of stream.views) view.close();
  }

  endIdle(now: number): void {
    for (const stream of this.#streams) if (now - stream.readAt > streamMsMax) this.#end(stream);
  }

  /** `held` gathers what workers hold, where the state is not the newest. */
  #recordText(table: string, row: RowName, record: unknown, held?: Map<string, Held>): string {
    const { core } = this.engine;
    if (table === "tasks") {
      if (held !== undefined) countHeld(record as TaskRecord, held);
      return taskText(core, record as TaskRecord);
    }
    // What is kept of a task under its id alone.
    if (table === "errors")
      return `{"taskId":"${core.errors.naming.key(row)}","errors":${failuresText(record as Failures)}}`;
    if (table === "keys") return keyText(record as KeyRecord);
    if (table === "locks") return lockRecordText(record as LockRecord);
    if (table === "messages") return `{${messageBody(record as MessageRecord)}}`;
    if (table === "schedules") return scheduleText(record as ScheduleRecord);
    if (table !== "workers") return JSON.stringify(record);
    const worker = record as WorkerRecord;
    const slot = core.dispatch.slot(worker.id) ?? new Slot(worker.id, worker, core.clock);
    return held === undefined
      ? workerText(core, slot)
      : workerText(core, slot, worker, held.get(worker.id) ?? { count: 0, slots: 0 });
  }
}

function countHeld({ state, lease, spec }: TaskRecord, held: Map<string, Held>): void {
  if (state !== "running" || lease === null) return;
  const { count, slots } = held.get(lease.workerId) ?? { count: 0, slots: 0 };
  held.set(lease.workerId, { count: count + 1, slots: slots + spec.options.slots });
}
