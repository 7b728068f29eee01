/**
 * What tasks ask and workers offer. Each single thing that some waiting task asks of a worker (a capability, a
 * requirement, a preference) is an atom, shared by all lanes that ask it; workers that meet the same atoms are alike
 * (crews.ts), whatever else they offer. So a label that nobody asks about costs nothing, were it different in every
 * worker; and one that is asked about splits the workers by the answer, not by its value.
 */
import { type LabelValue, meets, type Requirement, readRequirement } from "../wire/requirements.ts";
import type { WorkerRecord } from "./workers.ts";

/** What a task asks of a worker. */
export type Needs = {
  readonly queue: string;
  readonly kind: string | null;
  readonly capabilities: readonly string[];
  /** Texts in their one spelling. */
  readonly requires: readonly string[];
  readonly prefers: readonly string[];
  readonly slots: number;
};

/** Tasks of a queue with the same key ask the same of a worker. */
export const laneKey = ({ kind, capabilities, requires, prefers, slots }: Needs): string =>
  `${kind ?? ""}\n${slots}\n${capabilities.join("\n")}\t${requires.join("\n")}\t${prefers.join("\n")}`;
export const isPlain = ({ kind, capabilities, requires, prefers, slots }: Needs): boolean =>
  kind === null && capabilities.length + requires.length + prefers.length === 0 && slots === 1;

/** Texts that were read lately. They belong to the process: reading one again gives the same. */
const readMax = 4096;
const read = new Map<string, Requirement>();

/** The requirement of a text that was checked when it came. */
export function requirementOf(text: string): Requirement {
  let known = read.get(text);
  if (known === undefined) {
    if (read.size === readMax) read.clear();
    known = readRequirement(text) as Requirement;
    read.set(text, known);
  }
  return known;
}

const nothing: readonly LabelValue[] = [];

/** What one worker offers. */
export class Offer {
  readonly capabilities = new Set<string>();
  readonly #values = new Map<string, LabelValue[]>();

  constructor({ capabilities, labels }: WorkerRecord) {
    for (const [name, value] of Object.entries(labels)) this.#values.set(name, [value]);
    for (const one of capabilities) {
      this.capabilities.add(one);
      const at = one.lastIndexOf("@");
      if (at > 0) this.capabilities.add(one.slice(0, at));
      this.#add(one, true);
      if (at > 0) this.#add(one.slice(0, at), one.slice(at + 1));
    }
  }

  #add(name: string, value: LabelValue): void {
    const values = this.#values.get(name);
    if (values === undefined) this.#values.set(name, [value]);
    else values.push(value);
  }

  /** Everything offered under a name. */
  valuesOf(name: string): readonly LabelValue[] {
    return this.#values.get(name) ?? nothing;
  }

  meets(text: string): boolean {
    const requirement = requirementOf(text);
    return meets(requirement, this.valuesOf(requirement.name));
  }
}

export const servesQueue = ({ queues }: Pick<WorkerRecord, "queues">, queue: string): boolean =>
  queues.includes("*") || queues.includes(queue);

/** Whether a worker may run what asks this; nothing is said of its room. */
export function fits(needs: Needs, record: WorkerRecord, offer: Offer): boolean {
  if (needs.kind !== null && needs.kind !== record.kind) return false;
  if (!servesQueue(record, needs.queue)) return false;
  for (const one of needs.capabilities) if (!offer.capabilities.has(one)) return false;
  for (const text of needs.requires) if (!offer.meets(text)) return false;
  return true;
}

/** One thing that lanes ask. */
export class Atom {
  /** Lanes that ask it. */
  users = 0;

  constructor(
    readonly id: number,
    readonly key: string,
    readonly isMetBy: (offer: Offer) => boolean,
  ) {}
}

/** A requirement never begins so. */
const capabilityKey = (name: string) => `=${name}`;

/** What a lane asks, as atoms. */
export type Asks = { readonly required: readonly Atom[]; readonly preferred: readonly Atom[] };

/** Everything that is asked. */
export class Asked {
  readonly #atoms = new Map<string, Atom>();
  #lastId = 0;

  get size(): number {
    return this.#atoms.size;
  }

  /** The atoms of what is asked, and those of them that nobody asked before. */
  of(needs: Needs): Asks & { fresh: Atom[] } {
    const fresh: Atom[] = [];
    const atom = (key: string, isMetBy: (offer: Offer) => boolean): Atom => {
      let known = this.#atoms.get(key);
      if (known === undefined) {
        this.#lastId += 1;
        known = new Atom(this.#lastId, key, isMetBy);
        this.#atoms.set(key, known);
        fresh.push(known);
      }
      return known;
    };
    const asked = (text: string) => atom(text, (offer) => offer.meets(text));
    const required = needs.capabilities.map((name) =>
      atom(capabilityKey(name), ({ capabilities }) => capabilities.has(name)),
    );
    required.push(...needs.requires.map(asked));
    return { required, preferred: needs.prefers.map(asked), fresh };
  }

  /** Those that the worker meets, oldest first. */
  metBy(offer: Offer): Atom[] {
    const met: Atom[] = [];
    for (const atom of this.#atoms.values()) if (atom.isMetBy(offer)) met.push(atom);
    return met;
  }

  /** Forgets what no lane asks; answers whether there was any. */
  dropUnused(): boolean {
    const before = this.#atoms.size;
    for (const { key, users } of this.#atoms.values()) if (users === 0) this.#atoms.delete(key);
    return this.#atoms.size < before;
  }
}
