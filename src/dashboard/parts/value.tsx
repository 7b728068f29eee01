/** JSON values as text, and facts as pairs of a name and what it is. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { bytes, pretty } from "../format.ts";
import { say } from "./toast.tsx";

/** Longer ones are shown when they are wanted. */
const shownMax = 20_000;

export function Value({ label, value }: { label: string; value: unknown }) {
  const [all, setAll] = useState(false);
  const text = pretty(value);
  const copy = () =>
    navigator.clipboard
      .writeText(text)
      .then(() => say(`${label} copied`))
      .catch(() => say("The browser does not let this page copy.", true));
  return (
    <figure class="value">
      <figcaption>
        <span>{label}</span>
        <span class="dim">{bytes(text.length)}</span>
        <button type="button" class="quiet" onClick={copy} aria-label={`Copy ${label.toLowerCase()}`}>
          Copy
        </button>
      </figcaption>
      <pre tabIndex={0} role="group" aria-label={label}>
        {all || text.length <= shownMax ? text : `${text.slice(0, shownMax)}…`}
      </pre>
      {!all && text.length > shownMax && (
        <button type="button" onClick={() => setAll(true)}>
          Show all of it
        </button>
      )}
    </figure>
  );
}

/** Pairs whose value is null are left out. */
export function Facts({ facts }: { facts: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
