/**
 * Subscriptions that last, where nothing is pushed: each is asked for what there is room for, by one request at a time
 * that waits, whoever in this process shares it. A request names what is held: what an answer took that never came is
 * delivered again at once, so a request may be given up at any time, and a change to the WebSocket needs nothing more.
 */
import { limits } from "../src/wire/limits.ts";
import type { MessageView } from "../src/wire/messages.ts";
import { CortexError } from "./errors.ts";
import type { Subscribed } from "./subscriptions.ts";
import type { Caller } from "./tasks.ts";
import type { Timer } from "./transport.ts";

/** Who shares a subscription here. */
export type Puller = {
  readonly name: string;
  readonly window: number;
  readonly subscribed: Subscribed;
  message(view: MessageView): void;
  failed(error: Error): void;
};

/** One subscription, and those who share it in turns. */
type Pull = { pullers: Puller[]; asked: AbortController | null; timer: Timer };

/** How long after an answer that came at once and brought nothing the next request goes. */
const restMs = 100;
/** And after a refusal that says no time. */
export const retryMs = 1000;

export class Pulls {
  readonly #caller: Caller;
  readonly #pulls = new Map<string, Pull>();

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  begin(puller: Puller): void {
    const { name } = puller;
    let pull = this.#pulls.get(name);
    if (pull === undefined) {
      pull = { pullers: [], asked: null, timer: null };
      this.#pulls.set(name, pull);
    }
    pull.pullers.push(puller);
    this.room(name);
  }

  /** It asks no more; what it holds and has not acknowledged goes to another at once. */
  end(puller: Puller): void {
    const pull = this.#pulls.get(puller.name);
    if (pull === undefined || !pull.pullers.includes(puller)) return;
    pull.pullers = pull.pullers.filter((one) => one !== puller);
    this.#giveUp(pull);
    if (pull.pullers.length > 0) {
      this.room(puller.name);
      return;
    }
    this.#pulls.delete(puller.name);
    const holding = puller.subscribed.settling;
    const input = { subscription: puller.name, count: 0, holding };
    this.#caller.call("message.receive", input).catch(ignore);
  }

  /** Who is asked for, and what was acknowledged there and is not known to be. */
  *open(): Iterable<{ name: string; settling: string[] }> {
    for (const [name, { pullers }] of this.#pulls)
      yield { name, settling: pullers.flatMap(({ subscribed }) => subscribed.settling) };
  }

  /** The connection is another: whoever still wants to be asked for begins again. */
  clear(): void {
    for (const pull of this.#pulls.values()) this.#giveUp(pull);
    this.#pulls.clear();
  }

  /** Somebody may have room. */
  room(name: string): void {
    const pull = this.#pulls.get(name);
    if (pull === undefined || pull.asked !== null || pull.timer !== null) return;
    const puller = pull.pullers.find(({ window, subscribed }) => subscribed.held.size < window);
    if (puller === undefined) return;
    // The others first the next time.
    pull.pullers = [...pull.pullers.filter((one) => one !== puller), puller];
    this.#ask(name, pull, puller);
  }

  #ask(name: string, pull: Pull, puller: Puller): void {
    const { environment, waitMs } = this.#caller;
    const asked = new AbortController();
    pull.asked = asked;
    const askedAt = environment.now();
    const holding = pull.pullers.flatMap(({ subscribed }) => subscribed.holding);
    const count = Math.min(puller.window - puller.subscribed.held.size, limits.pageMax);
    const input = { subscription: name, count, waitMs, holding: holding.slice(0, limits.windowMax) };
    this.#caller.call("message.receive", input, { signal: asked.signal }).then(
      ({ messages }) => {
        // One that was given up meanwhile is asked for anew.
        if (pull.asked !== asked) return;
        pull.asked = null;
        for (const view of messages) puller.message(view);
        if (messages.length === 0 && environment.now() - askedAt < restMs) this.#rest(name, pull, restMs);
        else this.room(name);
      },
      (error) => {
        if (pull.asked !== asked) return;
        pull.asked = null;
        if (error instanceof CortexError && error.retryable)
          this.#rest(name, pull, error.retryAfterMs ?? retryMs);
        else {
          this.#pulls.delete(name);
          for (const one of pull.pullers) one.failed(error);
        }
      },
    );
  }

  /** Asks again after so long. */
  #rest(name: string, pull: Pull, ms: number): void {
    pull.timer = this.#caller.environment.setTimer(ms, () => {
      pull.timer = null;
      this.room(name);
    });
  }

  #giveUp(pull: Pull): void {
    const { asked, timer } = pull;
    pull.asked = null;
    asked?.abort();
    if (timer !== null) this.#caller.environment.clearTimer(timer);
    pull.timer = null;
  }
}

const ignore = () => {};
