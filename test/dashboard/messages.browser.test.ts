/** Messages: what is published as it comes, what subscriptions keep, and what one does about dead ones. */
import { expect, test } from "bun:test";
import { missingBrowser } from "../support/browser.ts";
import { until } from "../support/daemon.ts";
import { Desk } from "./world.ts";

test.skipIf(missingBrowser !== "")(
  `dashboard - a topic is listened to, a message is published, and dead ones are delivered again${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    await desk.go("messages");
    await page.getByText("No subscriptions yet").waitFor();
    await desk.look("messages-empty");
    await client.subscriptions.put({ name: "billing", topic: "orders.*", deliveriesMax: 1 });
    await page.getByRole("link", { name: "billing" }).waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("orders.>");
    await page.keyboard.press("Enter");
    await page.getByText("Listening to").waitFor();
    const heard = page.locator(".changes li");
    await until(async () => {
      await client.topics.publish("orders.eu", { id: 17, total: 99 }, { priority: "high" });
      return (await heard.count()) > 0;
    });
    await desk.button("Publish").click();
    await page.getByLabel("Topic", { exact: true }).fill("orders.us");
    await page.getByLabel("Payload, as JSON").fill("{ id: 18 }");
    await desk.button("Publish", page.locator("dialog")).click();
    await page.getByText("The payload is not JSON").waitFor();
    await desk.look("message-publish");
    await page.getByLabel("Payload, as JSON").fill('{ "id": 18 }');
    await desk.button("Publish", page.locator("dialog")).click();
    await page.getByText("Published to orders.us: kept by 1 subscription").waitFor();
    await heard.filter({ hasText: "orders.us" }).waitFor();
    await desk.lookAround("messages");
    await desk.button("Stop").click();
    await until(async () => (await heard.count()) === 0);

    // Topics that keep have a place of their own, once there are any; those too many for a page stand on the next.
    const kept = page.getByRole("region", { name: "Kept for later subscriptions" });
    expect(await kept.count()).toBe(0);
    for (let i = 0; i < 26; i++) await client.topics.keep(`kept.${100 + i}`, { keepMs: 3_600_000 });
    await kept.getByRole("cell", { name: "kept.100" }).waitFor();
    await desk.lookAround("topics-kept");
    await desk.button("Next", kept).click();
    await kept.getByRole("cell", { name: "kept.125" }).waitFor();
    expect(await kept.getByRole("row").count()).toBe(2);

    const { pending } = await client.subscriptions.get("billing");
    const end = client.topics.handle("orders.*", () => Promise.reject(new Error("no")), {
      ...{ name: "billing", deliveriesMax: 1 },
    });
    await until(async () => (await client.subscriptions.get("billing")).dead === pending);
    end();
    await page.getByRole("link", { name: "billing" }).click();
    await page.getByText("nobody listens").waitFor();
    // What is dead is shown, and why.
    const waiting = page.getByRole("region", { name: "What it keeps" });
    await until(
      async () => (await waiting.getByRole("cell", { name: "no", exact: true }).count()) === pending,
    );
    await desk.lookAround("subscription");
    await desk.button("ready", waiting).click();
    await waiting.getByText("No such message waits here").waitFor();
    await desk.button("dead", waiting).click();
    await until(async () => (await waiting.getByRole("row").count()) === pending + 1);
    await desk.button("Deliver dead ones again").click();
    await until(async () => (await client.subscriptions.get("billing")).dead === 0);
    await desk.button("Delete").click();
    await desk.button("Delete it").click();
    await page.getByText("No subscriptions yet").waitFor();
    expect((await client.subscriptions.list()).subscriptions).toEqual([]);
    desk.sound();
  },
  120_000,
);
