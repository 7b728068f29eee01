/**
 * The figures that the daemon pushes each second, with those of the last hour, as the page keeps them: the newest for
 * whoever shows how things stand, all of them for the plots. And the time of day as the daemon has it.
 */
import { effect, signal } from "@preact/signals";
import type { Stats } from "../wire/stats.ts";
import { client } from "./link.ts";

const keptMs = 3_600_000;

/** Oldest first; changed in place, `newest` says when. */
export const samples: Stats[] = [];
export const newest = signal<Stats | null>(null);

/** What is to be added to this machine's clock to have the daemon's. */
let offsetMs = 0;
const time = () => Date.now() + offsetMs;
/** The daemon's time of day, a tick a second. */
export const now = signal(time());

async function follow(of: NonNullable<typeof client.value>): Promise<void> {
  for await (const sample of of.stats({ historyMs: keptMs })) {
    if (client.value !== of) return;
    samples.push(sample);
    const oldest = sample.at - keptMs;
    if ((samples[0] as Stats).at < oldest - 60_000)
      samples.splice(
        0,
        samples.findIndex(({ at }) => at >= oldest),
      );
    // Of the time before they come in one go, and their moment is past.
    if (Math.abs(sample.at - time()) > 2000 || newest.value === null) offsetMs = sample.at - Date.now();
    newest.value = sample;
  }
}

export function begin(): void {
  effect(() => {
    const of = client.value;
    samples.length = 0;
    newest.value = null;
    // Where they cannot be pushed there are none: pages show what they read.
    if (of !== null) follow(of).catch(() => {});
  });
  setInterval(() => {
    now.value = time();
  }, 1000);
}

export type Counted = keyof Stats["counted"];
/** So many a second. */
export const perSecond = (sample: Stats, name: Counted): number =>
  (sample.counted[name] * 1000) / sample.overMs;
