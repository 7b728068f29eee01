/**
 * Health: whether a worker is fit to get tasks. It owns what shows that: pushes that were not acknowledged (deaf),
 * handlers that stand still (stalled), and a score from failures and from how long pushes take to arrive, which
 * sends a worker into quarantine and back on probation. All of it is volatile: no state, no log entry, gone with the
 * process; only a lease that is given back is logged. It decides nothing about leases that are held and
 * acknowledged: those end as they always do. Nothing here costs more than a few field writes a task. What attempts say of
 * a worker is said by entries, so it is a record, which is put anew: an entry that is taken back takes it back.
 *
 *            failures ──► failing ──► quarantined ──time──► probation ──proven──► healthy
 *                           │              ▲                    │
 *                 no other could work      └────── a failure ───┘
 *
 * The scheme is Envoy's outlier detection (consecutive_5xx 5, base_ejection_time 30 s, max_ejection_percent), with
 * probation in the place of its sudden return.
 */
import type { WorkerHealth } from "../wire/workers.ts";

/** The newest attempt's part of the share of failures: five failures in a row carry it over a half, four do not. */
const newestPart = 1 / 7;
/** Shares below this are none. */
const shareMin = 0.01;
/** Below this score a worker is failing. Slowness alone takes no more than half, so that alone it never is. */
const scoreMin = 50;
/** Pushes that take less than this part of the time allowed to be acknowledged are prompt. */
const promptPart = 0.1;
/** The first quarantine, in ms; each further one is twice as long, up to the longest. */
const quarantineMs = 30_000;
const quarantineMsMax = 600_000;
/** After so long without one, in ms, the next counts as the first. */
const strikesForgottenMs = quarantineMsMax;
/** Attempts that must succeed, one at a time, before a worker on probation is as good as any. */
const provenBy = 3;

/** What its attempts say of a worker. */
export type Conduct = {
  /** Share of attempts that failed, the newest counting most. */
  readonly failures: number;
  /** On the lease clock; 0: it is in none. */
  readonly quarantinedUntil: number;
  /** Successes that are missing before probation is over; 0: it is not on probation. */
  readonly toProve: number;
  /** Quarantines of late, and when the last of them ended. */
  readonly strikes: number;
  readonly quarantineEndedAt: number;
};
const spotless: Conduct = { failures: 0, quarantinedUntil: 0, toProve: 0, strikes: 0, quarantineEndedAt: 0 };

export class Health {
  /** Pushes of tokens up to `sent` have left for the socket, up to `arrived` they are known to have arrived. */
  sent = 0;
  arrived = 0;
  /** The push whose way is timed, by its token, and when it left (lease clock); 0: all have arrived. */
  timed = 0;
  timedAt = 0;
  /** When the newest push left. */
  sentAt = 0;
  deaf = false;
  /** How long its handlers stood still when it last said so, if that is too long; else 0. */
  stalledMs = 0;
  /** How long pushes took to be acknowledged. */
  acknowledgeMs = 0;
  conduct = spotless;
  score = 100;
  /** How many tasks it may hold, beside what its capacity says. */
  tasksMax = Number.POSITIVE_INFINITY;
  /** What it was last told to be. */
  told: WorkerHealth = "healthy";

  get quarantinedUntil(): number {
    return this.conduct.quarantinedUntil;
  }

  get toProve(): number {
    return this.conduct.toProve;
  }

  get failing(): boolean {
    return this.score < scoreMin;
  }

  /** Whether another success says nothing new of it. */
  get proven(): boolean {
    return this.conduct.failures === 0 && this.conduct.toProve === 0;
  }

  get state(): WorkerHealth {
    if (this.deaf) return "deaf";
    if (this.stalledMs > 0) return "stalled";
    if (this.quarantinedUntil > 0) return "quarantined";
    if (this.toProve > 0) return "probation";
    return this.failing ? "failing" : "healthy";
  }

  /** A new connection: what was leased up to this revision is not pushed on it. */
  connected(revision: number): void {
    this.disconnected();
    this.sent = revision;
    this.arrived = revision;
  }

  disconnected(): void {
    this.timed = 0;
    this.deaf = false;
  }

  /** A push of this token left for the socket. */
  left(token: number, clock: number): void {
    if (token <= this.arrived) return;
    this.sent = token;
    this.sentAt = clock;
    if (this.timed !== 0) return;
    this.timed = token;
    this.timedAt = clock;
  }

  /** The socket took something of what waited: what was sent is on its way only now. */
  moved(clock: number): void {
    this.timedAt = clock;
    this.sentAt = clock;
  }

  /** When the pushes on their way are overdue. */
  overdueAt(allowedMs: number): number {
    if (this.timed === 0 || allowedMs === 0) return Number.POSITIVE_INFINITY;
    return (this.deaf ? this.sentAt : this.timedAt) + allowedMs;
  }

