/** Keys on the wire: a value under a name, changed by comparing revisions, gone by time or with its worker. */
import { type Static, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";
import {
  At,
  Closed,
  DurationMs,
  Integer,
  Json,
  keyPattern,
  Moment,
  Name,
  Nullable,
  Revision,
} from "./schema.ts";

export const KeyName = (description: string) =>
  Type.String({ pattern: keyPattern, minLength: 1, maxLength: limits.keyLengthMax, description });

const key = KeyName("The key. Slashes make folders of keys, which are listed and watched by prefix.");

const standing = {
  key: Type.String(),
  revision: Revision("The entry of its last change: what the next change may compare."),
  createdRevision: Revision("The entry that made it."),
  version: Type.Integer({ description: "Changes since it was made, that one included: 1 is new." }),
  expiresAt: Nullable(Moment("It is gone from then on (ms since 1970, UTC); null: it stays.")),
  workerId: Nullable(Type.String({ description: "It is gone with this worker; null: it is nobody's." })),
};

/** A key without its value. */
export const KeyStanding = Closed(standing);
export type KeyStanding = Static<typeof KeyStanding>;

export const Key = Closed({ ...standing, value: Json("Any JSON value.") });
export type Key = Static<typeof Key>;

export const KvGet = Closed({ key });

export const KvGetMany = Closed({
  keys: Type.Array(key, {
    minItems: 1,
    maxItems: limits.pageMax,
    description: "The keys, which need not be there.",
  }),
});
export const KeysFound = Closed({
  keys: Type.Array(Nullable(Key), { description: "In the order asked; null where there is no such key." }),
});

const ifRevision = Type.Optional(
  Revision("Only if this is the key's revision; 0: only if there is no such key."),
);

export const KvPut = Closed({
  key,
  value: Json(
    `Any JSON value of at most ${limits.payloadBytesMax / 1024 / 1024} MiB, kept as it is and never merged.`,
  ),
  ttlMs: Type.Optional(DurationMs("It is gone after this long.", 1)),
  expiresAt: Type.Optional(At("It is gone from then on (ms since 1970, UTC). Not with ttlMs.")),
  workerId: Type.Optional(
    Name(
      "The key is this worker's: the entry that has the worker offline or gone deletes it. So has a new instance of it.",
    ),
  ),
  ifRevision,
});
export type KvPut = Static<typeof KvPut>;

export const KvDelete = Closed({ key, ifRevision });
export const KeyDeleted = Closed({
  key: Type.String(),
  deletedRevision: Revision("The revision it had."),
});

export const KvIncrement = Closed({
  key,
  by: Type.Optional(
    Integer(
      Number.MIN_SAFE_INTEGER,
      Number.MAX_SAFE_INTEGER,
      "What is added; below 0: taken away. Default 1.",
    ),
  ),
  ttlMs: Type.Optional(
    DurationMs("A counter that this makes is gone after this long; one that is there keeps its time.", 1),
  ),
});
export const Counter = Closed({ ...standing, value: Type.Integer({ description: "What it counts now." }) });
export type Counter = Static<typeof Counter>;

export const KvList = Closed({
  prefix: Type.Optional(
    Type.String({
      pattern: keyPattern,
      maxLength: limits.keyLengthMax,
      description: "Only keys that begin so. Default: all.",
    }),
  ),
  keysOnly: Type.Optional(Type.Boolean({ description: "Without the values." })),
  cursor: Type.Optional(KeyName("From the page before.")),
  limit: Type.Optional(Integer(1, limits.pageMax, "Keys on the page. Default 100.")),
});
export const KeyListed = Closed({ ...standing, value: Type.Optional(Json("The value, unless keysOnly.")) });
export type KeyListed = Static<typeof KeyListed>;
export const KeyPage = Closed({
  keys: Type.Array(KeyListed, { description: "In the order of their characters." }),
  cursor: Nullable(
    Type.String({
      description:
        "Send it to get the next page; null: there is none. A page of large values is short of `limit` and still has a next one.",
    }),
  ),
});
export type KeyPage = Static<typeof KeyPage>;
