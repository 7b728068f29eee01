/** What stands in the rows of several lists alike: a moment by its distance from now, in full for who points at it; and a session. */
import { now } from "../figures.ts";
import { age, distance, moment } from "../format.ts";

/** "in 5 min", "3 s ago". */
export const Distance = ({ at }: { at: number }) => <span title={moment(at)}>{distance(at, now.value)}</span>;

/** How long ago it was, in one unit. */
export const Age = ({ since }: { since: number }) => (
  <span title={moment(since)}>{age(now.value - since)}</span>
);

/** Who did something; the ids of sessions are long and say little. */
export const Who = ({ who }: { who: string }) => (
  <span title={who}>{who.length > 20 ? `${who.slice(0, 8)}…` : who}</span>
);
