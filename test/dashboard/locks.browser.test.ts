/** Locks and leaders, and the archive: what a person sees there, and taking a lock away. */
import { expect, test } from "bun:test";
import { missingBrowser } from "../support/browser.ts";
import { until } from "../support/daemon.ts";
import { Desk } from "./world.ts";

test.skipIf(missingBrowser !== "")(
  `dashboard - locks show who holds and who waits behind whom, and one that is taken away goes to the next${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    await desk.go("locks");
    await page.getByText("No locks").waitFor();
    await desk.look("locks-empty");
    const first = await client.locks.acquire("deploy/staging", { value: { by: "ada" } });
    const second = client.locks.acquire("deploy/staging", { timeoutMs: 600_000 });
    await client.elections.campaign("scheduler", { address: "10.0.0.7" });
    await client.locks.acquire([{ name: "gpu", mode: "shared", limit: 4 }]);
    await until(async () => (await page.locator("[data-row]").count()) === 4);
    await desk.lookAround("locks");
    await page.getByRole("button", { name: "leaders" }).click();
    await until(async () => (await page.locator("[data-row]").count()) === 1);
    await page.getByRole("link", { name: "election/scheduler" }).click();
    await page.getByText("10.0.0.7").waitFor();
    await page.goBack();
    await page.getByRole("button", { name: "waiting" }).click();
    await page.getByRole("searchbox").fill("deploy/");
    await page.keyboard.press("Enter");
    await until(async () => (await page.locator("[data-row]").count()) === 1);
    await page.getByRole("link", { name: "deploy/staging" }).click();
    await page.getByRole("link", { name: first.id }).click();
    await page.getByText('"by": "ada"').waitFor();
    await desk.lookAround("lock");
    const lost = new Promise((resolve) => first.signal.addEventListener("abort", resolve));
    await desk.button("Take away").click();
    await desk.button("Take it away").click();
    await page.getByText(`Lock ${first.id} is over`).waitFor();
    await lost;
    const { token } = await second;
    expect(token).toBeGreaterThan(first.token);
    desk.sound();
  },
  120_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - tasks that have left memory are found in the archive, and one is brought back from there${missingBrowser}`,
  async () => {
    await using desk = await Desk.open({ args: ["--retention-count", "0"] });
    const { page, client } = desk;
    await desk.go("archive");
    await page.getByText("Nothing in the archive yet").waitFor();
    await desk.look("archive-empty");
    const handler = async ({ type }: { type: string }) => {
      if (type === "fails") throw new Error("connection refused");
      return { delivered: true };
    };
    await desk.worker("mail", handler, "mailer-1", { concurrency: 10 });
    const submitted = await client.submit([
      ...Array.from({ length: 60 }, (_, n) => ({ queue: "mail", type: "send", payload: { n } })),
      { queue: "mail", type: "fails", attempts: 1, labels: { tenant: "acme" } },
    ]);
    const failed = submitted.at(-1)!.id;
    await until(async () => {
      await desk.button("Look again").click();
      return (await page.getByText("Page 1").count()) === 1;
    });
    await until(async () => (await client.archived({ state: "dead" })).tasks.length === 1);
    await desk.lookAround("archive");
    await page.getByRole("button", { name: "dead" }).click();
    await page.getByRole("searchbox").fill("label:tenant=acme");
    await page.keyboard.press("Enter");
    await until(async () => (await page.locator("[data-row]").count()) === 1);
    await page.getByRole("link", { name: failed }).click();
    await page.getByText("in the archive", { exact: true }).waitFor();
    await page.getByText("Attempt 1 failed").waitFor();
    await desk.look("task-archived");
    await desk.button("Retry").click();
    await page.getByText(`Task ${failed} is queued again`).waitFor();
    desk.sound();
  },
  120_000,
);
