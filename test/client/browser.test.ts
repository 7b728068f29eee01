/** The package in a page that Vite built, in a real browser, against a real daemon that is killed and started again. */
import { expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { build } from "vite";
import { missingBrowser, openWindow } from "../support/browser.ts";
import { spawnDaemon, temporaryFolder } from "../support/daemon.ts";
import { missingNode, project } from "../support/package.ts";
import type { Page } from "./page/page.ts";

declare global {
  interface Window {
    page: Page;
  }
}

const token = "s3cret";

/** The page, built in a project that has the package and nothing else. */
async function builtPage(): Promise<string> {
  const folder = await project();
  cpSync(join(import.meta.dir, "page"), folder, { recursive: true });
  const outDir = join(folder, "dist");
  await build({ root: folder, logLevel: "silent", configFile: false, build: { outDir } });
  return outDir;
}

const missing = missingBrowser || missingNode;

test.skipIf(missing !== "")(
  `browser - a page connects by WebSocket with a token, works, watches, and survives a restart of the daemon${missing}`,
  async () => {
    const folder = await builtPage();
    using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      async fetch({ url }) {
        const { pathname } = new URL(url);
        const file = Bun.file(join(folder, pathname === "/" ? "index.html" : pathname));
        return (await file.exists()) ? new Response(file) : new Response(null, { status: 404 });
      },
    });
    const origin = `http://127.0.0.1:${server.port}`;
    const data = temporaryFolder();
    const args = ["--token", token, "--allow-origin", origin];
    const first = await spawnDaemon({ data, args });
    await using browser = await openWindow();
    const tab = await browser.newPage();
    const complaints: string[] = [];
    tab.on("pageerror", (error) => complaints.push(String(error)));

    await tab.goto(`${origin}/?url=${encodeURIComponent(first.url)}&token=${token}`);
    await tab.evaluate(() => window.page.start());
    expect(await tab.evaluate(() => window.page.work([1, "zwei"]))).toEqual({ echoed: [1, "zwei"] });
    await tab.waitForFunction(() => window.page.watched.length >= 3);
    expect(await tab.evaluate(() => window.page.watched)).toEqual(["queued", "running", "completed"]);
    expect(await tab.evaluate(() => window.page.refused("s3cres"))).toBe("unauthorized");

    await first.kill();
    // Submitted while there is no daemon: it goes out when there is one again.
    await tab.evaluate(() => void window.page.work("after"));
    const ports = {
      command: ["serve", "--port", `${first.port}`, "--ws-port", `${first.wsPort}`, "--data", data],
    };
    // Ended with the tests, as every daemon of theirs.
    await spawnDaemon({ data, args, ...ports });
    await tab.waitForFunction(() => window.page.results.length === 2);
    expect(await tab.evaluate(() => window.page.results)).toEqual([
      { echoed: [1, "zwei"] },
      { echoed: "after" },
    ]);
    // It may have met the daemon over HTTP, if that came up between two of its looks.
    await tab.waitForFunction(() => window.page.carriers.at(-1) === "websocket");
    expect(await tab.evaluate(() => window.page.carriers[0])).toBe("websocket");
    expect(await tab.evaluate(() => window.page.carriers.length)).toBeGreaterThan(1);
    expect(complaints).toEqual([]);
  },
  120_000,
);
