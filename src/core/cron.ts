/**
 * Cron patterns: what croner makes of them, as functions of a moment that is handed in. A pattern is read once and
 * kept (it takes croner a quarter of a millisecond), and so is the run found last, because the next one after any
 * moment before it is the same: thousands of schedules that share a pattern cost one search. What is kept is bounded.
 *
 * Daylight saving, as croner has it: a pattern with one time of day runs once a day, at the end of the gap where its
 * time is left out and at the first of the two where it comes twice. Any other pattern goes by the clock on the
 * wall: what it says in the gap does not come, what it says in the hour that comes twice comes twice.
 */
import { Cron } from "croner";

export class Pattern {
  /** The run after every moment from #from on and before #next is #next. */
  #from = Number.POSITIVE_INFINITY;
  #next = 0;

  constructor(private readonly cron: Cron) {}

  /** The first run after the moment; 0: there is none. */
  after(moment: number): number {
    if (moment >= this.#from && moment < this.#next) return this.#next === never ? 0 : this.#next;
    this.#next = this.cron.nextRun(new Date(moment))?.getTime() ?? never;
    this.#from = moment;
    return this.#next === never ? 0 : this.#next;
  }

  /** The last run before the moment; 0: there is none. */
  before(moment: number): number {
    return this.cron.previousRuns(1, new Date(moment))[0]?.getTime() ?? 0;
  }
}

const never = Number.POSITIVE_INFINITY;

/** Each takes some 80 KB. */
const patternsMax = 256;
const patterns = new Map<string, Pattern>();

/** What is wrong, and with which of the two fields. */
export type CronError = { field: "cron" | "timeZone"; detail: string };

export function patternOf(cron: string, timeZone: string): Pattern | CronError {
  const key = `${timeZone}\n${cron}`;
  const known = patterns.get(key);
  if (known !== undefined) return known;
  let zone: string;
  try {
    // In its own spelling: croner keeps something for each spelling it has met.
    zone = new Intl.DateTimeFormat("en-US", { timeZone }).resolvedOptions().timeZone;
  } catch {
    return {
      field: "timeZone",
      detail: `there is no time zone ${timeZone}; a name is such as Europe/Berlin`,
    };
  }
  try {
    const pattern = new Pattern(new Cron(cron, { timezone: zone, mode: "5-or-6-parts" }));
    if (patterns.size === patternsMax) patterns.clear();
    patterns.set(key, pattern);
    return pattern;
  } catch (error) {
    const why = (error as Error).message.replace(/^CronPattern: /, "").replace(/\.$/, "");
    return { field: "cron", detail: `is not a cron pattern: ${why}` };
  }
}
