import { createHash } from "node:crypto";
import { VERSION } from "../../version.js";
import { type Child, Html, html } from "./html.js";
import { PAGE_SCRIPT } from "./script.js";
import type { Section } from "./section.js";
import { symbolDefinitions } from "./series.js";
import { pageCss } from "./style.js";

export interface Page {
  readonly title: string;
  /** What kind of page it is, above the title. */
  readonly kind: string;
  /** What stands before the first section. */
  readonly lead: Child;
  readonly sections: readonly Section[];
}

/**
 * The whole page as one file. Its policy forbids every request and every script but its own, whatever names and texts of
 * others have come into it.
 */
export function page({ title, kind, lead, sections }: Page): string {
  const digest = createHash("sha256").update(PAGE_SCRIPT).digest("base64");
  const policy = `default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-${digest}'; base-uri 'none'; form-action 'none'`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="ream ${VERSION}">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${new Html(pageCss())}</style>
</head>
<body>
${symbolDefinitions()}
<div class="page contents">
<header><p class="eyebrow">${kind}</p><button type="button" class="theme" hidden>Theme</button><h1>${title}</h1></header>
<nav aria-labelledby="contents"><h2 id="contents">Contents</h2><ol>${sections.map(
    ({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`,
  )}</ol></nav>
<main>
<section aria-label="Summary">${lead}</section>
${sections.map(
  ({ id, title, body }) => html`<section id="${id}" aria-labelledby="${id}-heading">
<h2 id="${id}-heading">${title}</h2>
${body}
</section>
`,
)}
<footer>Made by ream ${VERSION}. This file needs no network and can be kept, sent and printed as it is.</footer>
</main>
</div>
<script>${new Html(PAGE_SCRIPT)}</script>
</body>
</html>
`.text;
}
