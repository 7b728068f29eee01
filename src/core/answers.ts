/**
 * Answers: what a session's mutations were answered, kept so that a repeated request gets the same again and
 * changes nothing (DESIGN: every operation can be repeated blindly). An answer leaves when the client says it
 * arrived, when it is ten minutes old, or when its session has too many. The newest of a session stays until it
 * is old: it remembers how far the session got, so that a late duplicate of an acknowledged request is refused
 * and not carried out again.
 */
import { Line } from "../lib/line.ts";
import { limits } from "../wire/limits.ts";
import type { Index, Store, Table } from "./store.ts";

export type AnswerRecord = {
  readonly session: string;
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

export const answerKey = (session: string, seq: number) => `${session}/${seq}`;

/** A session as its answers tell it. */
class Session {
  readonly answers = new Line<AnswerRecord>((a, b) => a.seq - b.seq);
  /** No seq above this was ever answered. It is a shortcut for new requests, so an undo need not lower it. */
  lastSeq = 0;
  /** What the client said arrived: a fact that no undo takes back. */
  ackedThrough = 0;

  constructor(readonly id: string) {}
}

export class Answers implements Index<AnswerRecord> {
  readonly table: Table<AnswerRecord>;
  readonly #sessions = new Map<string, Session>();

  /** `onFirst` is told when a session gets its first answer, so that its age is looked at in time. */
  constructor(
    store: Store,
    private readonly onFirst: (session: string, at: number) => void,
  ) {
    this.table = store.table("answers");
    this.table.index([this], (a, b) => a.seq - b.seq);
  }

  find(session: string, seq: number): AnswerRecord | "acknowledged" | undefined {
    const known = this.#sessions.get(session);
    if (known === undefined || seq > known.lastSeq) return undefined;
    const answer = this.table.get(answerKey(session, seq));
    if (answer !== undefined) return answer;
    return seq <= known.ackedThrough ? "acknowledged" : undefined;
  }

  /** Inside a transaction: keeps an answer and lets go of what the session no longer needs. */
  keep(answer: AnswerRecord): void {
    const known = this.#sessions.get(answer.session);
    this.table.put(answerKey(answer.session, answer.seq), answer);
    if (known === undefined) return;
    for (let old = known.answers.first(); old !== undefined && old !== answer; old = known.answers.first()) {
      if (old.seq > answer.ackedThrough && known.answers.size <= limits.answersPerSessionMax) break;
      this.table.delete(answerKey(old.session, old.seq));
    }
  }

  /** Inside a transaction: drops what is older than `before`; answers when to look again, if ever. */
  expire(session: string, before: number): number | undefined {
    const known = this.#sessions.get(session);
    if (known === undefined) return undefined;
    for (let old = known.answers.first(); old !== undefined; old = known.answers.first()) {
      if (old.at > before) return old.at;
      this.table.delete(answerKey(old.session, old.seq));
    }
    return undefined;
  }

  change(before: AnswerRecord | undefined, after: AnswerRecord | undefined): void {
    if (before !== undefined) {
      const session = this.#sessions.get(before.session) as Session;
      session.answers.remove(before);
      if (after === undefined && session.answers.size === 0) this.#sessions.delete(before.session);
    }
    if (after !== undefined) {
      let session = this.#sessions.get(after.session);
      if (session === undefined) {
        session = new Session(after.session);
        this.#sessions.set(after.session, session);
        this.onFirst(after.session, after.at);
      }
      session.answers.add(after);
      if (after.seq > session.lastSeq) session.lastSeq = after.seq;
      if (after.ackedThrough > session.ackedThrough) session.ackedThrough = after.ackedThrough;
    }
  }
}
