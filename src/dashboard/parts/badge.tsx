/** A state as a colour and a word: the word alone is enough. */
export type Tone =
  | ("running" | "queued" | "scheduled" | "blocked" | "completed" | "failed" | "dead" | "cancelled")
  | ("good" | "warn" | "bad" | "calm");

const tones: Record<string, Tone> = {
  idle: "good",
  busy: "running",
  draining: "warn",
  offline: "calm",
  healthy: "good",
  failing: "warn",
  quarantined: "bad",
  probation: "warn",
  deaf: "bad",
  stalled: "bad",
  active: "good",
  paused: "warn",
  finished: "calm",
  critical: "failed",
  high: "warn",
  normal: "calm",
  low: "calm",
};

export function Badge({
  state,
  tone,
  children,
}: {
  state?: string;
  tone?: Tone;
  children?: preact.ComponentChildren;
}) {
  const as = tone ?? tones[state ?? ""] ?? (state as Tone);
  return (
    <span class={`badge tone-${as}`}>
      <i aria-hidden="true" />
      {children ?? state}
    </span>
  );
}
