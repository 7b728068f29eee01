/**
 * A holder that is paused, and what keeps it from doing harm: `bun examples/paused-holder.ts`, beside a daemon.
 * Two processes write a report, one at a time. The first is stopped in the middle, as a laptop that is closed or a container
 * that is frozen: its lock runs out, and the second takes over. Then the first wakes up, knows nothing of it, and writes.
 * That is refused, because its write bears the token of its lock, and the lock is held under a higher one.
 */
import { CoordinationClient, CortexError } from "@cortexd/client";

const { CORTEX_URL: url, CORTEX_TOKEN: token } = process.env;
const [name] = process.argv.slice(2);

/** One holder, in a process of its own: it writes when it is told to. */
async function hold(who: string): Promise<void> {
  const client = new CoordinationClient({ url, token });
  const lock = await client.locks.acquire("report", { ttlMs: 1000 });
  console.log(`${who} holds the lock under token ${lock.token}`);
  for await (const _told of console) {
    // Looking first whether the lock is held would not help: the pause may come right after the look.
    try {
      await lock.client.kv.put("report", `by ${who}`);
      console.log(`${who} has written`);
    } catch (error) {
      if (!(error instanceof CortexError && error.code === "fence-lost")) throw error;
      console.log(`${who} is refused: ${error.message}`);
    }
    break;
  }
  await lock.release();
  client.close();
}

function start(who: string) {
  const child = Bun.spawn([process.execPath, import.meta.path, who], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
    env: process.env,
  });
  const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  return {
    child,
    /** Shows what it says next. */
    async shown() {
      console.log((await output.read()).value?.trim());
    },
    write() {
      child.stdin.write("write\n");
      child.stdin.flush();
    },
  };
}

async function play(): Promise<void> {
  const first = start("first");
  await first.shown();
  const second = start("second");
  try {
    first.child.kill("SIGSTOP");
    console.log("first is paused in the middle of its work");
    await second.shown();
    second.write();
    await second.shown();
    first.write();
    first.child.kill("SIGCONT");
    console.log("first wakes up, and writes");
    await first.shown();
  } finally {
    first.child.kill("SIGKILL");
    second.child.kill("SIGKILL");
  }
  const client = new CoordinationClient({ url, token });
  console.log(`the report is ${(await client.kv.get("report"))?.value}`);
  client.close();
}

await (name === undefined ? play() : hold(name));
