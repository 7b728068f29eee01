/** The dashboard's files as they are served: whole, under a strict policy, and with nothing that needs a token. */
import { afterAll, describe, expect, test } from "bun:test";
import { world } from "./world.ts";

const w = world({ token: "s3cret" });
afterAll(() => w[Symbol.asyncDispose]());

describe("http dashboard", () => {
  test("http dashboard - the page and all it names are there without a token, and may load from here alone", async () => {
    const page = await w.fetch("/");
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    const named = [...(await page.text()).matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path!);
    expect(named.length).toBeGreaterThan(3);
    for (const path of named) {
      expect(path).toStartWith("/dashboard/");
      const { status, headers } = await w.fetch(path);
      expect([path, status]).toEqual([path, 200]);
      expect(headers.get("content-security-policy")).toContain("default-src 'none'; script-src 'self';");
      expect(headers.get("content-security-policy")).not.toContain("unsafe");
      expect(headers.get("x-content-type-options")).toBe("nosniff");
    }
  });

  test("http dashboard - the script is that of the page, without the library of the schemas", async () => {
    const script = await (await w.fetch("/dashboard/page.js")).text();
    // Of the whole script a failure would print too much.
    expect([script.includes("cortexd-dashboard"), script.includes("TypeBox.Kind")]).toEqual([true, false]);
    expect(script.length).toBeLessThan(400_000);
  });

  test("http dashboard - what a browser has already is not sent again", async () => {
    const { headers } = await w.fetch("/dashboard/page.css");
    const again = await w.fetch("/dashboard/page.css", {
      headers: { "if-none-match": headers.get("etag")! },
    });
    expect([again.status, await again.text()]).toEqual([304, ""]);
  });

  test("http dashboard - another file is a problem as anywhere, and the API still wants the token", async () => {
    const none = await w.fetch("/dashboard/none.js");
    expect([none.status, (await none.json()) as object]).toEqual([
      404,
      expect.objectContaining({ code: "not-found" }),
    ]);
    expect((await w.fetch("/api/tasks")).status).toBe(401);
    expect((await w.fetch("/dashboard/../api/tasks")).status).toBe(401);
  });

  test("http dashboard - the licenses of what it is made of come along", async () => {
    const text = await (await w.fetch("/dashboard/licenses.txt")).text();
    for (const name of ["preact", "@preact/signals", "uplot", "@fontsource-variable/inter"])
      expect(text).toContain(`${name}\n\n`);
  });
});
