/**
 * The small schemas every primitive shares. Plain TypeBox, so that a client needs no server library.
 * Objects are closed: an unknown field is a mistake and is refused, never ignored.
 */
import { type TProperties, type TSchema, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";

/** A name: starts with a letter, digit or underscore; never a key that JavaScript treats specially. */
export const namePattern = "^(?!(?:__proto__|constructor|prototype)$)[A-Za-z0-9_][A-Za-z0-9._:@/+-]*$";

/** How a name may begin. */
export const namePartPattern = "^([A-Za-z0-9_][A-Za-z0-9._:@/+-]*)?$";

/** A namespace's name is a folder's too, on file systems that do not tell cases apart, and stands in headers. */
export const namespacePattern = "^[a-z0-9][a-z0-9_-]*$";

/** A task's id: the revision of the entry that made it, and its number in that entry. */
export const taskIdPattern = "^[0-9]{1,16}-[0-9]{1,6}$";

/** A lock's id: the revision of the entry that asked for it, and its number in that entry. */
export const lockIdPattern = taskIdPattern;

/** A place among a task's dependencies: how many of `after` were read, or the last child. */
export const dependencyCursorPattern = "^[0-9]{1,16}(-[0-9]{1,6})?$";
/** A key: what is printed in ASCII, without spaces, and without the two characters that JSON would escape. */
export const keyPattern = "^[!#-\\[\\]-~]*$";

const topicToken = "[A-Za-z0-9_:@/+=~-]+";
/** Where a message is published: tokens with dots between them. */
export const topicPattern = `^${topicToken}(\\.${topicToken}){0,15}$`;
/** Which topics a subscription is for: \`*\` for one token, \`>\` at the end for one or more. */
export const topicPatternPattern = `^(>|(\\*|${topicToken})(\\.(\\*|${topicToken})){0,15}(\\.>)?)$`;

/** A worker, or all of them. */
export const addresseePattern = `^(\\*$|${namePattern.slice(1)})`;
/** A message's id: the revision of the entry that made it, and its number in that entry. */
export const messageIdPattern = "^[0-9]{1,16}-[0-9]{1,6}$";
/** A subscription that lasts: a name, or a worker's own inbox. */
export const subscriptionPattern = namePattern.replace(")$)", ")$)(\\$worker\\.)?");
/** W3C Trace Context: version, trace, span, flags; neither id may be nothing. */
export const traceparentPattern =
  "^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$";
export const tracestatePattern = "^[ -~]*$";

/** How a time is written in a URL: 500ms, 30s, 2m. */
export const waitPattern = "^[0-9]{1,9}(ms|s|m)$";

/** What a cron pattern is written with; a colon would make it a date. */
export const cronPattern = "^[0-9A-Za-z@*/,#?+ -]+$";

/** What may make a task unique: a part of the submit, or a JSON pointer into the payload. */
export const uniquePartPattern = "^(queue|type|group|payload|(/([^~/]|~[01])*)+)$";
/** A label by its key, or by its key and value. */
export const labelFilterPattern = `${namePattern.replace("*$", `{0,${limits.nameLengthMax - 1}}`)}(=[\\s\\S]*)?$`;

/** A place in the archive: when a task ended, and its id, which may be left out. */
export const archiveCursorPattern = "^[0-9]{1,16}/([0-9]{1,16}-[0-9]{1,6})?$";

/** A place in a table's pages: the number of a shard, and the last key that was read there. */
export const pageCursorPattern = "^([0-9]|[1-5][0-9]|6[0-3])/";

export const Name = (description: string) =>
  Type.String({ pattern: namePattern, minLength: 1, maxLength: limits.nameLengthMax, description });

export const NamespaceName = (description: string) =>
  Type.String({
    pattern: namespacePattern,
    minLength: 1,
    maxLength: limits.namespaceLengthMax,
    description,
  });

const namespaceName = new RegExp(namespacePattern);
export const isNamespace = (text: string) =>
  namespaceName.test(text) && text.length <= limits.namespaceLengthMax;

export const Integer = (minimum: number, maximum: number, description: string) =>
  Type.Integer({ minimum, maximum, description });

export const DurationMs = (description: string, minimum = 0) =>
  Integer(minimum, limits.durationMsMax, description);

/** A moment: milliseconds since 1970 (UTC). */
export const Moment = (description: string) => Type.Integer({ minimum: 0, description });

/** A moment that is chosen by hand. */
export const At = (description: string) => Integer(1, limits.momentMax, description);

export const Revision = (description: string) => Type.Integer({ minimum: 0, description });

/** Any JSON value; checked for size and depth by hand, never merged into anything. */
export const Json = (description: string) => Type.Unknown({ description });

export const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const Closed = <T extends TProperties>(properties: T, options: { description?: string } = {}) =>
  Type.Object(properties, { additionalProperties: false, ...options });

/** Of a record's keys only the pattern is looked at, so the length stands in it. */
export const labelPattern = namePattern.replace("*$", `{0,${limits.nameLengthMax - 1}}$`);

export const Labels = (description: string) =>
  Type.Record(Type.String({ pattern: labelPattern }), Type.String({ maxLength: limits.nameLengthMax }), {
    additionalProperties: false,
    maxProperties: limits.labelsMax,
    description,
  });

export const WorkerLabels = (description: string) =>
  Type.Record(
    Type.String({ pattern: labelPattern }),
    Type.Union([Type.String({ maxLength: limits.nameLengthMax }), Type.Number(), Type.Boolean()]),
    { additionalProperties: false, maxProperties: limits.labelsMax, description },
  );

export const Names = (description: string) =>
  Type.Array(Name("One name."), { maxItems: limits.labelsMax, uniqueItems: true, description });
