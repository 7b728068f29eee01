/**
 * A crawler that is polite: `bun examples/crawler.ts`
 * No page is fetched twice, at most twenty a second are, and a server that says "too many" is left alone for as long as it
 * asks. It crawls a small site that it serves itself; any number of such processes would share the work and the limit.
 */
import { CoordinationClient, Retry, task, worker } from "@cortexd/client";

const { CORTEX_URL: url, CORTEX_TOKEN: token } = process.env;
const client = new CoordinationClient({ url, token });

/** Pages 1 to 40: each links to two more and back to the first; the tenth visit is one too many. */
let visits = 0;
const site = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request) {
    const n = Number(new URL(request.url).pathname.slice(1));
    if (++visits === 10) return new Response("too many", { status: 429, headers: { "retry-after": "1" } });
    return new Response(
      [2 * n, 2 * n + 1, 1]
        .filter((to) => to <= 40)
        .map((to) => `<a href="/${to}">`)
        .join(" "),
    );
  },
});

const page = task<string, { links: number }>("page", { queue: "crawl", attempts: 5 });
const found = (address: string) =>
  client.submit(page, address, {
    group: new URL(address).host,
    unique: { by: ["type", "payload"], forMs: 3600_000 },
  });

await client.configure("crawl", { groupRate: { count: 20, perMs: 1000, burst: 5 } });
const crawl = page.handle(async (address, { signal, pause }) => {
  const response = await fetch(address, { signal });
  if (response.status === 429) {
    const forMs = 1000 * Number(response.headers.get("retry-after") ?? 1);
    await pause(forMs, "the server asked for it"); // this host alone, for all workers
    return Retry(forMs, "too many requests");
  }
  const links = [...(await response.text()).matchAll(/href="(.*?)"/g)].map(
    ([, to]) => new URL(to!, address).href,
  );
  await Promise.all(links.map(found));
  return { links: links.length };
});
const crawling = await worker(page.queue, [crawl], { concurrency: 8, url, token });

const startedAt = performance.now();
await found(`${site.url}1`);
for await (const _second of client.stats()) {
  const { counts } = await client.queue("crawl");
  if (counts.queued + counts.running + counts.scheduled > 0) continue;
  const tookS = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${counts.completed} pages in ${tookS} s, ${visits} requests`);
  break;
}
await crawling.stop();
client.close();
await site.stop(true);
