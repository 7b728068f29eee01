/** Whether what nobody needs any more is let go of, as a collector sees it. */

/** How many of them are still held by something. */
export async function heldCount(items: readonly WeakRef<object>[]): Promise<number> {
  const held = () => items.filter((item) => item.deref() !== undefined).length;
  // A reference that was made or asked holds what it is to for a while, and so does what lies on the stack.
  for (let looks = 0; looks < 100 && held() > items.length / 10; looks++) {
    await new Promise((resolve) => setImmediate(resolve));
    Bun.gc(true);
  }
  return held();
}
