/**
 * The log's formats, as pure functions: how a batch is split into entries and changes, how it is checked and
 * chained to the one before, and the texts of the mark and the meta row. Everything recovery refuses is refused
 * here before it is written, so that no batch the log acknowledged can keep it from starting again. Nothing here
 * reads a clock, a file or a record's meaning.
 */
import { assert } from "../lib/assert.ts";
import type { Batch } from "./log.ts";

/** The newest version of what lies in a data folder. A newer one is refused, one older than the plain one migrated after a copy. */
export const formatVersion = 4;

/** What a folder begins with. In the later ones all of that is the same. */
export const plainFormat = 2;
/** The texts of large batches may be packed: from the first of them on. */
export const packedFormat = 3;
/** The last batches may stand in a journal beside the database: from when there is one. */
export const journaledFormat = 4;
export const isPresent = (format: number): boolean => format >= plainFormat && format <= formatVersion;

/** Texts from so many bytes on are packed where a storage can: a commit of megabytes costs ten times as much as packing them. */
export const isLarge = ({ length }: Uint8Array): boolean => length >= 1024 * 1024;

/** The hash before the first batch. */
export const firstHash = "0000000000000000";

export type Header = { revision: number; at: number; clock: number };

/** A record put, or deleted (text null). `id` is the part, a tab and the key. */
export type Change = { id: string; text: string | null };

/** A batch whose text is UTF-8 already. */
export type EncodedBatch = { first: number; last: number; bytes: Uint8Array };

/** `hash`: of this batch's text, seeded with the hash of the batch before it. */
export type ChainedBatch = EncodedBatch & { hash: string };

/**
 * One batch as it is written. Its bytes are never made a string: megabytes of new memory a second. `checks`: eight hex digits an
 * entry: which entry is damaged, where the hash only says that one of the batch is.
 */
export type NewRow = ChainedBatch & { checks: string };
/** One batch as it was read. */
export type LogRow = Omit<NewRow, "bytes"> & { text: string };

const hex = (value: number | bigint, digits: number) => value.toString(16).padStart(digits, "0");

const checkOf = (text: string) => hex(Bun.hash.crc32(text), 8);

/** xxHash64, because Bun's xxHash3 reads only the lower half of its seed: half a chain is no chain. */
export function chainHash(previous: string, text: string | Uint8Array): string {
  return hex(Bun.hash.xxHash64(text, BigInt(`0x${previous}`)), 16);
}

/** Entries begin at the lines that start with "@". */
export function splitEntries(text: string): string[] {
  const entries: string[] = [];
  let start = 0;
  while (start < text.length) {
    const next = text.indexOf("\n@", start);
    const end = next < 0 ? text.length : next + 1;
    entries.push(text.slice(start, end));
    start = end;
  }
  return entries;
}

export function readHeader(entry: string): Header {
  const [revision, at, clock] = entry.slice(1, entry.indexOf("\n")).split("\t", 3);
  return { revision: Number(revision), at: Number(at), clock: Number(clock) };
}

/** The header of a batch's last entry. */
export function lastHeader(text: string): Header {
  return readHeader(text.slice(text.lastIndexOf("\n@") + 1));
}

export function lastHeaderOf({ bytes }: EncodedBatch): Header {
  const buffer = bufferOf(bytes);
  const start = buffer.lastIndexOf(entryStart, bytes.length, "latin1") + 1;
  return readHeader(buffer.toString("latin1", start, buffer.indexOf(newline, start) + 1));
}

const bufferOf = ({ buffer, byteOffset, byteLength }: Uint8Array) =>
  Buffer.from(buffer, byteOffset, byteLength);
const entryStart = "\n@";
const [newline, tab, headerSign, zero] = [10, 9, 64, 48];

/** Where entries start, and where the last one ends. As splitEntries() does it. */
function boundsOf(bytes: Uint8Array): number[] {
  const buffer = bufferOf(bytes);
  const bounds = [0];
  for (let at = 0; at < bytes.length; ) {
    const next = buffer.indexOf(entryStart, at, "latin1");
    at = next < 0 ? bytes.length : next + 1;
    bounds.push(at);
  }
  return bounds;
}

/** What stands between an entry's sign and its first tab; NaN where that is no number. */
function revisionAt(bytes: Uint8Array, start: number): number {
  let revision = bytes[start + 1] === tab ? Number.NaN : 0;
  for (let at = start + 1; bytes[at] !== tab; at++) {
    const digit = (bytes[at] ?? 0) - zero;
    if (digit < 0 || digit > 9) return Number.NaN;
    revision = revision * 10 + digit;
  }
  return revision;
}

