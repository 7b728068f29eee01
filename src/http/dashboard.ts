/**
 * The dashboard at /, and what it is made of under /dashboard/. It is a page like any other: it comes without a token,
 * tells nothing of the state, and asks for all it shows over the WebSocket. It may load from its own address alone.
 */
import { Elysia } from "elysia";
import { Refusal } from "./problems.ts";

/** Styles are set on elements by script, which needs no exception. */
const contentSecurity =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Made with the first request: whoever never looks pays nothing. */
const assets = async () => (await import("../dashboard/assets.ts")).assets;

async function answer(name: string, request: Request): Promise<Response> {
  const asset = (await assets())[name];
  if (asset === undefined) throw new Refusal("not-found", `There is no file ${name} of the dashboard.`);
  const tag = `"${Bun.hash(typeof asset.body === "string" ? asset.body : await asset.body.bytes()).toString(36)}"`;
  const headers = {
    "content-type": asset.type,
    "content-security-policy": contentSecurity,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
    etag: tag,
  };
  if (request.headers.get("if-none-match") === tag) return new Response(null, { status: 304, headers });
  return new Response(asset.body, { headers });
}

const hidden = { detail: { hide: true } };

export const dashboard = new Elysia({ normalize: false })
  .get("/", ({ request }) => answer("", request), hidden)
  .get("/dashboard/:file", ({ params, request }) => answer(params.file, request), hidden);