  /** Every push up to this token has arrived. True: what it may be given has changed. */
  acknowledged(token: number, clock: number, allowedMs: number): boolean {
    if (this.timed === 0 || token <= this.arrived) return false;
    this.arrived = Math.min(token, this.sent);
    const before = this.score;
    if (token >= this.timed) {
      this.acknowledgeMs += (clock - this.timedAt - this.acknowledgeMs) * newestPart;
      this.#weigh(allowedMs);
      this.timed = this.sent > this.arrived ? this.sent : 0;
      this.timedAt = this.sentAt;
    }
    const { deaf } = this;
    this.deaf = false;
    return deaf || before < scoreMin !== this.failing;
  }

  /** Pushes were overdue, and are taken back. */
  overdue(allowedMs: number): void {
    this.deaf = true;
    this.acknowledgeMs = allowedMs;
    this.#weigh(allowedMs);
  }

  /**
   * What was said of it since is taken back. Of pushes that were overdue then nothing is known if one has arrived
   * meanwhile.
   */
  back(conduct: Conduct, deaf: boolean, acknowledgeMs: number, allowedMs: number): void {
    this.conduct = conduct;
    if (this.deaf && !deaf) {
      this.deaf = false;
      this.acknowledgeMs = acknowledgeMs;
    }
    this.#weigh(allowedMs);
    this.#allow();
  }

  /** Nothing of what was sent is owed any more. */
  settle(): void {
    this.arrived = this.sent;
    this.timed = 0;
  }

  /** An attempt succeeded. True: what it may be given has changed. */
  succeeded(allowedMs: number): boolean {
    if (this.proven) return false;
    const before = this.score;
    const { failures, toProve } = this.conduct;
    const fewer = failures - failures * newestPart;
    this.conduct = {
      ...this.conduct,
      failures: fewer < shareMin ? 0 : fewer,
      toProve: Math.max(0, toProve - 1),
    };
    this.#weigh(allowedMs);
    this.#allow();
    return toProve === 1 || before < scoreMin !== this.failing;
  }

  /** An attempt failed, and it says something of the worker. */
  failed(allowedMs: number): void {
    const { failures, toProve } = this.conduct;
    this.conduct = {
      ...this.conduct,
      failures: failures + (1 - failures) * newestPart,
      toProve: toProve > 0 ? provenBy : 0,
    };
    this.#weigh(allowedMs);
  }

  /** Whether it has earned a quarantine, if it can be spared. */
  get unfit(): boolean {
    return this.quarantinedUntil === 0 && (this.failing || this.toProve > 0);
  }

  quarantine(clock: number): void {
    const { strikes, quarantineEndedAt } = this.conduct;
    const earlier = clock - quarantineEndedAt > strikesForgottenMs ? 0 : strikes;
    this.conduct = {
      ...this.conduct,
      quarantinedUntil: clock + Math.min(quarantineMs * 2 ** earlier, quarantineMsMax),
      strikes: earlier + 1,
      toProve: 0,
    };
    this.#allow();
  }

  /** The quarantine is over: from here on it proves itself. */
  probation(clock: number, allowedMs: number): void {
    this.conduct = {
      failures: Math.min(this.conduct.failures, 1 / 2),
      quarantinedUntil: 0,
      toProve: provenBy,
      strikes: this.conduct.strikes,
      quarantineEndedAt: clock,
    };
    this.#weigh(allowedMs);
    this.#allow();
  }

  /** Its handlers last turned so long ago. True: what it may be given has changed. */
  turned(ageMs: number, stalledMs: number): boolean {
    const before = this.stalledMs;
    this.stalledMs = ageMs >= stalledMs ? ageMs : 0;
    this.#allow();
    return before > 0 !== this.stalledMs > 0;
  }

  #allow(): void {
    this.tasksMax =
      this.stalledMs > 0 || this.quarantinedUntil > 0 ? 0 : this.toProve > 0 ? 1 : Number.POSITIVE_INFINITY;
  }

  #weigh(allowedMs: number): void {
    const part = allowedMs === 0 ? 0 : this.acknowledgeMs / allowedMs;
    const slow = Math.min(1, Math.max(0, (part - promptPart) / (1 - promptPart)));
    this.score = Math.round(100 * (1 - this.conduct.failures) * (1 - slow / 2));
  }

  /** What is wrong, in words. */
  reasons(clock: number, allowedMs: number): string[] {
    const reasons: string[] = [];
    if (this.deaf) reasons.push(`it did not acknowledge within ${allowedMs} ms what was pushed to it`);
    if (this.stalledMs > 0) reasons.push(`its handlers stood still for ${this.stalledMs} ms`);
    if (this.quarantinedUntil > 0) {
      const leftS = Math.ceil(Math.max(0, this.quarantinedUntil - clock) / 1000);
      reasons.push(`too many of its attempts failed: it gets no tasks for ${leftS} s`);
    } else if (this.toProve > 0)
      reasons.push(`it is on probation, one task at a time, until ${this.toProve} more succeed`);
    else if (this.failing)
      reasons.push(
        this.conduct.failures >= 1 / 4
          ? "too many of its attempts failed, and no other worker like it can be spared"
          : "it takes long to acknowledge what is pushed to it",
      );
    return reasons;
  }
}