/** The changes of one entry or of a whole batch, in their order. */
export function readChanges(text: string): Change[] {
  const changes: Change[] = [];
  let start = 0;
  while (start < text.length) {
    const end = text.indexOf("\n", start);
    assert(end >= 0, "every line of a batch ends");
    const sign = text[start];
    if (sign === "+") {
      const keyAt = text.indexOf("\t", start) + 1;
      const textAt = text.indexOf("\t", keyAt) + 1;
      assert(keyAt > 0 && textAt > 0 && textAt <= end, "a put has a part, a key and a text");
      changes.push({ id: text.slice(start + 1, textAt - 1), text: text.slice(textAt, end) });
    } else if (sign === "-") {
      const id = text.slice(start + 1, end);
      const tab = id.indexOf("\t");
      assert(tab >= 0 && id.indexOf("\t", tab + 1) < 0, "a delete has a part and a key");
      changes.push({ id, text: null });
    } else assert(sign === "@", "a line is a header, a put or a delete");
    start = end + 1;
  }
  return changes;
}

function encoded(batch: Batch | EncodedBatch): EncodedBatch {
  if ("bytes" in batch) return batch;
  const { first, last, text } = batch;
  // What is not well-formed would come back changed: storages keep UTF-8.
  assert(text.isWellFormed(), `the batch ${first}–${last} is not well-formed Unicode`);
  return { first, last, bytes: Buffer.from(text) };
}

export function encodeBatch(previousHash: string, batch: Batch | EncodedBatch): NewRow {
  const { first, last, bytes } = encoded(batch);
  const bounds = soundBounds({ first, last, bytes });
  return { first, last, bytes, checks: checksOf(bytes, bounds), hash: chainHash(previousHash, bytes) };
}

/** All of it that makes a batch safe: what is left says where damage is. */
export function chainBatch(previousHash: string, batch: EncodedBatch): ChainedBatch {
  soundBounds(batch);
  return { ...batch, hash: chainHash(previousHash, batch.bytes) };
}

/** The bounds of a batch's entries, which are as they should be. */
function soundBounds(batch: EncodedBatch): number[] {
  const { first, last, bytes } = batch;
  const bounds = boundsOf(bytes);
  const problem = entriesProblem(batch, bytes, bounds);
  assert(problem === null, `the batch ${first}–${last} is malformed: ${problem}`);
  return bounds;
}

/** As hex of all at once: a text for each costs more than its checksum. */
function checksOf(bytes: Uint8Array, bounds: readonly number[]): string {
  const checks = Buffer.alloc((bounds.length - 1) * 4);
  for (let i = 1; i < bounds.length; i++)
    checks.writeUInt32BE(Bun.hash.crc32(bytes.subarray(bounds[i - 1], bounds[i])), (i - 1) * 4);
  return checks.toString("hex");
}

/**
 * What is wrong with a batch as it was read, or null. A text with the chain's hash is the text that encodeBatch let
 * through, so only the revisions beside it are compared; entries are looked at one by one to say where the damage is.
 */
export function rowProblem(previousHash: string, row: LogRow): string | null {
  const { first, last, text, checks } = row;
  if (row.hash === chainHash(previousHash, text) && text !== "") {
    if (readHeader(text).revision !== first) return `the first entry is ${readHeader(text).revision}`;
    if (lastHeader(text).revision !== last)
      return `the last entry is ${lastHeader(text).revision}, not ${last}`;
    return null;
  }
  const bytes = Buffer.from(text);
  const bounds = boundsOf(bytes);
  const found = checksOf(bytes, bounds);
  if (found === checks)
    return entriesProblem(row, bytes, bounds) ?? "it does not chain to what stands before it";
  const wrong = bounds.findIndex((_, i) => checks.slice(i * 8, i * 8 + 8) !== found.slice(i * 8, i * 8 + 8));
  if (wrong === bounds.length - 1) return "entries are missing";
  const after = wrong === 0 ? "the batch's start" : `entry ${revisionAt(bytes, bounds[wrong - 1] as number)}`;
  return `the entry after ${after} has a wrong checksum`;
}

