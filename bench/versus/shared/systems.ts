/** All of them, by the names that `--only` takes. */
import { cortexd, frames } from "./cortexd.ts";
import { etcd } from "./etcd.ts";
import { nats } from "./nats.ts";
import { redis } from "./redis.ts";
import type { System } from "./system.ts";

export const systems = { cortexd, frames, redis, nats, etcd } satisfies Record<string, System>;
export type SystemName = keyof typeof systems;
