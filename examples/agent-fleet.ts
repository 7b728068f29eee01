/**
 * A fleet of agents on one code base: `bun examples/agent-fleet.ts`
 * Tasks say what is to be changed. Whoever changes a folder holds its lock; another agent finds it in its inbox and looks at it; and
 * what all of them should know stands in one key, which each changes only if nobody else did meanwhile.
 */
import { CoordinationClient, CortexError, type RunningWorker, task, worker } from "@cortexd/client";

const { CORTEX_URL: url, CORTEX_TOKEN: token } = process.env;
type Change = { folder: string; change: string };
const edit = task<Change, string>("edit", { queue: "changes", attempts: 3 });
const names = ["ada", "grace", "edsger"];

/** Adds a line to what all agents share. */
async function note(kv: CoordinationClient["kv"], line: string): Promise<void> {
  for (;;) {
    const notes = await kv.get<string[]>("fleet/notes");
    if (notes?.value.includes(line)) return;
    try {
      await kv.put("fleet/notes", [...(notes?.value ?? []), line], { ifRevision: notes?.revision ?? 0 });
      return;
    } catch (error) {
      // Somebody else was faster: once more, with what is there now.
      if (!(error instanceof CortexError && error.code === "revision-mismatch")) throw error;
    }
  }
}

async function agent(name: string): Promise<RunningWorker> {
  const another = names[(names.indexOf(name) + 1) % names.length]!;
  const change = edit.handle(async ({ folder, change }, { log }) => {
    const { locks, messages } = running.client;
    await locks.with(`${folder}/`, async (lock) => {
      log(`${name} has ${folder}/, under token ${lock.token}`);
      const { kv } = lock.client;
      const code = await kv.get<string[]>(`code/${folder}`);
      // Happens only while the lock is held, even if this agent was paused meanwhile.
      await kv.put(`code/${folder}`, [...(code?.value ?? []), change]);
    });
    // Waits in its inbox until it has looked, whether it is there now or not.
    await messages.send(another, `${change} in ${folder}/: ${name}`);
    return name;
  });
  const running = await worker(edit.queue, [change], { workerId: name, kind: "agent", url, token });
  running.client.messages.handle<string>(({ payload }) =>
    note(running.client.kv, `${payload}, seen by ${name}`),
  );
  return running;
}

const fleet = await Promise.all(names.map(agent));
const client = new CoordinationClient({ url, token });
const changes = ["src", "docs", "test"].flatMap((folder) =>
  ["typos", "names", "comments"].map((change) => ({ folder, change })),
);
const noted = client.kv.watch("fleet/notes");
await Promise.all(changes.map((change) => client.submit(edit, change).result()));

const notes = async () => (await client.kv.get<string[]>("fleet/notes"))?.value ?? [];
while ((await notes()).length < changes.length) await noted.next();
for (const line of await notes()) console.log(line);
for await (const { key, value } of client.kv.all<string[]>("code/"))
  console.log(`${key}: ${value.length} changes`);
await Promise.all(fleet.map((one) => one.stop()));
client.close();
