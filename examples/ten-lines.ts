/** A type of tasks, a worker, a task and its result, typed from end to end: `bun examples/ten-lines.ts`, beside a daemon. */
import { CoordinationClient, task, worker } from "@cortexd/client";

const { CORTEX_URL: url, CORTEX_TOKEN: token } = process.env;
const greet = task<{ name: string }, string>("greet", { queue: "greetings" });
const running = await worker(greet.queue, [greet.handle(({ name }) => `Hello, ${name}!`)], { url, token });
const client = new CoordinationClient({ url, token });
const greeting: string = await client.submit(greet, { name: "Ada" }).result();
console.log(greeting);
await running.stop();
client.close();
