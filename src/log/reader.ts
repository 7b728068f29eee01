/**
 * The second thread of the logs, as the loop sees it: it answers questions (questions.ts) on connections of its own
 * that only read, so that neither the loop nor an append ever waits for an answer. It starts with the first question,
 * and serves all logs of the process. It owns nothing: when it dies, what was asked is refused, and the next question
 * starts it anew.
 */
import { entryPoint } from "./entry.ts";
import type { QuestionName, Questions } from "./questions.ts";

export type ToReader =
  | {
      kind: "ask";
      number: number;
      folder: string;
      name: QuestionName;
      asked: Questions[QuestionName]["asked"];
    }
  /** Nothing more is asked of this folder. */
  | { kind: "leave"; folder: string };

export type FromReader = { number: number } & ({ value: unknown } | { error: string });

type Waiting = { resolve(value: never): void; reject(error: Error): void };

export class LogReader {
  #worker: Worker | null = null;
  readonly #waiting = new Map<number, Waiting>();
  #count = 0;
  #isEnding = false;

  constructor(readonly url = entryPoint("reader-worker")) {}

  /** Of the log in this folder, whose owner has it open. */
  ask<N extends QuestionName>(
    folder: string,
    name: N,
    asked: Questions[N]["asked"],
  ): Promise<Questions[N]["answered"]> {
    this.#isEnding = false;
    this.#worker ??= this.#start();
    const worker = this.#worker;
    return new Promise((resolve, reject) => {
      const number = ++this.#count;
      this.#waiting.set(number, { resolve, reject });
      worker.postMessage({ kind: "ask", number, folder, name, asked } satisfies ToReader);
    });
  }

  /** The log of this folder is about to be closed. */
  leave(folder: string): void {
    this.#worker?.postMessage({ kind: "leave", folder } satisfies ToReader);
  }

  /** Ends the thread once it has answered: one that is still starting is never cut short. */
  end(): void {
    this.#isEnding = true;
    if (this.#waiting.size > 0) return;
    this.#worker?.terminate();
    this.#worker = null;
  }

  #start(): Worker {
    const worker = new Worker(this.url);
    worker.onmessage = ({ data }: MessageEvent<FromReader>) => {
      const waiting = this.#waiting.get(data.number);
      this.#waiting.delete(data.number);
      if ("error" in data) waiting?.reject(new Error(data.error));
      else waiting?.resolve(data.value as never);
      if (this.#isEnding) this.end();
    };
    const died = (why: string) => {
      if (this.#worker !== worker) return;
      this.#worker = null;
      for (const { reject } of this.#waiting.values()) reject(new Error(`the log's reader ended: ${why}`));
      this.#waiting.clear();
    };
    worker.onerror = (event) => died(event.message);
    worker.addEventListener("close", () => died("it ended"));
    // What is asked must not keep a process that is done.
    (worker as { unref?(): void }).unref?.();
    return worker;
  }
}
