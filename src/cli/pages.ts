/** A list of the daemon read page by page, up to a limit: no more is asked for, and none is kept. */
import { limits } from "../wire/limits.ts";

export type Page<R> = { rows: R[]; cursor: string | null };
/** What is asked of the daemon beside a filter; the first page has no cursor. */
export type Asked = { limit: number; cursor?: string };

/**
 * `name` is the field of an answer that holds its rows. A page may be short of its limit and still have a next one; the
 * last one's cursor says whether there is more.
 */
export async function* pagesOf<
  N extends string,
  P extends Readonly<Record<N, unknown[]>> & { cursor: string | null },
>(name: N, limit: number, read: (asked: Asked) => Promise<P>): AsyncGenerator<Page<P[N][number]>> {
  let left = limit;
  let cursor: string | null = null;
  do {
    const asked: Asked = { limit: Math.min(left, limits.pageMax) };
    const page: P = await read(cursor === null ? asked : { ...asked, cursor });
    yield { rows: page[name], cursor: page.cursor };
    left -= page[name].length;
    cursor = page.cursor;
  } while (left > 0 && cursor !== null);
}
