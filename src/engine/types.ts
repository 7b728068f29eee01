/** What stands between the engine and the rooms that use it (http, ws, and the embedded coordinator). */
import type { Result } from "../core/result.ts";
import type { Fence } from "../wire/fences.ts";

/** Who calls, and how a repeated call is recognised. */
export type Caller = {
  /** Shown in the log and in change events: a session, a worker, a token's name. A name without spaces. */
  who: string;
  /** The session whose `seq` numbers the operation; null: a repeated call is a new call. */
  session: string | null;
  seq: number;
  /** All answers of the session up to this seq have arrived there. */
  ackedThrough: number;
  /** The operation is carried out only while this holds. */
  fence?: Fence | undefined;
  /** Ends a wait early (the client went away). */
  signal?: AbortSignal;
  /** Ends a wait early too, with an answer as things then stand. */
  enough?: AbortSignal;
};

/** `ok` is the output as JSON text: it was written once, and is sent and kept as it is. */
export type Answer = Result;

/**
 * Where answers, pushes and change events go. The engine calls it only with what may leave (the log holds what
 * caused it), in the order in which it came about, and `flush` once after a run of them.
 */
export type Sink = {
  /** `seq` is null for a request whose own could not be read. */
  answer(seq: number | null, answer: Answer): void;
  /** JSON text of one event message. */
  push(text: string): void;
  /** A change event of a watch, which a slow reader may miss. */
  change(watchId: string, revision: number, text: string): void;
  /** What the watch is to be told up to this revision came before it. */
  place(watchId: string, revision: number): void;
  /** A message of a live subscription, which a slow reader may lose; it is told how many it lost. */
  message(subscriptionId: string, text: string): void;
  /** A subscription that it was attached to is gone. */
  ended(subscriptionId: string, name: string): void;
  /** The worker was silent for so long that it is offline: its connection is of no use. */
  silent(workerId: string): void;
  flush(): void;
  /** Of one that watches and nothing else: the state is to be heard of no more. */
  over?(): void;
  /** What was sent and has not left this process yet, in bytes. Over the budget, `Engine.drained` must follow. */
  backlog(): number;
};

/** A sink that wants nothing told but answers, and what its kind says it does. */
export abstract class QuietSink implements Sink {
  abstract answer(seq: number | null, answer: Answer): void;
  push(_text: string): void {}
  change(_watchId: string, _revision: number, _text: string): void {}
  place(_watchId: string, _revision: number): void {}
  message(_subscriptionId: string, _text: string): void {}
  ended(_subscriptionId: string, _name: string): void {}
  silent(_workerId: string): void {}
  flush(): void {}
  backlog(): number {
    return 0;
  }
}

/** For those who ask, and hand over what becomes of the answer. */
export class AnswerOnly extends QuietSink {
  constructor(private readonly told: (answer: Answer) => void) {
    super();
  }

  answer(_seq: number | null, answer: Answer): void {
    this.told(answer);
  }
}
