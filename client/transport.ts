/**
 * What the client needs from outside, as two small ports. A `Transport` opens connections that carry text frames
 * in order; an `Environment` tells time, chance and timers. The defaults are the WebSocket and the clock of the
 * machine; a simulator or the embedded coordinator brings its own. This is the one file of the client that touches
 * a clock, chance, timers or a socket; http.ts alone sends requests.
 */
import type { Problem } from "../src/wire/errors.ts";

export type Handlers = {
  /** The connection stands; called once, before any message. */
  open(): void;
  message(text: string): void;
  /** The connection is gone, or never stood; called once, and nothing after it. `refusal`: the daemon said why. */
  close(code: number, reason: string, refusal?: Problem): void;
};

export type Connection = {
  /** `withinMs`: an answer that takes longer is none; for connections that ask. */
  send(text: string, withinMs: number): void;
  /**
   * Ends the connection. `handlers.close` may still follow. `last`: a frame that leaves all the same, where the connection
   * asks; nobody hears its answer.
   */
  close(last?: string): void;
  /** What was sent and has not left this process yet. */
  readonly bufferedBytes: number;
  /**
   * Only connections on which the daemon cannot speak unasked have it; they count as buffered what has no answer
   * yet. Sends a frame beside the others, whose answer may take long. What it gives back ends it without an answer.
   */
  readonly apart?: (text: string, withinMs: number) => () => void;
};

/** Who connects, for transports that say it outside the frames. */
export type Greeter = {
  session: string;
  /** A name that no other connection of the session has. */
  connection: string;
  token?: string | undefined;
  namespace?: string | undefined;
  environment: Environment;
};

/** Never calls a handler before `connect` has returned. */
export type Transport = { connect(url: string, handlers: Handlers, greeter: Greeter): Connection };

export type TransportName = "websocket" | "http";

export type Timer = unknown;

export type Environment = {
  /** Milliseconds that never go back; from where they count does not matter. */
  now(): number;
  /** From 0 up to, but not including, 1. */
  random(): number;
  setTimer(ms: number, callback: () => void): Timer;
  clearTimer(timer: Timer): void;
};

/** Timers overflow at 2^31 ms and would then fire at once. */
const timerMsMax = 2 ** 31 - 1;

export const machine: Environment = {
  now: () => performance.now(),
  random: () => (crypto.getRandomValues(new Uint32Array(1))[0] as number) / 2 ** 32,
  setTimer: (ms, callback) => setTimeout(callback, Math.min(ms, timerMsMax)),
  clearTimer: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
};

/** As much of a WebSocket as is needed; that of the package `ws` has it too. */
export type WebSocketLike = {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  readonly bufferedAmount: number;
};

/** For who has no WebSocket of its own, such as Node 20: one that is handed in. */
export const webSocketBy = (open: (url: string) => WebSocketLike): Transport => ({
  connect(url, handlers) {
    const socket = open(url);
    let ended = false;
    const end = (code: number, reason: string) => {
      if (ended) return;
      ended = true;
      handlers.close(code, reason);
    };
    socket.onopen = () => handlers.open();
    socket.onmessage = (event: { data: unknown }) => {
      if (typeof event.data === "string") handlers.message(event.data);
      else socket.close(1003, "text frames only");
    };
    // An error is always followed by a close, which is where it is told.
    socket.onerror = () => {};
    socket.onclose = (event: { code: number; reason: string }) => end(event.code, event.reason);
    return {
      send: (text) => socket.send(text),
      close: () => socket.close(),
      get bufferedBytes() {
        return socket.bufferedAmount;
      },
    };
  },
});

export const webSocket = webSocketBy((url) => new WebSocket(url));
