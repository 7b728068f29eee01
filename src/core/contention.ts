/**
 * Who is in whose way: bids for names, each for all of its names at once. A bid is *open* when no earlier bid, held or
 * waiting, is in its way; opening is what makes a lock held. Nothing else decides, so nobody holds a part of what it
 * asked for, nobody overtakes what it would keep waiting, and there is no circle that could wait for itself.
 *
 * A name that ends in a slash is a folder and covers all below it. Every conflict of two bids is at the higher of their
 * two names, so a bid also leaves a word at each folder above its own: that something below is shared, or exclusive.
 * At each name the bids stand in a line a mode. A bid is open there when it comes before the first of each line that
 * conflicts with its own; so the open ones are the first of their line, and a place is passed once, however many wait.
 * Which lines have somebody in them is one number a name, so that where nobody is in the way nothing is looked at.
 */
import { Sorted } from "../lib/sorted.ts";

/** What a bid says at one name: of the name itself, and of what lies below it. */
const sharedBelow = 0;
const exclusiveBelow = 1;
const shared = 2;
/** Of a folder that is shared as a whole, while something below it is taken exclusively by the same bid. */
const sharedAndBelow = 3;
const exclusive = 4;
type Mode = 0 | 1 | 2 | 3 | 4;

/** Modes, a bit each. */
const setOf = (...modes: readonly Mode[]): number =>
  modes.reduce<number>((bits, mode) => bits | (1 << mode), 0);
const conflicts: readonly number[] = [
  setOf(exclusive),
  setOf(shared, sharedAndBelow, exclusive),
  setOf(exclusiveBelow, sharedAndBelow, exclusive),
  setOf(exclusiveBelow, shared, sharedAndBelow, exclusive),
  setOf(sharedBelow, exclusiveBelow, shared, sharedAndBelow, exclusive),
];
/** Of those who bid for the name itself, whatever else below it. */
const ofItself = setOf(shared, sharedAndBelow, exclusive);
/** The weakest that says as much as both. */
const joined = (a: Mode, b: Mode): Mode => {
  if (a === b) return a;
  const [low, high] = a < b ? [a, b] : [b, a];
  return low === exclusiveBelow && high === shared ? sharedAndBelow : high;
};

export type Wish = {
  readonly name: string;
  readonly mode: "exclusive" | "shared";
  /** Of a shared one: how many there may be at most; 0: there is no limit. */
  readonly limit: number;
};
export type Part = { readonly name: string; readonly mode: Mode; readonly limit: number };

/** A wish for each name, and a word at each folder above. */
export function partsOf(wishes: readonly Wish[]): readonly Part[] {
  const parts: Part[] = [];
  for (let i = 0; i < wishes.length; i++) addParts(parts, wishes[i] as Wish);
  // A name and the folders above it: nothing of that is twice.
  if (wishes.length === 1) return parts;
  const joint = new Map<string, Part>();
  for (const part of parts) {
    const { name } = part;
    const known = joint.get(name);
    if (known === undefined) joint.set(name, part);
    else {
      const mode = joined(known.mode, part.mode);
      joint.set(name, { name, mode, limit: mode === shared ? known.limit || part.limit : 0 });
    }
  }
  return [...joint.values()];
}

function addParts(parts: Part[], wish: Wish): void {
  parts.push(partOf(wish));
  const { name } = wish;
  const mode = wish.mode === "exclusive" ? exclusiveBelow : sharedBelow;
  for (let end = name.indexOf("/"); end >= 0 && end < name.length - 1; end = name.indexOf("/", end + 1))
    parts.push({ name: name.slice(0, end + 1), mode, limit: 0 });
}

const partOf = ({ name, mode, limit }: Wish): Part => ({
  name,
  mode: mode === "exclusive" ? exclusive : shared,
  limit,
});

/** One who bids: a total order by `revision` and `number`, which is never changed. */
export class Bid {
  /** The first of its places. */
  places: Place | null = null;
  /** At how many of its names something is in its way. */
  shutCount = 0;

  constructor(
    readonly revision: number,
    readonly number: number,
  ) {}

  get isOpen(): boolean {
    return this.shutCount === 0;
  }
}

const before = (a: Bid, b: Bid) =>
  a.revision < b.revision || (a.revision === b.revision && a.number < b.number);

/** A bid in one of the lines at a name. */
class Place {
  previous: Place | null = null;
  next: Place | null = null;
  /** The next of the same bid. */
  other: Place | null = null;
  isOpen = false;

