/**
 * Stopping a server of Bun in bounded time. Its own stop waits for every open connection, for ever if one stays, and
 * has been seen to hang after the last was cut.
 */

type Stoppable = { stop(cut?: boolean): Promise<void> };

const cutMs = 500;

/** Takes no new connections, lets what is under way finish for so long, then cuts what is left. */
export async function stopServer(server: Stoppable, graceMs: number): Promise<void> {
  if (await within(graceMs, server.stop())) return;
  await within(cutMs, server.stop(true));
}

/** Whether it was done in time. */
async function within(ms: number, done: Promise<void>): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const result = await Promise.race([done.then(() => true), late]);
  clearTimeout(timer);
  return result;
}
