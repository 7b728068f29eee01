/**
 * What a command prints as it happens: over a client of its own, until so many came or the command is asked to end,
 * which is how it is meant to.
 */
import { CoordinationClient } from "../../client/client.ts";
import type { Address } from "./command.ts";
import { connected } from "./daemon.ts";
import { endAsked } from "./signals.ts";

export async function ongoing<T>(
  to: Address,
  name: string,
  count: number | undefined,
  begin: (client: CoordinationClient, signal: AbortSignal) => AsyncIterable<T>,
  told: (one: T) => Promise<unknown>,
): Promise<void> {
  const signal = endAsked();
  // Who only looks hears of a wrong name, and makes no namespace of it.
  const client = new CoordinationClient({ ...to, create: false, client: `cortexd-${name}` });
  try {
    await connected(client, to, signal);
    let left = count ?? Number.POSITIVE_INFINITY;
    for await (const one of begin(client, signal)) {
      await told(one);
      if (--left === 0) break;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    client.close();
  }
}
