/** When two locks are in each other's way, as the promises have it, for the models that locks are held against. */
type Wish = { name: string; mode: "exclusive" | "shared" };
const covers = (a: string, b: string) => a === b || (a.endsWith("/") && b.startsWith(a));

export const collide = (one: readonly Wish[], other: readonly Wish[]): boolean =>
  one.some((a) =>
    other.some(
      (b) =>
        (a.mode === "exclusive" || b.mode === "exclusive") &&
        (covers(a.name, b.name) || covers(b.name, a.name)),
    ),
  );
