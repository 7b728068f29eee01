/** Swagger UI as a person meets it: a real browser, no internet, a task submitted by Try it out. */
import { describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { missingBrowser, openWindow } from "../support/browser.ts";
import { world } from "./world.ts";

const artifacts = join(import.meta.dir, "../../artifacts");

describe("http swagger", () => {
  test.skipIf(missingBrowser !== "")(
    `http swagger - Try it out submits a task, with nothing loaded from elsewhere${missingBrowser}`,
    async () => {
      await using w = world();
      await using browser = await openWindow();
      const page = await browser.newPage();
      const complaints: string[] = [];
      const requested: string[] = [];
      page.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) complaints.push(message.text());
      });
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("request", (request) => requested.push(request.url()));

      await page.goto(`${w.url}/swagger`);
      const operation = page.locator("#operations-tasks-taskSubmit");
      await operation.waitFor();
      const document = (await (await w.fetch("/swagger/json")).json()) as { paths: Record<string, object> };
      const routes = Object.values(document.paths).flatMap((methods) => Object.keys(methods));
      expect(await page.locator(".opblock").count()).toBe(routes.length);
      await operation.locator(".opblock-summary").click();
      await operation.getByRole("button", { name: "Try it out" }).click();
      await operation.getByRole("button", { name: "Execute" }).click();
      const answered = operation.locator(".live-responses-table tbody .response-col_status").first();
      await answered.waitFor();
      mkdirSync(artifacts, { recursive: true });
      await operation.locator(".live-responses-table").scrollIntoViewIfNeeded();
      await page.screenshot({ path: join(artifacts, "swagger.png") });

      expect(await answered.textContent()).toContain("201");
      expect(w.calls.find((call) => call.operation === "task.submit")?.input).toMatchObject({ type: "send" });
      expect(complaints).toEqual([]);
      expect(requested.length).toBeGreaterThan(5);
      const elsewhere = requested.filter((url) => !url.startsWith(`${w.url}/`) && !url.startsWith("data:"));
      expect(elsewhere).toEqual([]);
    },
    60_000,
  );
});
