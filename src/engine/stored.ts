/**
 * Operations of the kind `stored`: what they read is on disk alone, so they ask the log (log/questions.ts) and are
 * answered later. What an answer leaves out is not there; what it tells is durable.
 */
import { unreachable } from "../lib/assert.ts";
import type { Log } from "../log/log.ts";
import type { StoredOperationName } from "../wire/operations.ts";
import type { Answer } from "./types.ts";

export class StoredReads {
  constructor(
    readonly log: Log,
    /** Whether the state as it is now becomes durable; false: a full disk undid it. */
    private readonly whenDurable: () => Promise<boolean>,
  ) {}

  /** The input was validated. */
  async carryOut(operation: StoredOperationName, _input: unknown): Promise<Answer> {
    // What the state has let go of must be in the log before that is asked.
    while (!(await this.whenDurable()));
    switch (operation) {
      default:
        return unreachable(operation);
    }
  }
}
