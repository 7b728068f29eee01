/**
 * Lists: a table on a wide screen, cards on a narrow one, with rows that are opened by click, enter, or j and k. And the
 * pages of lists that are too long: forward by the daemon's cursor, back by those that were used.
 */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { go } from "../route.ts";

export type Column<T> = {
  name: string;
  /** Figures stand on the right, below each other. */
  figures?: boolean;
  /** The first words of a card on a narrow screen. */
  lead?: boolean;
  /** Left out there. */
  minor?: boolean;
  /** A whole line of a card. */
  wide?: boolean;
  /** What can be done to the row; it has no heading that is seen. */
  actions?: boolean;
  cell: (row: T) => ComponentChildren;
};

export function List<T>({
  label,
  rows,
  columns,
  keyOf,
  open,
}: {
  label: string;
  rows: readonly T[];
  columns: readonly Column<T>[];
  keyOf: (row: T) => string;
  /** Where a row leads. */
  open?: (row: T) => string;
}) {
  return (
    <table class="list">
      <caption class="hidden">{label}</caption>
      <thead>
        <tr>
          {columns.map(({ name, figures, actions }) => (
            <th key={name} scope="col" class={classOf({ figures })}>
              {actions ? <span class="hidden">{name}</span> : name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <Row key={keyOf(row)} row={row} columns={columns} to={open?.(row)} />
        ))}
      </tbody>
    </table>
  );
}

function Row<T>({ row, columns, to }: { row: T; columns: readonly Column<T>[]; to: string | undefined }) {
  const opens =
    to === undefined
      ? {}
      : {
          // By j and k; who goes by tab finds the link in it.
          tabIndex: -1,
          "data-row": "",
          onClick: (event: MouseEvent) => {
            if ((event.target as HTMLElement).closest("a, button, input") === null) go(to);
          },
          onKeyDown: (event: KeyboardEvent) => {
            if (event.key === "Enter" && event.target === event.currentTarget) go(to);
          },
        };
  return (
    <tr {...opens}>
      {columns.map(({ name, figures, lead, minor, wide, actions, cell }) => (
        <td key={name} data-name={name} class={classOf({ figures, lead, minor, wide, actions })}>
          {cell(row)}
        </td>
      ))}
    </tr>
  );
}

const classOf = (flags: Record<string, boolean | undefined>): string | undefined =>
  Object.keys(flags)
    .filter((name) => flags[name])
    .join(" ") || undefined;

/** A list that is read page by page; with another key it begins anew. */
export function usePages(
  key: string,
  limit = 50,
): {
  /** What is asked for to have this page. */
  asked: { limit: number; cursor?: string };
  page: number;
  next(cursor: string): void;
  back(): void;
  first(): void;
} {
  // Cursors of the pages up to this one; null is the first page's.
  const [at, set] = useState<{ key: string; cursors: (string | null)[] }>({ key, cursors: [null] });
  const cursors = at.key === key ? at.cursors : [null];
  const cursor = cursors.at(-1) ?? null;
  return {
    asked: cursor === null ? { limit } : { limit, cursor },
    page: cursors.length,
    next: (cursor) => set({ key, cursors: [...cursors, cursor] }),
    back: () => set({ key, cursors: cursors.length > 1 ? cursors.slice(0, -1) : cursors }),
    first: () => set({ key, cursors: [null] }),
  };
}

export function Pager({ pages, next }: { pages: ReturnType<typeof usePages>; next: string | null }) {
  if (pages.page === 1 && next === null) return null;
  return (
    <nav class="pager" aria-label="Pages">
      <button type="button" disabled={pages.page === 1} onClick={pages.first}>
        First
      </button>
      <button type="button" disabled={pages.page === 1} onClick={pages.back}>
        Previous
      </button>
      <span>Page {pages.page}</span>
      <button type="button" disabled={next === null} onClick={() => next !== null && pages.next(next)}>
        Next
      </button>
    </nav>
  );
}
