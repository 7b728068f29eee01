/** What stands around every page: the token, the namespace, the keyboard, the colours, and a connection that comes and goes. */
import { expect, test } from "bun:test";
import { missingBrowser } from "../support/browser.ts";
import { spawnDaemon, until } from "../support/daemon.ts";
import { Desk } from "./world.ts";

test.skipIf(missingBrowser !== "")(
  `dashboard - the page asks for the token, keeps it in its tab, and tells a wrong one${missingBrowser}`,
  async () => {
    await using desk = await Desk.open({ token: "s3cret" });
    const { page } = desk;
    await page.goto(desk.daemon.url);
    await page.getByText("This daemon wants a token").waitFor();
    await desk.lookAround("token");
    await page.keyboard.type("guess");
    await page.keyboard.press("Enter");
    await page.getByText("That is not the token").waitFor();
    await desk.look("token-wrong");
    await page.getByLabel("Token").fill("s3cret");
    await desk.button("Unlock").click();
    await page.locator(".standing.live").waitFor();
    await page.reload();
    await page.locator(".standing.live").waitFor();
    const kept = await page.evaluate(() => [
      Object.values(sessionStorage),
      Object.values(localStorage),
      document.cookie,
    ]);
    expect(kept).toEqual([["s3cret"], [], ""]);
    desk.sound();
  },
  90_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - a daemon that dies is told, what was seen stays, and it is live again when there is one${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client, daemon } = desk;
    const { id } = await client.submit({ queue: "mail", type: "send" });
    await desk.go("tasks");
    await page.getByRole("link", { name: id }).waitFor();
    await page.locator(".standing.live").waitFor();
    await daemon.kill();
    await page.locator(".standing.lost").waitFor();
    await page.getByText("The connection is lost.").waitFor();
    await page.getByText(/Connecting again in \d+ s \(try \d+\)/).waitFor();
    await page.getByRole("link", { name: id }).waitFor();
    await desk.lookAround("reconnecting");
    // Opened while nobody is there: what cannot be shown is not pretended.
    await page.evaluate(() => location.assign("#/tasks?state=dead"));
    await page.locator("main .skeleton").waitFor();
    desk.daemon = await spawnDaemon({
      data: daemon.data,
      command: ["serve", "--port", `${daemon.port}`, "--ws-port", `${daemon.wsPort}`, "--data", daemon.data],
    });
    await page.locator(".standing.live").waitFor();
    await page.getByText("No task fits").waitFor();
    await page.evaluate(() => location.assign("#/tasks"));
    const after = await client.submit({ queue: "mail", type: "send" });
    await page.getByRole("link", { name: after.id }).waitFor();
    expect(await page.locator(".trouble").count()).toBe(0);
    const refused = desk.complaints.filter((text) => !/WebSocket|ERR_CONNECTION|Failed to load/.test(text));
    expect(refused).toEqual([]);
  },
  90_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - each namespace is seen by itself, and one that is not there is not made${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    await client.namespaces.create("staging");
    await client.submit({ queue: "mail", type: "send" });
    await desk.go("tasks");
    await until(async () => (await page.locator("[data-row]").count()) === 1);
    await page.getByLabel("Namespace").selectOption("staging");
    await page.getByText("No tasks yet").waitFor();
    expect(page.url()).toContain("namespace=staging");
    await page.getByRole("link", { name: "Overview" }).click();
    await page.getByText("Nothing needs attention").waitFor();
    expect(page.url()).toContain("namespace=staging");
    await desk.page.evaluate(() => location.assign("#/tasks?namespace=gone"));
    await page.getByText("There is no namespace gone").waitFor();
    await desk.look("namespace-unknown");
    expect((await client.namespaces.list()).namespaces.map(({ name }) => name)).toEqual([
      "default",
      "staging",
    ]);
    desk.sound();
  },
  90_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - keys lead everywhere, a dialog keeps them to itself, and the colours one chose stay${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page } = desk;
    await desk.go("overview");
    await page.keyboard.press("g");
    await page.keyboard.press("t");
    await page.getByRole("heading", { name: "Tasks" }).waitFor();
    await page.keyboard.press("?");
    await page.getByRole("heading", { name: "Keyboard" }).waitFor();
    await desk.lookAround("keyboard");
    await page.keyboard.press("g");
    await page.keyboard.press("o");
    expect(page.url()).toEndWith("#/tasks");
    await page.keyboard.press("Escape");
    await until(async () => (await page.locator("dialog").count()) === 0);
    // What is typed into a field is text.
    await page.keyboard.press("/");
    await page.keyboard.type("go?");
    expect(await page.getByRole("searchbox").inputValue()).toBe("go?");
    expect(page.url()).toEndWith("#/tasks");
    await page.getByRole("button", { name: "Dark" }).click();
    await page.reload();
    expect(await page.locator("html").getAttribute("data-theme")).toBe("dark");
    await page.getByRole("button", { name: "Auto" }).click();
    expect(await page.locator("html").getAttribute("data-theme")).toBe("light");
    await page.goto(`${desk.daemon.url}/#/nowhere`);
    await page.getByText("There is no such page").waitFor();
    desk.sound();
  },
  90_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - where no WebSocket comes through it says so, and shows what it reads over HTTP${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    const { id } = await client.submit({ queue: "mail", type: "send" });
    await page.addInitScript(() => {
      Object.assign(window, {
        WebSocket: class {
          constructor() {
            setTimeout(() =>
              (this as unknown as WebSocket).onclose?.({ code: 1006, reason: "" } as CloseEvent),
            );
          }
          close() {}
        },
      });
    });
    await desk.go("tasks");
    await page.getByText("Not live.").waitFor();
    await page.getByRole("link", { name: id }).waitFor();
    await desk.look("http");
    await page.getByRole("link", { name: "Overview" }).click();
    await page.getByText("No figures over HTTP").waitFor();
    desk.sound();
  },
  90_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - over a state in which nothing happens, an open page asks for nothing${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client } = desk;
    await client.submit(Array.from({ length: 60 }, () => ({ queue: "mail", type: "send" })));
    const views = ["overview", "tasks", "queues", "workers", "schedules", "keys", "messages", "locks"];
    for (const view of views) {
      await desk.go(view);
      await page.locator(".standing.live").waitFor();
      const asked: number[] = [];
      // What it read when it was opened is counted in the first.
      for await (const { counted } of client.stats()) {
        asked.push(counted.operations);
        if (asked.length === 5) break;
      }
      expect([view, asked.slice(2)]).toEqual([view, [0, 0, 0]]);
    }
    desk.sound();
  },
  120_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - before anything has come it shows where that will stand${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page } = desk;
    // A connection that is never there, and answers that never come.
    await page.addInitScript(() =>
      Object.assign(window, {
        WebSocket: class {
          close() {}
        },
      }),
    );
    await page.route("**/api/**", () => {});
    await page.goto(`${desk.daemon.url}/#/tasks`);
    await page.getByRole("status", { name: "Loading" }).waitFor();
    await desk.look("loading");
    expect(await page.getByText("No tasks yet").count()).toBe(0);
    desk.sound();
  },
  90_000,
);

test.skipIf(missingBrowser !== "")(
  `dashboard - a state that is replayed says so on any screen, and tells why nothing can be changed in it${missingBrowser}`,
  async () => {
    await using desk = await Desk.open();
    const { page, client, daemon } = desk;
    await desk.worker("mail", async () => null, "mailer-in-the-cellar");
    await client.submit({ queue: "mail", type: "send" }).result();
    await client.kv.put("config/region", "eu");
    const { revision } = await client.getState();
    const command = ["replay", "--to", String(revision), "--data", daemon.data];
    desk.daemon = await spawnDaemon({ data: daemon.data, command });
    try {
      await desk.go("overview");
      await page.getByText(`The state as it was at revision ${revision}`).waitFor();
      await desk.lookAround("replay");
      await desk.go("workers");
      await desk.lookAround("replay-workers");
      await desk.go("keys/config%2Fregion");
      await page.getByRole("textbox").fill('"us"');
      await desk.button("Put").click();
      await page.getByText("the state as it was, out of the log").waitFor();
    } finally {
      await desk.daemon.kill();
      desk.daemon = daemon;
    }
  },
  90_000,
);
