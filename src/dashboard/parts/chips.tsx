/** A choice of one or of all: buttons in a row, of which one is pressed. */
import type { ComponentChildren } from "preact";

export function Chips<T extends string>({
  label,
  of,
  chosen,
  choose,
  children,
}: {
  label: string;
  of: readonly T[];
  /** null: all of them. */
  chosen: T | null;
  choose: (one: T | null) => void;
  children: (one: T) => ComponentChildren;
}) {
  return (
    <div class="chips" role="group" aria-label={label}>
      {[null, ...of].map((one) => (
        <button key={one ?? "all"} type="button" aria-pressed={one === chosen} onClick={() => choose(one)}>
          {one === null ? "all" : children(one)}
        </button>
      ))}
    </div>
  );
}
