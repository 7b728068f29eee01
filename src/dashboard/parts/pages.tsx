/**
 * Lists that are read a page at a time: forward by the daemon's cursor, back by those that were used. How a page is read, and
 * how it is shown: its rows, what stands in their place where there is nothing at all, and the way to the others.
 */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { CoordinationClient } from "../../../client/client.ts";
import { type Reading, useLive, type Wake } from "../live.ts";
import { List, type Table } from "./list.tsx";
import { Shown } from "./states.tsx";

export type Pages<R> = {
  reading: Reading<unknown> & { again: () => void };
  /** null: nothing is known yet. */
  rows: readonly R[] | null;
  /** Which page they are, from 1. */
  number: number;
  /** How there are more; null: these are the last. */
  cursor: string | null;
  next(cursor: string): void;
  back(): void;
  first(): void;
};

type Page<N extends string> = Readonly<Record<N, readonly unknown[]>> & { cursor: string | null };

/**
 * Reads a page, and again when it is woken. `name` is the field of an answer that holds its rows; with another filter it begins
 * anew.
 */
export function usePages<N extends string, P extends Page<N>>(
  name: N,
  filter: unknown,
  read: (
    of: CoordinationClient,
    asked: { limit: number; cursor?: string },
    options: { signal: AbortSignal },
  ) => Promise<P>,
  wakes: readonly Wake[],
  limit = 50,
): Pages<P[N][number]> {
  const key = JSON.stringify(filter);
  // Cursors of the pages up to this one; null is the first page's.
  const [at, set] = useState<{ key: string; cursors: (string | null)[] }>({ key, cursors: [null] });
  const cursors = at.key === key ? at.cursors : [null];
  const from = cursors.at(-1) ?? null;
  const asked = from === null ? { limit } : { limit, cursor: from };
  const reading = useLive((of, options) => read(of, asked, options), wakes, [key, asked]);
  const { data } = reading;
  return {
    reading,
    rows: data === null ? null : data[name],
    number: cursors.length,
    cursor: data?.cursor ?? null,
    next: (cursor) => set({ key, cursors: [...cursors, cursor] }),
    back: () => set({ key, cursors: cursors.length > 1 ? cursors.slice(0, -1) : cursors }),
    first: () => set({ key, cursors: [null] }),
  };
}

export function Paged<R>({
  pages,
  expected,
  empty,
  ...table
}: Table<R> & {
  pages: Pages<R>;
  /** Rows that are drawn while nothing is known. */
  expected?: number;
  /** Where there is nothing. */
  empty?: ComponentChildren;
}) {
  const { reading, rows, number, cursor } = pages;
  return (
    <Shown reading={reading} rows={expected}>
      {() => (
        <>
          {rows?.length === 0 && number === 1 && cursor === null && empty !== undefined ? (
            empty
          ) : (
            <List rows={rows ?? []} {...table} />
          )}
          <Pager pages={pages} />
        </>
      )}
    </Shown>
  );
}

function Pager<R>({ pages: { number, cursor, next, back, first } }: { pages: Pages<R> }) {
  if (number === 1 && cursor === null) return null;
  return (
    <nav class="pager" aria-label="Pages">
      <button type="button" disabled={number === 1} onClick={first}>
        First
      </button>
      <button type="button" disabled={number === 1} onClick={back}>
        Previous
      </button>
      <span>Page {number}</span>
      <button type="button" disabled={cursor === null} onClick={() => cursor !== null && next(cursor)}>
        Next
      </button>
    </nav>
  );
}
