/** Queues and workers: what a person sees of them, and what they steer. */
import { expect, test } from "bun:test";
import { missingBrowser } from "../support/browser.ts";
import { until } from "../support/daemon.ts";
import { Desk } from "./world.ts";

test.skipIf(missingBrowser !== "")(
  `dashboard - a queue shows its depth and its oldest, is paused with a reason, limited, and resumed${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    await desk.go("queues");
    await page.getByText("No queues yet").waitFor();
    await desk.look("queues-empty");
    const priorities = ["critical", "high", "normal", "low"] as const;
    await client.submit(
      Array.from({ length: 24 }, (_, i) => ({
        ...{ queue: "mail", type: "send", group: `tenant-${i % 3}`, priority: priorities[i % 4] },
      })),
    );
    await client.submit(
      Array.from({ length: 3 }, () => ({ queue: "reports", type: "render", delayMs: 3_600_000 })),
    );
    await client.putLimit("openai", { concurrency: 20, rate: { count: 500, perMs: 60_000 } });
    await page.getByRole("img", { name: "6 critical, 6 high, 6 normal, 6 low" }).waitFor();
    await page.getByText("500 per 1 min").waitFor();
    await desk.lookAround("queues");
    // Those that are too many for a page stand on the next.
    const named = page.getByRole("region", { name: "Named limits" });
    await Promise.all(Array.from({ length: 25 }, (_, i) => client.putLimit(`a${i}`, { concurrency: 1 })));
    await desk.button("Next", named).click();
    await named.getByRole("cell", { name: "openai" }).waitFor();
    expect(await named.getByRole("row").count()).toBe(2);
    for (let i = 0; i < 25; i++) await client.deleteLimit(`a${i}`);
    await desk.button("First", named).click();

    const find = page.getByRole("searchbox", { name: "Find queues by how they begin" });
    await find.fill("re");
    await find.press("Enter");
    await page.getByRole("link", { name: "reports" }).waitFor();
    expect(await page.getByRole("link", { name: "mail", exact: true }).count()).toBe(0);
    await find.fill("");
    await find.press("Enter");
    await page.getByRole("link", { name: "mail", exact: true }).click();
    await page.getByText("Oldest queued").waitFor();
    await page.getByRole("cell", { name: "tenant-2" }).waitFor();
    await desk.lookAround("queue");
    await desk.button("Pause", page.locator(".subject")).click();
    await page.getByLabel("For how long").selectOption("1 hour");
    await page.getByLabel("Why (others will see it)").fill("their server is down");
    await desk.look("queue-pause");
    await desk.button("Pause", page.locator("dialog")).click();
    await page
      .locator(".subject")
      .getByText(/paused until .*: their server is down/)
      .waitFor();
    expect((await client.queue("mail")).paused).toMatchObject({ reason: "their server is down" });
    await desk.button("Resume", page.locator(".subject")).click();
    await page.locator(".subject").getByText("open").waitFor();
    // Of one group alone.
    const group = page.getByRole("row", { name: /tenant-1/ });
    await desk.button("Pause", group).click();
    await desk.button("Pause", page.locator("dialog")).click();
    await desk.button("Resume", group).waitFor();
    expect((await client.queue("mail")).groupsPaused).toBe(1);

    // What is typed and chosen stays while the page is told of news, and a burst stays as it was.
    await client.configure("mail", { rate: { count: 100, perMs: 1000, burst: 300 } });
    await until(async () => (await page.getByLabel("Start at most", { exact: true }).inputValue()) === "100");
    await page.getByLabel("Run at once").fill("5");
    await page.getByLabel("Which worker").selectOption("packed");
    await client.submit({ queue: "mail", type: "send", delayMs: 3_600_000 });
    await page.locator(".facts div", { hasText: "Scheduled" }).getByRole("link", { name: "1" }).waitFor();
    await page.getByLabel("Of one group start at most").fill("10");
    await desk.button("Save limits").click();
    await page.getByText("Queue mail is set").waitFor();
    expect((await client.queue("mail")).settings).toMatchObject({
      ...{ concurrency: 5, groupRate: { count: 10, perMs: 1000 }, groupConcurrency: null, backlog: null },
      ...{ rate: { count: 100, perMs: 1000, burst: 300 }, strategy: "packed" },
    });
    // What the daemon refuses is told in its words, and changes nothing.
    await page.getByLabel("Run at once").fill("2.5");
    await desk.button("Save limits").click();
    await page.locator(".toast.bad").waitFor();
    expect((await client.queue("mail")).settings.concurrency).toBe(5);
    desk.sound();
  },
  120_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - workers show their load and what is wrong with them, and one is drained and put back${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    await desk.go("workers");
    await page.getByText("No workers yet").waitFor();
    await desk.look("workers-empty");
    const busy = Promise.withResolvers<void>();
    await desk.worker("mail", () => busy.promise, "mailer-1", { concurrency: 4, capabilities: ["smtp"] });
    await desk.worker(
      "broken",
      async () => {
        throw new Error("no disk");
      },
      "broken-1",
    );
    await client.submit(Array.from({ length: 3 }, () => ({ queue: "mail", type: "send" })));
    await client.submit(Array.from({ length: 30 }, () => ({ queue: "broken", type: "b", attempts: 1 })));
    await page.getByRole("img", { name: "3 of 4 slots in use" }).waitFor();
    await page
      .getByRole("row", { name: /broken-1/ })
      .getByText(/failing|quarantined/)
      .waitFor();
    await desk.lookAround("workers");
    await desk.go("workers/broken-1");
    await page.getByText("Why it is not healthy").waitFor();
    await desk.look("worker-sick");

    await desk.go("workers/mailer-1");
    await until(async () => (await page.locator("[data-row]").count()) === 3);
    await desk.lookAround("worker");
    await desk.button("Drain").click();
    await desk.button("Drain it").click();
    await page.locator(".subject").getByText("draining").waitFor();
    expect((await client.worker("mailer-1")).state).toBe("draining");
    busy.resolve();
    await page.getByText("It holds no task now.").waitFor();
    await desk.button("Put back into service").click();
    await page.locator(".subject").getByText("idle").waitFor();
    desk.sound();
  },
  120_000,
);
