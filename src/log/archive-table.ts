/**
 * The archive's rows in SQLite. Each tag of a row stands in an index of its own with the row's place, so the rows that
 * have several tags are found by leaping: from the newest place of one tag to the newest of the next that is not newer,
 * until they agree. That costs a descent of a tree a leap, and no more leaps than the rarest tag has rows, however many
 * the others have. A folder that is older than the archive is given its tables with the first row.
 */
import type { Statement } from "bun:sqlite";
import type { Archived, ArchivePage, ArchivePlace, ArchiveRow, ArchiveSearch } from "./archive.ts";

export const archiveSchema = `
  CREATE TABLE IF NOT EXISTS archive (id TEXT PRIMARY KEY, at INTEGER NOT NULL, tags TEXT NOT NULL,
    text TEXT NOT NULL) STRICT;
  CREATE INDEX IF NOT EXISTS archive_places ON archive (at, id);
  CREATE TABLE IF NOT EXISTS archive_tags (tag TEXT NOT NULL, at INTEGER NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (tag, at, id)) STRICT, WITHOUT ROWID;`;

/** Leaps of one search, before it answers a short page. */
const leapsMax = 20_000;

type Place = [at: number, id: string];

export class ArchiveTable {
  #isThere = false;

  /** `statement`: prepared once for its text. */
  constructor(private readonly statement: (sql: string) => Statement) {}

  /** Whether there are tables; once there are, they stay. */
  get isThere(): boolean {
    this.#isThere ||= this.#one("SELECT 1 FROM sqlite_schema WHERE name = 'archive_tags'") !== null;
    return this.#isThere;
  }

  #one(sql: string, ...values: (string | number)[]): unknown[] | null {
    return (this.statement(sql).values(...values)[0] as unknown[] | undefined) ?? null;
  }

  #run(sql: string, ...values: (string | number)[]): number {
    return this.statement(sql).run(...values).changes;
  }

  /** Inside a transaction. A row that is there already is replaced. */
  put({ id, at, tags, text }: ArchiveRow): void {
    const put = "INSERT OR IGNORE INTO archive (id, at, tags, text) VALUES (?, ?, ?, ?)";
    if (this.#run(put, id, at, JSON.stringify(tags), text) === 0) {
      this.drop(id);
      this.#run(put, id, at, JSON.stringify(tags), text);
    }
    if (tags.length === 0) return;
    // A call costs as much as an insert does.
    const places = "(?, ?, ?), ".repeat(tags.length).slice(0, -2);
    this.#run(
      `INSERT INTO archive_tags (tag, at, id) VALUES ${places}`,
      ...tags.flatMap((tag) => [tag, at, id]),
    );
  }

  /** Inside a transaction. */
  drop(id: string): void {
    const row = this.#one("SELECT at, tags FROM archive WHERE id = ?", id) as [number, string] | null;
    if (row === null) return;
    const [at, tags] = row;
    for (const tag of JSON.parse(tags) as string[])
      this.#run("DELETE FROM archive_tags WHERE tag = ? AND at = ? AND id = ?", tag, at, id);
    this.#run("DELETE FROM archive WHERE id = ?", id);
  }

  count(): number {
    return this.isThere ? (this.#one("SELECT count(*) FROM archive")?.[0] as number) : 0;
  }

  oldest(countMax: number): ArchivePlace[] {
    if (!this.isThere) return [];
    const sql = "SELECT at, id FROM archive ORDER BY at, id LIMIT ?";
    return (this.statement(sql).values(countMax) as Place[]).map(([at, id]) => ({ at, id }));
  }

  read(id: string): string | null {
    if (!this.isThere) return null;
    return (this.#one("SELECT text FROM archive WHERE id = ?", id)?.[0] as string | undefined) ?? null;
  }

  search({ tags, before, from, countMax, unitsMax }: ArchiveSearch): ArchivePage {
    const rows: Archived[] = [];
    if (!this.isThere) return { rows, next: null };
    let units = 0;
    let leaps = 0;
    let last = before;
    while (rows.length < countMax && units < unitsMax && leaps < leapsMax) {
      let place = this.#under(tags[0], last);
      leaps++;
      for (let agreed = 1; place !== null && place.at >= from && agreed < tags.length; ) {
        const other = this.#at(tags[agreed] as string, place);
        leaps++;
        if (other?.at === place.at && other.id === place.id) agreed++;
        else {
          // Nothing from here down to the other has this tag: there the first one goes on.
          last = place;
          if (leaps >= leapsMax) return { rows, next: last };
          place = other === null ? null : this.#at(tags[0] as string, other);
          leaps++;
          agreed = 1;
        }
      }
      if (place === null || place.at < from) return { rows, next: null };
      const text = this.read(place.id) as string;
      rows.push({ ...place, text });
      units += text.length;
      last = place;
    }
    return { rows, next: last };
  }

  /** The newest place below one, of those that have the tag, or of all. */
  #under(tag: string | undefined, { at, id }: ArchivePlace): ArchivePlace | null {
    const order = "(at, id) < (?, ?) ORDER BY at DESC, id DESC LIMIT 1";
    return placeOf(
      tag === undefined
        ? this.#one(`SELECT at, id FROM archive WHERE ${order}`, at, id)
        : this.#one(`SELECT at, id FROM archive_tags WHERE tag = ? AND ${order}`, tag, at, id),
    );
  }

  /** The newest place at or below one that has the tag. */
  #at(tag: string, { at, id }: ArchivePlace): ArchivePlace | null {
    const sql =
      "SELECT at, id FROM archive_tags WHERE tag = ? AND (at, id) <= (?, ?) ORDER BY at DESC, id DESC LIMIT 1";
    return placeOf(this.#one(sql, tag, at, id));
  }
}

const placeOf = (row: unknown[] | null): ArchivePlace | null =>
  row === null ? null : { at: row[0] as number, id: row[1] as string };
