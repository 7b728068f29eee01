/** A broken invariant is a bug: it ends loudly, never as an error that a caller may branch on. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

export class AssertionError extends Error {
  override name = "AssertionError";
}

/** For the end of an exhaustive switch: a case that nobody handles does not compile. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${JSON.stringify(value)}`);
}
