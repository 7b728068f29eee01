/**
 * What programs share in a system (keys, locks, messages), to be put beside another. The bench starts its server; loads
 * connect to it from processes of their own (load.ts). What a system has not is left out.
 */
import type { Setting } from "../system.ts";

export const measures = {
  put: "put/s",
  cas: "compare-and-set/s",
  get: "get/s",
  lock: "lock + release/s",
  publish: "durable, one subscriber: messages/s",
  fanOut: "at most once: deliveries/s",
  published: "durable publish → there, p50 ms",
  emitted: "at most once → there, p50 ms",
} as const;
export type Measure = keyof typeof measures;
export const isMeasure = (name: string): name is Measure => Object.hasOwn(measures, name);

export type Server = {
  port: number;
  /** How often it has synced its log, in its own words; null: it does not count that, and was asked how it is set. */
  syncs(): Promise<number | null>;
  stop(): Promise<void>;
};

export type Messages = {
  publish(text: string): unknown;
  /** Resolves when everything that is published from now on will be heard. */
  subscribe(heard: (text: string) => void): Promise<void>;
};

export type Keys = {
  put(key: string, value: string): Promise<unknown>;
  /** Only if the key is as this side last put it; else it rejects. */
  replace(key: string, value: string): Promise<unknown>;
  get(key: string): Promise<string | null>;
};

/** A fencing token: a later holder of a name has a higher one. */
export type Held = { token: number; release(): Promise<unknown> };

export type Peer = {
  keys?: Keys;
  /** Rejects where somebody else has it. */
  lock?(name: string): Promise<Held>;
  /** Kept until the subscriber has acknowledged it. */
  durable?: Messages;
  /** To those who listen now. */
  volatile?: Messages;
  close(): unknown;
};

/** `topic`: where messages go, and the name of whatever keeps them; no other measure of the server has it. */
export type Place = { port: number; folder: string; topic: string };

export type System = {
  name: string;
  /** What is run, and what its settings come to; null: it has no such setting. */
  settings: Record<Setting, string | null>;
  /** What must be there; null: nothing. */
  program: string | null;
  /** Of a registry, with their versions; they are in the folder then. */
  packages: Record<string, string>;
  has: readonly Measure[];
  start(setting: Setting, folder: string): Promise<Server>;
  connect(place: Place): Promise<Peer>;
};
