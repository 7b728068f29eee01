/**
 * Swagger UI at /swagger, with nothing from elsewhere: the page, its script and its style lie in the executable,
 * and the page may load from its own address alone. The document is at /swagger/json.
 */
import { Elysia } from "elysia";
import favicon from "swagger-ui-dist/favicon-32x32.png" with { type: "file" };
import uiCss from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import uiJs from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import type { Port } from "./port.ts";

/** `style-src 'unsafe-inline'`: the interface sets styles on its elements. */
const contentSecurity =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const page = `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Cortex</title>
  <link rel="icon" href="/swagger/favicon.png">
  <link rel="stylesheet" href="/swagger/ui.css">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="/swagger/ui.js"></script>
  <script src="/swagger/start.js"></script>
</body>
</html>
`;

/** validatorUrl null: otherwise the interface asks a validator on the internet. */
const start = `window.ui = SwaggerUIBundle({
  url: "/swagger/json",
  dom_id: "#swagger-ui",
  validatorUrl: null,
  deepLinking: true,
  persistAuthorization: false,
  tryItOutEnabled: false,
});
`;

const file = (body: string | Blob, type: string) =>
  new Response(body, {
    headers: {
      "content-type": type,
      "content-security-policy": contentSecurity,
      "x-content-type-options": "nosniff",
      "cache-control": "no-cache",
    },
  });

const hidden = { detail: { hide: true } };

/** Loaded when it is asked for: what it is written with is several MiB, and most daemons are never asked. */
async function documentOf(port: Port, version: string): Promise<string> {
  const { openApiDocument } = await import("./openapi.ts");
  return JSON.stringify(await openApiDocument(port, version));
}

export const swaggerUi = (port: Port, version: string) => {
  let document: Promise<string> | null = null;
  const documentText = () => {
    document ??= documentOf(port, version);
    return document;
  };
  return new Elysia({ prefix: "/swagger", normalize: false })
    .get("/", () => file(page, "text/html; charset=utf-8"), hidden)
    .get("/start.js", () => file(start, "text/javascript; charset=utf-8"), hidden)
    .get("/ui.js", () => file(Bun.file(uiJs), "text/javascript; charset=utf-8"), hidden)
    .get("/ui.css", () => file(Bun.file(uiCss), "text/css; charset=utf-8"), hidden)
    .get("/favicon.png", () => file(Bun.file(favicon), "image/png"), hidden)
    .get("/json", async () => file(await documentText(), "application/json"), hidden);
};
