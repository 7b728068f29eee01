/**
 * What the page is made of, as texts and files that lie in the executable. Nothing of it is loaded from elsewhere.
 * Importing this makes the script where that was not done at build time, so it is imported when it is asked for.
 */
import inter from "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2" with { type: "file" };
import uplotStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
import { licenses, script } from "./built.ts" with { type: "macro" };
import icon from "./icon.svg" with { type: "text" };
import style from "./style.css" with { type: "text" };

const page = `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>Cortex</title>
  <link rel="icon" href="/dashboard/icon.svg">
  <link rel="preload" href="/dashboard/inter.woff2" as="font" type="font/woff2" crossorigin>
  <link rel="stylesheet" href="/dashboard/page.css">
  <script src="/dashboard/page.js" defer></script>
</head>
<body>
  <noscript><p>The dashboard is a program of this page: it needs JavaScript. The same is to be had with <code>cortexd</code> on the command line.</p></noscript>
</body>
</html>
`;

export type Asset = { type: string; body: string | Blob };

/** By what follows /dashboard/; the page itself under "". */
export const assets: Record<string, Asset> = {
  "": { type: "text/html; charset=utf-8", body: page },
  "page.js": { type: "text/javascript; charset=utf-8", body: script() },
  "page.css": { type: "text/css; charset=utf-8", body: `${uplotStyle}\n${style}` },
  "icon.svg": { type: "image/svg+xml", body: icon },
  "inter.woff2": { type: "font/woff2", body: Bun.file(inter) },
  "licenses.txt": { type: "text/plain; charset=utf-8", body: licenses() },
};
