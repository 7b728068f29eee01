/**
 * What comes one after the other. Events as something to iterate over: leaving the loop ends the source, and what happens
 * when too much waits is the caller's to say. Lists that are read page by page, and what is sent slice by slice.
 */
import { Stream } from "./stream.ts";

/** Events that wait for a slow reader before they are folded, or lost. */
export const waitingMax = 10_000;

/** Begins the telling; the function it gives back ends it. */
export type Source<T> = (told: (event: T) => void, failed: (error: Error) => void) => () => void;

export function iterate<T>(
  source: Source<T>,
  /** What stands for all that waits, once that is too much; the newest comes last. */
  fold: (waiting: T[]) => T,
  signal?: AbortSignal,
): AsyncIterableIterator<T> {
  const stream = new Stream<T>(() => {
    signal?.removeEventListener("abort", end);
    stop();
  });
  const end = () => stream.end();
  const stop = source(
    (event) => {
      stream.push(event);
      if (stream.size > waitingMax) stream.fold(fold);
    },
    (error) => stream.fail(error),
  );
  if (signal?.aborted) end();
  signal?.addEventListener("abort", end, { once: true });
  return stream;
}

/** Page by page, as many as there are; `from` is where the next one begins. */
export async function* pagesOf<P extends { cursor: string | null }>(
  read: (from: { cursor?: string }) => Promise<P>,
): AsyncGenerator<P> {
  let page = await read({});
  yield page;
  while (page.cursor !== null) {
    page = await read({ cursor: page.cursor });
    yield page;
  }
}

/** As many at a time as one request may have. */
export function* slicesOf<T>(all: readonly T[], max: number): Generator<T[]> {
  for (let start = 0; start < all.length; start += max) yield all.slice(start, start + max);
}
