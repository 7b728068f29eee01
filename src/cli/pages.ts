/** A list of the daemon read page by page, up to a limit: no more is asked for, and none is kept. */
import { limits } from "../wire/limits.ts";

export type Page<R> = { rows: R[]; cursor: string | null };

/** A page may be short of its limit and still have a next one; the last one's cursor says whether there is more. */
export async function* pagesOf<R>(
  limit: number,
  read: (cursor: string | null, limit: number) => Promise<Page<R>>,
): AsyncGenerator<Page<R>> {
  let left = limit;
  let cursor: string | null = null;
  do {
    const page: Page<R> = await read(cursor, Math.min(left, limits.pageMax));
    yield page;
    left -= page.rows.length;
    cursor = page.cursor;
  } while (left > 0 && cursor !== null);
}
