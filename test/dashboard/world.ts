/**
 * The dashboard as a person meets it: a real daemon with something going on in it, and a real browser that keeps note of
 * what it asked for and complained of. Every page that is shown is looked at by axe, and kept as a picture in
 * artifacts/screenshots for whoever wants to see what the tests saw.
 */

import { expect } from "bun:test";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { BrowserContext, Locator, Page } from "playwright-core";
import { CoordinationClient, type RunningWorker, worker } from "../../client/index.ts";
import { openWindow } from "../support/browser.ts";
import { type Daemon, spawnDaemon, until } from "../support/daemon.ts";

const pictures = join(import.meta.dir, "../../artifacts/screenshots");
const axe = readFileSync(join(import.meta.dir, "../../node_modules/axe-core/axe.min.js"), "utf8");

type Violation = { id: string; nodes: { html: string; failureSummary?: string }[] };

export const wide = { width: 1280, height: 860 };
export const phone = { width: 360, height: 740 };

export class Desk {
  readonly complaints: string[] = [];
  readonly requested: string[] = [];
  readonly #workers: RunningWorker[] = [];

  private constructor(
    public daemon: Daemon,
    readonly browser: BrowserContext,
    readonly page: Page,
    readonly client: CoordinationClient,
    readonly args: string[],
  ) {
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("request", (request) => this.requested.push(request.url()));
  }

  static async open({ token, args: more = [] }: { token?: string; args?: string[] } = {}): Promise<Desk> {
    const args = token === undefined ? more : [...more, "--token", token];
    const daemon = await spawnDaemon({ args });
    const browser = await openWindow();
    const page = await browser.newPage();
    await page.setViewportSize(wide);
    const client = new CoordinationClient({ url: daemon.url, token });
    await client.connect();
    return new Desk(daemon, browser, page, client, args);
  }

  /** Goes to a view and waits until it shows something. */
  async go(view: string): Promise<void> {
    const url = `${this.daemon.url}/#/${view}`;
    if (this.page.url().split("#")[0] === `${this.daemon.url}/`)
      await this.page.evaluate((to) => location.assign(to), url);
    else await this.page.goto(url);
    await this.page.locator("main > div").first().waitFor();
    await this.settled();
  }

  /** By its whole name: a dialog that is going away may still hold a "Cancel it" beside the "Cancel" behind it. */
  button(name: string, within: Page | Locator = this.page): Locator {
    return within.getByRole("button", { name, exact: true });
  }

  /** Nothing is being loaded. */
  async settled(): Promise<void> {
    await until(async () => (await this.page.locator(".skeleton").count()) === 0);
    await this.page.evaluate(() => document.fonts.ready);
  }

  async worker(
    queue: string,
    handler: Parameters<typeof worker>[1],
    id: string,
    more: object = {},
  ): Promise<void> {
    const url = this.daemon.url;
    this.#workers.push(await worker(queue, handler as never, { url, workerId: id, ...more } as never));
  }

  /** As axe has it, and no wider than the screen; kept as a picture. */
  async look(name: string): Promise<void> {
    await this.#picture(name);
    // The policy of the page lets no script in; what the debugger evaluates is not asked.
    await this.page.evaluate(axe);
    const violations = await this.page.evaluate(async () => {
      const { axe: it } = window as unknown as { axe: { run(): Promise<{ violations: Violation[] }> } };
      return (await it.run()).violations;
    });
    expect(
      violations.map(({ id, nodes }) => [
        name,
        id,
        nodes.map(({ html, failureSummary }) => [html, failureSummary]),
      ]),
    ).toEqual([]);
    const [content, screen] = await this.page.evaluate(() => [
      document.documentElement.scrollWidth,
      innerWidth,
    ]);
    expect([name, content! <= screen!]).toEqual([name, true]);
    expect([name, await this.#cutOff()]).toEqual([name, []]);
  }

  /** What is wider than its place and hidden there without a sign of it: an ellipsis is none where a row is flexible. */
  #cutOff(): Promise<string[]> {
    return this.page.evaluate(() =>
      [...document.querySelectorAll("main td")]
        .filter((cell) => {
          const { textOverflow, display } = getComputedStyle(cell);
          const says = textOverflow === "ellipsis" && !display.includes("flex");
          return !says && cell.scrollWidth > cell.clientWidth;
        })
        .map((cell) => cell.outerHTML),
    );
  }

  async #picture(name: string): Promise<void> {
    mkdirSync(pictures, { recursive: true });
    // What fades in has, or is gone.
    await this.page.evaluate(() =>
      Promise.allSettled(
        document
          .getAnimations()
          .filter(({ effect }) => effect?.getTiming().iterations === 1)
          .map(({ finished }) => finished),
      ),
    );
    await this.page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  }

  /** Light, dark, and on a phone. */
  async lookAround(name: string): Promise<void> {
    await this.look(name);
    await this.page.emulateMedia({ colorScheme: "dark" });
    await this.look(`${name}-dark`);
    await this.page.emulateMedia({ colorScheme: "light" });
    await this.page.setViewportSize(phone);
    await this.look(`${name}-phone`);
    await this.page.setViewportSize(wide);
  }

  /** The page loaded nothing from elsewhere, and nothing went wrong in it. */
  sound(): void {
    const own = [`${this.daemon.url}/`, `ws://127.0.0.1:${this.daemon.port}/`, "data:"];
    expect(this.requested.filter((url) => !own.some((start) => url.startsWith(start)))).toEqual([]);
    expect(this.requested.length).toBeGreaterThan(3);
    expect(this.complaints).toEqual([]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.browser.close();
    await Promise.all(this.#workers.map((one) => one.stop({ graceMs: 0 })));
    this.client.close();
    await this.daemon.kill();
  }
}
