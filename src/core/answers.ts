/**
 * Answers: what a session's mutations were answered, kept so that a repeated request gets the same again and
 * changes nothing (DESIGN: every operation can be repeated blindly). An answer is let go when the client says it
 * arrived, when it is ten minutes old, or when its session has too many.
 *
 * Each answer stands in a place of its session, and its row is named by the place. A place whose answer arrived is
 * simply used again: the new answer's row replaces the old one's, so letting go costs neither a change nor a line of
 * the log, and a session has as many rows as it ever had answers on their way at once. What an earlier answer left
 * in a free place is stale; it is known by its seq, which the session has acknowledged.
 */
import { limits } from "../wire/limits.ts";
import type { Cause } from "./coordinator.ts";
import type { Index, Store, Table } from "./store.ts";

export type AnswerRecord = {
  readonly session: string;
  /** Where it stands in its session: the row is named by both. */
  readonly place: number;
  readonly seq: number;
  readonly operation: string;
  /** Tells a reused idempotency key from a repeated request; 0 where nobody asked. */
  readonly fingerprint: number;
  /** How far the session had acknowledged when this was answered. */
  readonly ackedThrough: number;
  /** On the lease clock. */
  readonly at: number;
  readonly revision: number;
  /** The output, as JSON text. */
  readonly text: string;
};

/** What an answer costs beside its text, where it is its session's only one, as under an idempotency key (measured). */
const answerBytes = 800;

const sizeOf = (answer: AnswerRecord | undefined): number =>
  answer === undefined ? 0 : answerBytes + answer.text.length;

/** A session as its answers tell it. */
class Session {
  /** Answers that are kept, in the order of seq; those before the head were let go. */
  #kept: AnswerRecord[] = [];
  #head = 0;
  /** The rows' names by place, made once. */
  readonly #keys: string[] = [];
  readonly #free: number[] = [];
  /** No place from here on was ever used. */
  #places = 0;
  /** No seq above this was ever answered. It is a shortcut for new requests, so an undo need not lower it. */
  lastSeq = 0;
  /** What the client said arrived: a fact that no undo takes back. */
  ackedThrough = 0;

  constructor(readonly id: string) {}

  get size(): number {
    return this.#kept.length - this.#head;
  }

  first(): AnswerRecord | undefined {
    return this.#kept[this.#head];
  }

