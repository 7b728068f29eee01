/**
 * Events as something to iterate over: what was told and not yet read waits here, and leaving the loop ends the
 * source. What happens when too much waits is the caller's to say.
 */

/** Events that wait for a slow reader before they are folded. */
const waitingMax = 10_000;

/** Begins the telling; the function it gives back ends it. */
export type Source<T> = (told: (event: T) => void, failed: (error: Error) => void) => () => void;

export function iterate<T>(
  source: Source<T>,
  /** What stands for all that waits, once that is too much; the newest comes last. */
  fold: (waiting: T[]) => T,
  signal?: AbortSignal,
): AsyncIterableIterator<T> {
  let waiting: T[] = [];
  let head = 0;
  let ended = false;
  let failure: Error | null = null;
  let wake: { resolve(): void } | null = null;

  const woken = () => {
    wake?.resolve();
    wake = null;
  };
  const stop = source(
    (event) => {
      waiting.push(event);
      if (waiting.length - head > waitingMax) {
        waiting = [fold(waiting.slice(head))];
        head = 0;
      }
      woken();
    },
    (error) => {
      failure = error;
      woken();
    },
  );
  const end = () => {
    if (ended) return;
    ended = true;
    signal?.removeEventListener("abort", end);
    stop();
    woken();
  };
  if (signal?.aborted) end();
  signal?.addEventListener("abort", end, { once: true });

  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      for (;;) {
        if (ended) return { done: true, value: undefined };
        if (head < waiting.length) {
          const event = waiting[head++] as T;
          if (head === waiting.length) {
            waiting = [];
            head = 0;
          }
          return { done: false, value: event };
        }
        if (failure !== null) {
          const error = failure;
          end();
          throw error;
        }
        await new Promise<void>((resolve) => {
          const before = wake;
          wake = {
            resolve() {
              before?.resolve();
              resolve();
            },
          };
        });
      }
    },
    async return() {
      end();
      return { done: true, value: undefined };
    },
  };
}
