/** Keys, schedules and the log of changes: what a person reads there, and what they change without losing another's change. */
import { expect, test } from "bun:test";
import { missingBrowser } from "../support/browser.ts";
import { until } from "../support/daemon.ts";
import { Desk } from "./world.ts";

test.skipIf(missingBrowser !== "")(
  `dashboard - keys are found by how they begin, and of two who edit one nobody's change is lost${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    await desk.go("keys");
    await page.getByText("No keys yet").waitFor();
    await desk.look("keys-empty");
    await client.kv.put("config/region", { primary: "eu-central", replicas: 3 });
    await client.kv.put("config/limits", [1, 2, 3], { ttlMs: 3_600_000 });
    for (let i = 0; i < 60; i++) await client.kv.put(`seen/${String(i).padStart(3, "0")}`, i);
    await page.getByText("Page 1").waitFor();
    await desk.lookAround("keys");
    await page.keyboard.press("/");
    await page.keyboard.type("config/");
    await page.keyboard.press("Enter");
    await until(async () => (await page.locator("[data-row]").count()) === 2);
    await page.getByRole("link", { name: "config/region" }).click();

    const value = page.getByRole("textbox", { name: "Value, as JSON" });
    await value.waitFor();
    await desk.lookAround("key");
    // As long as nobody edits it here, what others put is shown.
    await client.kv.put("config/region", { primary: "us-east" });
    await until(async () => (await value.inputValue()).includes("us-east"));
    await value.fill('{ "primary": ');
    await desk.button("Put").click();
    await page.getByText("That is not JSON").waitFor();
    await value.fill('{ "primary": "mine" }');
    await client.kv.put("config/region", { primary: "theirs" });
    await page.getByText("It is another value now").waitFor();
    await desk.lookAround("key-conflict");
    await desk.button("Put").click();
    await page.getByText("Somebody changed it meanwhile. Nothing was put.").waitFor();
    expect((await client.kv.get("config/region"))?.value).toEqual({ primary: "theirs" });
    await desk.button("Put mine in its place").click();
    await page.getByText("Key config/region is put").waitFor();
    expect((await client.kv.get("config/region"))?.value).toEqual({ primary: "mine" });
    await until(async () => (await page.locator(".conflict").count()) === 0);
    await value.fill('{ "primary": "mine again" }');
    await client.kv.put("config/region", { primary: "theirs again" });
    await desk.button("Take that one").click();
    await until(async () => JSON.parse(await value.inputValue()).primary === "theirs again");
    await desk.button("Delete").click();
    await desk.button("Delete it").click();
    await page.getByText("There is no key config/region").waitFor();
    expect(await client.kv.get("config/region")).toBeNull();
    desk.sound();
  },
  120_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - an edited key keeps its time and its owner, and a new one takes nobody's place${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    await client.kv.put("config/limits", 1, { ttlMs: 3_600_000 });
    const before = await client.kv.get("config/limits");
    await desk.go("keys/config%2Flimits");
    await page.getByRole("textbox", { name: "Value, as JSON" }).fill("2");
    await desk.button("Put").click();
    await page.getByText("Key config/limits is put").waitFor();
    expect(await client.kv.get("config/limits")).toMatchObject({ value: 2, expiresAt: before!.expiresAt });

    await desk.go("keys?prefix=config/");
    await desk.button("New key").click();
    await page.getByLabel("Key", { exact: true }).fill("config/limits");
    await page.getByLabel("Value, as JSON").fill("3");
    await desk.button("Put").click();
    await page.getByText("There is a key config/limits already.").waitFor();
    await desk.look("key-new");
    await page.getByLabel("Key", { exact: true }).fill("config/other");
    await desk.button("Put").click();
    await page.getByRole("heading", { name: "config/other" }).waitFor();
    expect((await client.kv.get("config/other"))?.value).toBe(3);
    desk.sound();
  },
  90_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - a schedule shows its next runs, is paused, resumed, run now and deleted${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    await desk.go("schedules");
    await page.getByText("No schedules yet").waitFor();
    await desk.look("schedules-empty");
    const task = { queue: "reports", type: "report", payload: { month: "2026-11" } };
    await client.schedules.put({ name: "nightly", cron: "30 2 * * *", timeZone: "Europe/Berlin", task });
    await client.schedules.put({ name: "sweep", everyMs: 600_000, task: { type: "sweep" } });
    await page.getByRole("link", { name: "nightly" }).waitFor();
    await page.getByText("every 10 min").waitFor();
    await desk.lookAround("schedules");
    await page.getByRole("link", { name: "nightly" }).click();
    await until(async () => (await page.locator(".moments li").count()) === 10);
    await desk.lookAround("schedule");
    await desk.button("Pause").click();
    await page.locator(".subject").getByText("paused").waitFor();
    await desk.button("Resume").click();
    await page.locator(".subject").getByText("active").waitFor();
    await desk.button("Run now").click();
    await page.getByText("Schedule nightly has submitted its task").waitFor();
    const [submitted] = (await client.tasks({ queue: "reports" })).tasks;
    expect(submitted).toMatchObject({ type: "report", payload: { month: "2026-11" } });
    await page.getByRole("link", { name: submitted!.id }).waitFor();
    await desk.button("Delete").click();
    await desk.button("Delete it").click();
    await page.getByRole("link", { name: "sweep" }).waitFor();
    expect((await client.schedules.list()).schedules.map(({ name }) => name)).toEqual(["sweep"]);
    desk.sound();
  },
  90_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - changes are shown as they happen, narrowed, stopped by hand, and by themselves when too many come${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    await desk.go("changes");
    await page.getByText("Waiting for changes").waitFor();
    await desk.look("changes-empty");
    const lines = page.locator(".changes li");
    const { id } = await client.submit({ queue: "mail", type: "send" });
    await client.kv.put("config/region", "eu");
    await desk.worker("mail", async () => null, "mailer-1");
    await lines
      .filter({ hasText: `${id}` })
      .filter({ hasText: "completed" })
      .waitFor();
    await lines.filter({ hasText: "config/region" }).waitFor();
    await desk.lookAround("changes");
    await page.keyboard.press("/");
    await page.keyboard.type("prefix:config/");
    await page.keyboard.press("Enter");
    // What was before comes first; the watch of what comes begins some time after the page shows it.
    await until(async () => (await lines.count()) === 1);
    await lines.filter({ hasText: '"eu"' }).waitFor();
    const puts = async (value: string, until_: () => Promise<boolean>) =>
      until(async () => {
        await client.submit({ queue: "mail", type: "send" });
        await client.kv.put("config/region", value);
        return until_();
      });
    await puts("us", async () => (await lines.filter({ hasText: '"us"' }).count()) > 0);
    await desk.button("Stop").click();
    await desk.button("Go on").waitFor();
    await client.kv.put("config/region", "unseen");
    await desk.button("Go on").click();
    await puts("sa", async () => (await lines.filter({ hasText: '"sa"' }).count()) > 0);
    const shown = await lines.allTextContents();
    expect(shown.filter((text) => !text.includes("config/region") || text.includes("unseen"))).toEqual([]);
    // What no change could fit is refused, and said so.
    await page.getByRole("searchbox").fill("key:config/region queue:mail");
    await page.keyboard.press("Enter");
    await page.getByText("These cannot be watched.").waitFor();
    // Of one task: all that happened to it.
    await desk.go(`tasks/${id}`);
    await page.getByRole("link", { name: "Its changes" }).click();
    await until(async () => (await lines.count()) === 3);
    const happened = (await lines.allTextContents()).map((text) => /task\.\w+/.exec(text)?.[0]);
    expect(happened).toEqual(["task.complete", "task.dispatch", "task.submit"]);
    await desk.look("task-changes");
    await desk.go("changes");
    await lines.first().waitFor();
    const stopped = page.getByText("Stopped: more than 500 changes a second.");
    await until(async () => {
      await client.submit(Array.from({ length: 1000 }, () => ({ queue: "many", type: "t" })));
      return stopped.isVisible();
    });
    await desk.look("changes-stopped");
    expect(await lines.count()).toBe(300);
    desk.sound();
  },
  90_000,
);