/** Every entry has a header, and their revisions grow from the batch's first to its last. */
function entriesProblem(
  { first, last }: { first: number; last: number },
  bytes: Uint8Array,
  bounds: readonly number[],
): string | null {
  let revision = first - 1;
  for (let i = 1; i < bounds.length; i++) {
    const [start, end] = [bounds[i - 1] as number, bounds[i] as number];
    const found = revisionAt(bytes, start);
    if (bytes[start] !== headerSign || bytes[end - 1] !== newline || !Number.isSafeInteger(found)) {
      return `the entry after ${i === 1 ? "the batch's start" : `entry ${revision}`} has no proper header`;
    }
    if (found <= revision) return `entry ${found} stands after entry ${revision}`;
    if (i === 1 && found !== first) return `the first entry is ${found}`;
    revision = found;
  }
  return revision === last ? null : `the last entry is ${revision}, not ${last}`;
}

/** The high-water mark: what a finished sync is known to cover, and the revisions that may have left. */
export type Mark = { revision: number; hash: string; ceiling: number; sequence: number };

/** Every slot's text has this length, so that writing one never changes the size of its file. */
export const markTextLength = 128;

export function encodeMark(mark: Mark): string {
  const body = `cortex-mark ${plainFormat} ${mark.sequence} ${mark.revision} ${mark.hash} ${mark.ceiling}`;
  return `${`${body} ${checkOf(body)}`.padEnd(markTextLength - 1)}\n`;
}

export function decodeMark(text: string): Mark | null {
  const body = text.trimEnd();
  const cut = body.lastIndexOf(" ");
  if (text.length !== markTextLength || cut < 0 || checkOf(body.slice(0, cut)) !== body.slice(cut + 1))
    return null;
  const [name, , sequence, revision, hash, ceiling] = body.split(" ");
  if (name !== "cortex-mark" || hash === undefined) return null;
  return { revision: Number(revision), hash, ceiling: Number(ceiling), sequence: Number(sequence) };
}

/** The newest slot that is whole; null when neither is. */
export function newestMark(slots: readonly string[]): Mark | null {
  let newest: Mark | null = null;
  for (const slot of slots) {
    const mark = decodeMark(slot);
    if (mark !== null && (newest === null || mark.sequence > newest.sequence)) newest = mark;
  }
  return newest;
}

export type Meta = {
  format: number;
  /** A snapshot keeps no entries. */
  isSnapshot: boolean;
};

export const firstMeta: Meta = { format: plainFormat, isSnapshot: false };

/** A part of an image: lines that put records, in the order of their keys. Written once, and never changed. */
export type Piece = { id: number; bytes: number; check: string };

/** The state at a revision, as pieces; images that follow each other share those that did not change between them. */
export type Image = {
  upto: number;
  /** The chain's hash, wall and lease clock of the last entry in it. */
  hash: string;
  at: number;
  clock: number;
  pieces: Piece[];
};

export const firstImage: Image = { upto: 0, hash: firstHash, at: 0, clock: 0, pieces: [] };

/** xxHash64 of a piece's bytes. */
export function pieceCheck(bytes: Uint8Array): string {
  return hex(Bun.hash.xxHash64(bytes), 16);
}

/** A line for the image, one a piece, and before them the hash of all that follows. */
export function encodeImage({ upto, hash, at, clock, pieces }: Image): string {
  let body = `${upto} ${hash} ${at} ${clock}\n`;
  for (const { id, bytes, check } of pieces) body += `${id} ${bytes} ${check}\n`;
  return `${chainHash(firstHash, body)} ${body}`;
}

/** Null when it is not as it was written. */
export function decodeImage(text: string): Image | null {
  const body = text.slice(17);
  if (chainHash(firstHash, body) !== text.slice(0, 16)) return null;
  const [head, ...lines] = body.slice(0, -1).split("\n");
  const [upto, hash, at, clock] = (head as string).split(" ");
  const pieces = lines.map((line): Piece => {
    const [id, bytes, check] = line.split(" ");
    return { id: Number(id), bytes: Number(bytes), check: check as string };
  });
  return { upto: Number(upto), hash: hash as string, at: Number(at), clock: Number(clock), pieces };
}

export function encodeMeta(meta: Meta): string {
  const body = JSON.stringify(meta);
  return `${checkOf(body)} ${body}`;
}

/** The format alone, which every version can read of every other; null when even that cannot be read. */
export function formatOf(text: string): number | null {
  try {
    const format: unknown = JSON.parse(text.slice(text.indexOf(" ") + 1)).format;
    return typeof format === "number" ? format : null;
  } catch {
    return null;
  }
}

export function decodeMeta(text: string): Meta | null {
  const body = text.slice(9);
  return checkOf(body) === text.slice(0, 8) ? (JSON.parse(body) as Meta) : null;
}
