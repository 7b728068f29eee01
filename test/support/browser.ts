/** A real browser for tests, where the machine has one; nothing is loaded from elsewhere. */
import { existsSync } from "node:fs";
import { type Browser, type BrowserContext, chromium } from "playwright-core";
import { atEnd } from "./ending.ts";

const executable = Bun.which("chromium") ?? Bun.which("chromium-browser") ?? Bun.which("google-chrome");

/** Why a test that needs it is skipped; "": it is not. For the end of the test's title. */
export const missingBrowser =
  executable === null || !existsSync(executable) ? " (skipped: no chromium on this machine)" : "";

const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** One for all tests of a process: to start one takes as long as most of them. */
let browser: Promise<Browser> | null = null;
atEnd(async () => {
  const ending = await browser;
  browser = null;
  await ending?.close();
});

/** As a browser of its own: nothing that one window keeps is seen in another. Closed when it goes out of scope. */
export async function openWindow(): Promise<BrowserContext> {
  browser ??= chromium.launch({ executablePath: executable!, headless: true, args: flags });
  return (await browser).newContext({ viewport: { width: 1280, height: 1400 } });
}
