/** Overview and tasks: what a person sees of work as it goes on, and what they do about it. */
import { expect, test } from "bun:test";
import { missingBrowser } from "../support/browser.ts";
import { until } from "../support/daemon.ts";
import { Desk } from "./world.ts";

test.skipIf(missingBrowser !== "")(
  `dashboard - the overview shows what goes on while it goes on, and what needs attention${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    await desk.go("overview");
    await page.getByText("Nothing needs attention").waitFor();
    await desk.look("overview-empty");
    await desk.worker("mail", async () => ({ delivered: true }), "mailer-1", { concurrency: 4 });
    const tile = (name: string) => page.locator(".tiles li", { hasText: name }).locator("b");
    await until(async () => (await tile("Workers").textContent()) === "1");
    await client.submit(
      Array.from({ length: 40 }, (_, n) => ({ queue: "mail", type: "send", payload: { n } })),
    );
    await page.getByText("40 kept").waitFor();
    await client.submit({ queue: "reports", type: "render" });
    await until(async () => (await tile("Queued").textContent()) === "1");
    const plot = page.getByRole("img", { name: /^Queue depth over time. Now: queued 1, running 0/ });
    await plot.waitFor();
    await page.getByRole("button", { name: "10 min" }).click();
    await desk.lookAround("overview");
    desk.sound();
  },
  90_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - a task that failed is found, explains itself, is retried, and its end is seen${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    await desk.go("tasks");
    await page.getByText("No tasks yet").waitFor();
    await desk.look("tasks-empty");

    let broken = true;
    const handler = async (_: unknown, { log }: { log(text: string): void }) => {
      log("connecting");
      if (broken) throw new Error("connection refused");
      return { delivered: true };
    };
    await desk.worker("mail", handler, "mailer-1");
    const { id } = await client.submit({
      ...{
        queue: "mail",
        type: "send",
        payload: { to: "ada@example.org" },
        attempts: 1,
        labels: { tenant: "acme" },
      },
    });
    await client.submit(
      Array.from({ length: 120 }, () => ({ queue: "reports", type: "render", priority: "low" as const })),
    );
    // Nobody reloads: what is new comes by itself.
    await page.getByRole("button", { name: /^dead\s*1$/ }).waitFor();
    await page.locator("[data-row]").nth(49).waitFor();
    await desk.lookAround("tasks");
    await desk.button("Next").click();
    await page.getByText("Page 2").waitFor();
    await desk.button("Next").click();
    await page.getByText("Page 3").waitFor();
    await page.getByRole("link", { name: id, exact: true }).waitFor();

    await page.keyboard.press("/");
    await page.keyboard.type("tennant:acme");
    await page.keyboard.press("Enter");
    await page.getByText("There is no tennant: to search by").waitFor();
    await page.getByRole("searchbox").fill("label:tenant=acme queue:mail");
    await page.keyboard.press("Enter");
    await until(async () => (await page.locator("[data-row]").count()) === 1);
    expect(page.url()).toContain("label=tenant%3Dacme");
    await page.keyboard.press("Escape");
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");

    await page.getByRole("heading", { name: "send" }).waitFor();
    await page.getByText("Attempt 1 failed").waitFor();
    await page.getByText("connection refused (mailer-1)").waitFor();
    await page.getByText("connecting").waitFor();
    await desk.lookAround("task-dead");
    broken = false;
    await desk.button("Retry").click();
    await page.getByText(`Task ${id} is queued again`).waitFor();
    await page.locator(".subject .badge", { hasText: "completed" }).waitFor();
    await page.getByText('"delivered": true').waitFor();
    await desk.look("task-completed");
    await desk.go("tasks/1-0");
    await page.getByText("There is no task 1-0").waitFor();
    await desk.look("task-unknown");
    // An unknown task is refused, and the browser does not call that an error.
    desk.sound();
  },
  120_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - a task that waits says why, and is cancelled once that is confirmed${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    const { id } = await client.submit({ queue: "reports", type: "render", requires: ["gpu"] });
    await desk.go(`tasks/${id}`);
    const why = page.locator(".why");
    await why
      .getByText(/no registered worker|no worker/i)
      .first()
      .waitFor();
    await desk.lookAround("task-queued");
    await desk.worker("reports", async () => null, "renderer-1", { capabilities: ["cpu"] });
    // It is asked again, because something has changed.
    await why.getByText("0 of 1").waitFor();
    await desk.button("Cancel").click();
    await page.getByRole("heading", { name: `Cancel task ${id}?` }).waitFor();
    await desk.look("task-cancel");
    await desk.button("Keep it").click();
    expect((await client.task(id).get()).state).toBe("queued");
    await desk.button("Cancel").click();
    await desk.button("Cancel it").click();
    await page.locator(".subject .badge", { hasText: "cancelled" }).waitFor();
    expect(await client.task(id).get()).toMatchObject({ state: "cancelled", reason: "from the dashboard" });
    desk.sound();
  },
  90_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - all that fit a filter are retried and cancelled at once${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    const submitted = await client.submit(
      Array.from({ length: 7 }, (_, i) => ({ queue: i < 5 ? "mail" : "other", type: "send" })),
    );
    await desk.go("tasks?state=queued&queue=mail");
    await desk.button("Cancel all that fit").click();
    await desk.button("Cancel them").click();
    await page.getByText("5 tasks cancelled").waitFor();
    const states = async () => (await client.tasks()).tasks.map(({ queue, state }) => `${queue} ${state}`);
    expect((await states()).filter((one) => one === "mail cancelled").length).toBe(5);
    await page.getByText("No task fits").waitFor();
    await desk.look("tasks-none");
    await page.getByRole("button", { name: /^cancelled/ }).click();
    await desk.button("Retry all that fit").click();
    await desk.button("Retry them").click();
    await page.getByText("5 tasks queued again").waitFor();
    expect((await states()).filter((one) => one.endsWith(" queued")).length).toBe(submitted.length);
    desk.sound();
  },
  90_000,
);