  /** Where the answer to `seq` stands in #kept, or would. */
  #find(seq: number): number {
    let low = this.#head;
    let high = this.#kept.length;
    // Nearly always it belongs to the end, or is stale and lies before all of them.
    if (low === high || (this.#kept[high - 1] as AnswerRecord).seq < seq) return high;
    if (seq <= (this.#kept[low] as AnswerRecord).seq) return low;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#kept[middle] as AnswerRecord).seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  get(seq: number): AnswerRecord | undefined {
    const found = this.#kept[this.#find(seq)];
    return found?.seq === seq ? found : undefined;
  }

  add(answer: AnswerRecord): void {
    const at = this.#find(answer.seq);
    if (at === this.#kept.length) this.#kept.push(answer);
    else this.#kept.splice(at, 0, answer);
    if (answer.ackedThrough > this.ackedThrough) this.ackedThrough = answer.ackedThrough;
  }

  /** Whether it was kept. */
  remove(answer: AnswerRecord): boolean {
    const at = this.#find(answer.seq);
    if (this.#kept[at] !== answer) return false;
    if (at === this.#head) this.#head += 1;
    else this.#kept.splice(at, 1);
    return true;
  }

  /** Lets go of what arrived. */
  letGo(ackedThrough: number): void {
    if (ackedThrough > this.ackedThrough) this.ackedThrough = ackedThrough;
    const kept = this.#kept;
    for (let old = kept[this.#head]; old !== undefined && old.seq <= ackedThrough; old = kept[this.#head]) {
      this.#free.push(old.place);
      this.#head += 1;
    }
    if (this.#head === kept.length) {
      kept.length = 0;
      this.#head = 0;
    } else if (this.#head >= 1024 && this.#head * 2 >= kept.length) {
      this.#kept = kept.slice(this.#head);
      this.#head = 0;
    }
  }

  free(place: number): void {
    this.#free.push(place);
  }

  /** A free place, or a new one. */
  take(): number {
    return this.#free.pop() ?? this.#places;
  }

  keyOf(place: number): string {
    const known = this.#keys[place];
    if (known !== undefined) return known;
    const key = `${this.id}/${place}`;
    this.#keys[place] = key;
    if (place >= this.#places) this.#places = place + 1;
    return key;
  }

  /** The names of all rows there ever were. */
  keys(): readonly string[] {
    return Object.values(this.#keys);
  }
}

export class Answers implements Index<AnswerRecord> {
  readonly table: Table<AnswerRecord>;
  readonly #sessions = new Map<string, Session>();

  /** `onFirst` is told when a session gets its first answer, so that its age is looked at in time; `grow`, what they take. */
  constructor(
    store: Store,
    private readonly onFirst: (session: string, at: number) => void,
    private readonly grow: (bytes: number) => void,
  ) {
    this.table = store.table("answers");
    this.table.index([this], (a, b) => a.seq - b.seq);
  }

  find(session: string, seq: number): AnswerRecord | "acknowledged" | undefined {
    const known = this.#sessions.get(session);
    if (known === undefined || seq > known.lastSeq) return undefined;
    return known.get(seq) ?? (seq <= known.ackedThrough ? "acknowledged" : undefined);
  }

  /** Inside a transaction: keeps an answer; lets go of what arrived, and of the oldest when there are too many. */
  keep(cause: Cause, operation: string, at: number, revision: number, text: string): void {
    const { seq, fingerprint, ackedThrough } = cause;
    const id = cause.session as string;
    const session = this.#sessions.get(id) ?? this.#open(id, at);
    session.letGo(ackedThrough);
    const oldest = session.size >= limits.answersPerSessionMax ? session.first() : undefined;
    const place = oldest?.place ?? session.take();
    this.table.put(session.keyOf(place), {
      session: id,
      place,
      seq,
      operation,
      fingerprint,
      ackedThrough,
      at,
      revision,
      text,
    });
  }

  /** Inside a transaction: drops what is older than `before`; answers when to look again, if ever. */
  expire(id: string, before: number): number | undefined {
    const session = this.#sessions.get(id);
    if (session === undefined) return undefined;
    // A log gives back what is stale too.
    session.letGo(session.ackedThrough);
    for (let old = session.first(); old !== undefined; old = session.first()) {
      if (old.at > before) return old.at;
      this.table.delete(session.keyOf(old.place));
    }
    // Nothing is kept any more: what is stale goes too, and with it the session.
    for (const key of session.keys()) if (this.table.has(key)) this.table.delete(key);
    this.#sessions.delete(id);
    return undefined;
  }

  change(before: AnswerRecord | undefined, after: AnswerRecord | undefined): void {
    this.grow(sizeOf(after) - sizeOf(before));
    const { session: id, place } = (after ?? before) as AnswerRecord;
    let session = this.#sessions.get(id);
    const wasKept = before !== undefined && session?.remove(before) === true;
    if (after === undefined) {
      if (wasKept) session?.free(place);
      return;
    }
    session ??= this.#open(id, after.at);
    session.keyOf(place);
    session.lastSeq = Math.max(session.lastSeq, after.seq);
    // An undo may bring back what was stale; and who acknowledges what is to come has no answer kept.
    if (after.seq > session.ackedThrough) session.add(after);
    else session.free(place);
  }

  #open(id: string, at: number): Session {
    const session = new Session(id);
    this.#sessions.set(id, session);
    this.onFirst(id, at);
    return session;
  }
}