  constructor(
    readonly bid: Bid,
    readonly line: Line,
    readonly limit: number,
  ) {}
}

/** The bids of one mode at one name, in their order; those that are open come first. */
class Line {
  first: Place | null = null;
  last: Place | null = null;
  /** The first that is not open. */
  shut: Place | null = null;
  openCount = 0;
  /** The limits of those that are open, and how many have each; null: none had one yet, as most have not. */
  limits: Map<number, number> | null = null;

  constructor(
    readonly spot: Spot,
    readonly mode: Mode,
    /** The next of the same name. */
    public other: Line | null,
  ) {}

  /** Puts it where it belongs, shut, and all behind it with it: those are told to `changed`. */
  add(place: Place, changed: (bid: Bid) => void): void {
    let previous = this.last;
    while (previous !== null && before(place.bid, previous.bid)) previous = previous.previous;
    const next = previous === null ? this.first : previous.next;
    while (next?.isOpen) changed(this.shutLast().bid);
    place.previous = previous;
    place.next = next;
    if (previous === null) this.first = place;
    else previous.next = place;
    if (next === null) this.last = place;
    else next.previous = place;
    if (previous === null || previous.isOpen) this.shut = place;
    place.bid.shutCount += 1;
  }

  delete(place: Place): void {
    const { previous, next } = place;
    if (place.isOpen) this.#count(place, -1);
    else place.bid.shutCount -= 1;
    if (this.shut === place) this.shut = next;
    if (previous === null) this.first = next;
    else previous.next = next;
    if (next === null) this.last = previous;
    else next.previous = previous;
  }

  get lastOpen(): Place | null {
    return this.shut === null ? this.last : this.shut.previous;
  }

  openFirst(): void {
    const place = this.shut as Place;
    place.isOpen = true;
    place.bid.shutCount -= 1;
    this.shut = place.next;
    this.#count(place, 1);
  }

  shutLast(): Place {
    const place = this.lastOpen as Place;
    place.isOpen = false;
    place.bid.shutCount += 1;
    this.shut = place;
    this.#count(place, -1);
    return place;
  }

  /** Whether so many may be open beside one of this limit. */
  admits(count: number, limit: number): boolean {
    if (limit > 0 && count > limit) return false;
    if (this.limits !== null) for (const one of this.limits.keys()) if (count > one) return false;
    return true;
  }

  #count({ limit }: Place, by: number): void {
    this.openCount += by;
    if (limit === 0) return;
    this.limits ??= new Map();
    const count = (this.limits.get(limit) ?? 0) + by;
    if (count === 0) this.limits.delete(limit);
    else this.limits.set(limit, count);
  }
}

/** A name for which somebody bids, or a folder above one. */
class Spot {
  /** The first of its lines, which stand by mode. */
  #lines: Line | null = null;
  /** The modes in whose lines somebody stands. */
  taken = 0;

  constructor(readonly name: string) {}

  find(mode: Mode): Line | null {
    let line = this.#lines;
    while (line !== null && line.mode !== mode) line = line.other;
    return line;
  }

  /** The line of this mode, which is made if there was none. */
  line(mode: Mode): Line {
    let previous: Line | null = null;
    let next = this.#lines;
    while (next !== null && next.mode < mode) {
      previous = next;
      next = next.other;
    }
    if (next?.mode === mode) return next;
    const line = new Line(this, mode, next);
    if (previous === null) this.#lines = line;
    else previous.other = line;
    return line;
  }

  /** The first, if it comes before the bid, of a line that conflicts with the mode. */
  inTheWay(mode: Mode, bid: Bid | null): Bid | null {
    const others = this.taken & (conflicts[mode] as number);
    if (others === 0) return null;
    for (let line = this.#lines; line !== null; line = line.other) {
      if ((others & (1 << line.mode)) === 0) continue;
      const first = (line.first as Place).bid;
      if (bid === null || before(first, bid)) return first;
    }
    return null;
  }

