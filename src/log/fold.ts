/**
 * Folding, over time: which images are kept, which generations wait to be folded into the next one, and which pieces
 * no image names any more. The newest image is where a start begins to read; the oldest, the base, lies under the
 * entries that are kept; those between are where the base moves to. Pure: it hands out what to write, the writer
 * commits it and says so.
 *
 * Only what the mark covers is folded: what it covers is never cut silently, so no image is ever newer than the log.
 */
import { encodeImage, type Image, type Piece } from "./format.ts";
import { Generation, type Place } from "./generation.ts";
import { type KeyedImage, Merge, newBench } from "./merge.ts";
import type { Write } from "./storage.ts";

/** `position`: how many bytes of entries' texts lie before its end, from where the log began when it was opened. */
export type KeptImage = { image: Image; position: number };

/** What to commit at once; the same again until it is done. `image`: the one that it completes. */
export type FoldStep = { write: Write; image: KeptImage | null };

/** Images this close to the one before are let go: of the history's bytes and of its age. */
export type Spacing = { bytes: number; ms: number };

/** Pieces that one step drops, at most. */
const droppedAtOnce = 32;

export class Fold {
  /** Oldest first; there is always one. */
  readonly #images: KeptImage[];
  readonly #waiting: Generation[] = [];
  #newest: KeyedImage;
  #merge: Merge | null = null;
  readonly #bench = newBench();
  /** Generations that were folded, to be used again. */
  readonly #spare: Generation[] = [];
  #step: FoldStep | null = null;
  #garbage: number[] = [];
  #nextId: number;

  /** `images`: oldest first, the newest of them with its keys. `pieceIds`: all that are there. */
  constructor(images: readonly KeptImage[], newest: KeyedImage, pieceIds: readonly number[]) {
    this.#images = [...images];
    this.#newest = newest;
    const named = new Set(images.flatMap(({ image }) => image.pieces.map(({ id }) => id)));
    this.#garbage = pieceIds.filter((id) => !named.has(id));
    this.#nextId = Math.max(0, ...pieceIds.slice(-1)) + 1;
  }

  get base(): KeptImage {
    return this.#images[0] as KeptImage;
  }

  get newest(): KeptImage {
    return this.#images.at(-1) as KeptImage;
  }

  get waitingBytes(): number {
    return this.#waiting.reduce((sum, { textBytes }) => sum + textBytes, 0);
  }

  get waitingChanges(): number {
    return this.#waiting.reduce((sum, { changeCount }) => sum + changeCount, 0);
  }

  /** What waits ends here. */
  get waitingUpto(): number {
    return this.#waiting.at(-1)?.place.upto ?? this.newest.image.upto;
  }

  /** Where the image ends that is next to be made, or is being made; -1: none is. */
  get nextUpto(): number {
    return this.#waiting[0]?.place.upto ?? -1;
  }

  /** Something is to do that can be done while the mark covers what lies up to `covered`. */
  canStep(covered: number): boolean {
    const [generation] = this.#waiting;
    return (
      this.#step !== null ||
      this.#garbage.length > 0 ||
      (generation !== undefined && generation.place.upto <= covered)
    );
  }

  push(generation: Generation): void {
    this.#waiting.push(generation);
  }

  /** An empty generation after `place`. */
  newGeneration(place: Place): Generation {
    const generation = this.#spare.pop() ?? new Generation(place);
    generation.clear(place);
    return generation;
  }

  /** Forgets the generations kept to be used again. */
  rest(): void {
    this.#spare.length = 0;
  }

  /**
   * Works for about `budget` bytes; what came of it is to be committed, also where that is nothing. `spacing`: null
   * where no image but the newest is kept.
   */
  async next(
    budget: number,
    spacing: Spacing | null,
    read: (piece: Piece) => Promise<Uint8Array>,
  ): Promise<FoldStep> {
    if (this.#step !== null) return this.#step;
    if (this.#garbage.length > 0) {
      this.#step = { write: { dropPieces: this.#garbage.slice(0, droppedAtOnce) }, image: null };
      return this.#step;
    }
    const generation = this.#waiting[0] as Generation;
    this.#merge ??= new Merge(generation, this.#newest, this.#nextId, this.#bench);
    const { pieces, image } = await this.#merge.step(budget, read);
    this.#nextId = this.#merge.nextId;
    const write: Write = pieces.length === 0 ? {} : { pieces };
    if (image === null) this.#step = { write, image: null };
    else {
      const position = this.newest.position + generation.textBytes;
      write.image = { upto: image.upto, text: encodeImage(image) };
      write.dropImages = this.#passed(spacing);
      this.#step = { write, image: { image, position } };
    }
    return this.#step;
  }

  /** The step is committed. */
  done({ write, image }: FoldStep): void {
    this.#step = null;
    if (write.dropPieces !== undefined) this.#garbage.splice(0, write.dropPieces.length);
    if (image === null) return;
    this.#images.push(image);
    this.#newest = image.image as KeyedImage;
    for (const upto of write.dropImages ?? []) this.drop(upto);
    this.#spare.push(this.#waiting.shift() as Generation);
    this.#merge = null;
  }

  /** Those that go when the next image comes: the newest so far, where it stands close to the one before. */
  #passed(spacing: Spacing | null): number[] {
    const { newest } = this;
    if (spacing === null) return [...this.older, newest.image.upto];
    const before = this.#images.at(-2);
    if (before === undefined) return [];
    const isFar =
      newest.position - before.position >= spacing.bytes || newest.image.at - before.image.at >= spacing.ms;
    return isFar ? [] : [newest.image.upto];
  }

  /** The one after the base. */
  get second(): KeptImage | undefined {
    return this.#images[1];
  }

  /** All but the newest. */
  get older(): number[] {
    return this.#images.slice(0, -1).map(({ image }) => image.upto);
  }

  /** The image's row is dropped; its pieces that no other names are to be. A piece lives from one image to another. */
  drop(upto: number): void {
    const at = this.#images.findIndex(({ image }) => image.upto === upto);
    const [dropped] = this.#images.splice(at, 1) as [KeptImage];
    const named = new Set<number>();
    for (const neighbour of [this.#images[at - 1], this.#images[at]])
      for (const { id } of neighbour?.image.pieces ?? []) named.add(id);
    for (const { id } of dropped.image.pieces) if (!named.has(id)) this.#garbage.push(id);
  }
}
