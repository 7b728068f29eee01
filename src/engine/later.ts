/**
 * Answers that come later than their turn: what an operation asks of the log's reader. Each leaves once it is there, in
 * no order with the others, for whoever asks knows it by its seq. What it tells must be durable already. When the
 * engine ends, those who still wait are told so, and what comes then is dropped.
 */
import { refuse } from "../core/result.ts";
import type { Engine } from "./engine.ts";
import type { Answer, Sink } from "./types.ts";

type Waiter = { sink: Sink; seq: number | null; left: () => void };

export class Later {
  readonly #waiting = new Set<Waiter>();

  constructor(private readonly engine: Pick<Engine, "lines" | "counters">) {}

  /** `work` that fails is a bug, or a disk that cannot be read. `left` is called when the answer has left. */
  answer(sink: Sink, seq: number | null, work: () => Promise<Answer>, left: () => void): void {
    const waiter = { sink, seq, left };
    this.#waiting.add(waiter);
    void work()
      .catch((error: Error) => {
        this.engine.lines.error("read.failed", { error: error.message });
        return refuse("internal", `what is stored could not be read: ${error.message}`);
      })
      .then((answer) => this.#tell(waiter, answer));
  }

  #tell(waiter: Waiter, answer: Answer): void {
    if (!this.#waiting.delete(waiter)) return;
    if ("error" in answer) this.engine.counters.operationsRefused++;
    waiter.sink.answer(waiter.seq, answer);
    waiter.sink.flush();
    waiter.left();
  }

  /** Nothing more can be read: `refusal` is what everyone is told who waits. */
  endAll(refusal: Answer): void {
    for (const waiter of [...this.#waiting]) this.#tell(waiter, refusal);
  }

  /** The log is beyond use: nobody is told anything. */
  drop(): void {
    this.#waiting.clear();
  }
}