  /** Somebody came to a line or left it. */
  settle(changed: Line, told: (bid: Bid) => void): void {
    this.#settle(changed, told);
    const others = this.taken & (conflicts[changed.mode] as number) & ~(1 << changed.mode);
    if (others === 0) return;
    for (let line = this.#lines; line !== null; line = line.other)
      if ((others & (1 << line.mode)) !== 0) this.#settle(line, told);
  }

  /** Opens what may be open in a line, and shuts what may not; tells of each bid that opened or shut. */
  #settle(line: Line, told: (bid: Bid) => void): void {
    const { mode } = line;
    for (let last = line.lastOpen; last !== null; last = line.lastOpen) {
      if (this.inTheWay(mode, last.bid) === null && line.admits(line.openCount, 0)) break;
      line.shutLast();
      told(last.bid);
    }
    for (let next = line.shut; next !== null; next = line.shut) {
      if (this.inTheWay(mode, next.bid) !== null || !line.admits(line.openCount + 1, next.limit)) break;
      line.openFirst();
      told(next.bid);
    }
  }
}

export class Contention {
  readonly #spots = new Map<string, Spot>();
  /** The names that are bid for themselves. */
  readonly names = new Sorted();

  /** `changed` hears of bids that may have opened or shut, some of them more than once. */
  constructor(private readonly changed: (bid: Bid) => void) {}

  /** For checks: names that somebody bids for, and folders above them. */
  get size(): number {
    return this.#spots.size;
  }

  add(bid: Bid, parts: readonly Part[]): void {
    let last: Place | null = null;
    for (let i = 0; i < parts.length; i++) {
      const { name, mode, limit } = parts[i] as Part;
      let spot = this.#spots.get(name);
      if (spot === undefined) {
        spot = new Spot(name);
        this.#spots.set(name, spot);
      }
      const line = spot.line(mode);
      const place = new Place(bid, line, limit);
      if (last === null) bid.places = place;
      else last.other = place;
      last = place;
      line.add(place, this.changed);
      const { taken } = spot;
      spot.taken = taken | (1 << mode);
      if ((taken & ofItself) === 0 && (spot.taken & ofItself) !== 0) this.names.add(name);
      spot.settle(line, this.changed);
    }
  }

  delete(bid: Bid): void {
    for (let place = bid.places; place !== null; place = place.other) {
      const { line } = place;
      const { spot, mode } = line;
      line.delete(place);
      if (line.first === null) {
        const { taken } = spot;
        spot.taken = taken & ~(1 << mode);
        if ((taken & ofItself) !== 0 && (spot.taken & ofItself) === 0) this.names.delete(spot.name);
      }
      if (spot.taken === 0) this.#spots.delete(spot.name);
      else spot.settle(line, this.changed);
    }
    bid.places = null;
  }

  /** One that would be in the way of a new bid, and at which name; null: nobody would. */
  inTheWay(parts: readonly Part[]): { bid: Bid; name: string } | null {
    for (let i = 0; i < parts.length; i++) {
      const { name, mode, limit } = parts[i] as Part;
      const spot = this.#spots.get(name);
      if (spot === undefined) continue;
      const other = spot.inTheWay(mode, null);
      if (other !== null) return { bid: other, name };
      const line = spot.find(mode);
      if (line === null) continue;
      if (line.shut !== null) return { bid: line.shut.bid, name };
      if (!line.admits(line.openCount + 1, limit)) return { bid: (line.first as Place).bid, name };
    }
    return null;
  }

  /** One that is in the way of this bid; null: it is open. */
  before(bid: Bid): Bid | null {
    for (let place = bid.places; place !== null; place = place.other)
      if (!place.isOpen) {
        const { spot, mode, first } = place.line;
        return spot.inTheWay(mode, bid) ?? (first as Place).bid;
      }
    return null;
  }

  /** The revision of the newest bid for exactly this name; 0: there is none. */
  newestAt(name: string): number {
    const spot = this.#spots.get(name);
    const newestOf = (mode: Mode) => spot?.find(mode)?.last?.bid.revision ?? 0;
    return Math.max(newestOf(shared), newestOf(sharedAndBelow), newestOf(exclusive));
  }

  /** Those that bid for exactly this name, in their order; or of them those that nothing here is in the way of. */
  *at(name: string, onlyOpen = false): Iterable<Bid> {
    const spot = this.#spots.get(name);
    if (spot === undefined) return;
    const shown = (place: Place | null) => (onlyOpen && place?.isOpen === false ? null : place);
    const heads = ([shared, sharedAndBelow, exclusive] as const).map((mode) =>
      shown(spot.find(mode)?.first ?? null),
    );
    for (;;) {
      let first = -1;
      for (const [i, head] of heads.entries())
        if (head !== null && (first < 0 || before(head.bid, (heads[first] as Place).bid))) first = i;
      if (first < 0) return;
      yield (heads[first] as Place).bid;
      heads[first] = shown((heads[first] as Place).next);
    }
  }
}
