/** A promise with its ends in hand. `Promise.withResolvers` is this, and Node has it only since version 22. */
export type Deferred<T> = {
  promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
};

export function deferred<T>(): Deferred<T> {
  let ends!: Omit<Deferred<T>, "promise">;
  const promise = new Promise<T>((resolve, reject) => {
    ends = { resolve, reject };
  });
  return { promise, ...ends };
}
