/** A real browser for tests, where the machine has one; nothing is loaded from elsewhere. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium } from "playwright-core";

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

export type Browser = BrowserContext & AsyncDisposable;

/** Closed, and its profile removed, when it goes out of scope. */
export async function openBrowser(): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), "cortexd-browser-"));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: executable!,
    headless: true,
    args: flags,
    viewport: { width: 1280, height: 1400 },
  });
  return Object.assign(browser, {
    async [Symbol.asyncDispose]() {
      await browser.close();
      rmSync(profile, { recursive: true, force: true });
    },
  });
}
