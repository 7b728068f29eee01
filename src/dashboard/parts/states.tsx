/** What a view shows instead of what it is for: nothing yet, nothing at all, or why not. */
import type { ComponentChildren } from "preact";
import { CortexError } from "../../../client/errors.ts";
import type { Reading } from "../live.ts";

export function Skeleton({ rows = 6 }: { rows?: number }) {
  return (
    <div class="skeleton" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, i) => (
        <span key={i} />
      ))}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <svg viewBox="0 0 48 48" aria-hidden="true">
        <path d="M8 30h9l3 5h8l3-5h9M8 30l6-15h20l6 15v8a2 2 0 0 1-2 2H10a2 2 0 0 1-2-2z" />
      </svg>
      <p class="empty-title">{title}</p>
      {children !== undefined && <div class="empty-more">{children}</div>}
    </div>
  );
}

export function Failure({ error, again }: { error: Error; again?: () => void }) {
  const hint = error instanceof CortexError ? error.hint : "";
  return (
    <div class="failure" role="alert">
      <p class="failure-title">{error.message}</p>
      {hint !== "" && <p>{hint}</p>}
      {again !== undefined && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

/** What was read, or what stands for it. An error beside older data is told above it. */
export function Shown<T>({
  reading,
  rows,
  children,
}: {
  reading: Reading<T> & { again: () => void };
  rows?: number;
  children: (data: T) => ComponentChildren;
}) {
  const { data, error, again } = reading;
  return (
    <>
      {error !== null && <Failure error={error} again={again} />}
      {data !== null ? children(data) : error === null && <Skeleton rows={rows ?? 6} />}
    </>
  );
}
