/** Lists: a table on a wide screen, cards on a narrow one, with rows that are opened by click, enter, or j and k. */
import type { ComponentChildren } from "preact";
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

/** What a list is, whatever its rows are. */
export type Table<T> = {
  label: string;
  columns: readonly Column<T>[];
  keyOf: (row: T) => string;
  /** Where a row leads. */
  open?: (row: T) => string;
};

export function List<T>({ label, rows, columns, keyOf, open }: Table<T> & { rows: readonly T[] }) {
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
