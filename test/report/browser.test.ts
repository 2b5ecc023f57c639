import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { renderCompressionReport } from "../../src/report/compression-report.js";
import { renderStudyReport } from "../../src/report/study-report.js";
import { hasChromium, launchChromium } from "../support/chromium.js";
import { madeUpCompression, madeUpStudy } from "./made-up.js";
import { paperStudy } from "./paper-study.js";

const PAGES = {
  study: () => renderStudyReport(madeUpStudy({ layers: 24, experts: 64 })),
  paper: () => renderStudyReport(paperStudy()),
  compression: () => renderCompressionReport(madeUpCompression()),
} as const;
const NAMES = Object.keys(PAGES) as (keyof typeof PAGES)[];
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** Scripts for the page are texts: the project has no types of the DOM. */
describe.skipIf(!hasChromium)("in a browser", () => {
  let folder: string;
  let browser: Browser;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "ream-report-"));
    for (const name of NAMES) writeFileSync(join(folder, `${name}.html`), PAGES[name]());
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Opens a page, and fails where it says anything on the console or asks for anything but itself. */
  async function withPage(
    name: keyof typeof PAGES,
    { width = 1600, theme = "light" as "light" | "dark", script = true },
    check: (page: Page) => Promise<void>,
  ) {
    const context = await browser.newContext({
      viewport: { width, height: 900 },
      colorScheme: theme,
      javaScriptEnabled: script,
      bypassCSP: false,
    });
    const said: string[] = [];
    const page = await context.newPage();
    page.on("console", (message) => said.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => said.push(String(error)));
    const address = pathToFileURL(join(folder, `${name}.html`)).href;
    page.on("request", (request) => {
      const url = request.url();
      if (url !== address && !url.startsWith("data:")) said.push(`request: ${url}`);
    });
    try {
      await page.goto(address);
      await check(page);
      expect(said).toEqual([]);
    } finally {
      await context.close();
    }
  }

  describe.each(NAMES)("%s", (name) => {
    test.each([360, 1600])("fits a screen of %i pixels", async (width) => {
      await withPage(name, { width }, async (page) => {
        expect(await page.evaluate<number>("document.documentElement.scrollWidth")).toBeLessThanOrEqual(width);
        expect(await page.evaluate(SMALL_TEXTS)).toEqual([]);
        expect(await page.evaluate(EMPTY_PLOTS)).toEqual([]);
        expect(await page.evaluate(OVERFLOWING_TEXTS)).toEqual([]);
      });
    });

    test.each(["light", "dark"] as const)("has no serious violation for axe in the %s theme", async (theme) => {
      await withPage(name, { width: 1200, theme }, async (page) => {
        await page.evaluate(readFileSync(AXE, "utf8"));
        const found = await page.evaluate<{ impact: string; id: string; nodes: { html: string }[] }[]>(
          "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations)",
        );
        const serious = found.filter(({ impact }) => impact === "serious" || impact === "critical");
        expect(serious.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`)).toEqual([]);
      });
    });

    test("prints without a clipped plot, in light colours", async () => {
      await withPage(name, { width: 700, theme: "dark" }, async (page) => {
        await page.emulateMedia({ media: "print", colorScheme: "dark" });
        expect(await page.evaluate<number>("document.documentElement.scrollWidth")).toBeLessThanOrEqual(700);
        expect(await page.evaluate(CLIPPED_PLOTS)).toEqual([]);
        expect(await page.evaluate("getComputedStyle(document.body).color")).toBe("rgb(27, 30, 33)");
        const pdf = await page.pdf({ format: "A4" });
        expect(pdf.subarray(0, 5).toString()).toBe("%PDF-");
      });
    });

    test("can be read without its script", async () => {
      await withPage(name, { script: false }, async (page) => {
        expect(await page.locator("figure .wide svg title").count()).toBeGreaterThan(0);
        expect(await page.locator(".theme").isVisible()).toBe(false);
      });
    });
  });

  test("marks tell what they are on focus, and arrows go from one to the next", async () => {
    await withPage("paper", {}, async (page) => {
      const plot = page.locator("#pareto-96 .wide svg");
      expect(await plot.locator("[tabindex='0']").count()).toBe(1);
      await plot.locator("[tabindex='0']").focus();
      expect(await page.locator(".tip").textContent()).toBe("original\nMC 69.7, GEN 70.9");
      await page.keyboard.press("ArrowRight");
      const label = await page.evaluate<string>("document.activeElement.getAttribute('aria-label')");
      expect(label).toMatch(/^Freq, mix .* \(general \/ math \/ code\)\nMC [\d.]+, GEN [\d.]+$/);
      expect(await page.locator(".tip").textContent()).toBe(label);
      expect(await page.locator(".tip").isVisible()).toBe(true);
      await page.keyboard.press("Escape");
      expect(await page.locator(".tip").isVisible()).toBe(false);
    });
  });

  test("marks tell what they are under the pointer", async () => {
    await withPage("paper", { width: 360 }, async (page) => {
      await page.locator("#correlations-96 .narrow svg [data-tip]").first().hover();
      expect(await page.locator(".tip").textContent()).toBe("Freq, general → MC: 0.96");
    });
  });

  test("tables sort by number and back", async () => {
    await withPage("paper", {}, async (page) => {
      await page.locator("#pareto-96 summary").click();
      const header = page.locator("#pareto-96 th", { hasText: /^GEN$/ });
      const column = () => page.locator("#pareto-96 tbody td:nth-child(4)").allTextContents();
      await header.locator("button").click();
      const rising = (await column()).map(Number);
      expect(rising).toEqual([...rising].sort((a, b) => a - b));
      expect(await header.getAttribute("aria-sort")).toBe("ascending");
      await header.locator("button").press("Enter");
      expect((await column()).map(Number)).toEqual([...rising].reverse());
    });
  });

  test("the theme can be chosen", async () => {
    await withPage("paper", { theme: "dark" }, async (page) => {
      const ground = () => page.evaluate<string>("getComputedStyle(document.body).backgroundColor");
      expect(await ground()).toBe("rgb(18, 21, 24)");
      await page.locator(".theme").click();
      expect(await ground()).toBe("rgb(246, 247, 248)");
      await page.locator(".theme").click();
      expect(await ground()).toBe("rgb(18, 21, 24)");
      expect(await page.locator(".theme").textContent()).toBe("Theme: dark");
    });
  });
});

/** Texts, of plots too, that are less than 11 pixels high on the screen. */
const SMALL_TEXTS = `(() => {
  const small = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("script, style, title")) continue;
    const scale = element instanceof SVGElement ? element.getScreenCTM().a : 1;
    const size = parseFloat(getComputedStyle(element).fontSize) * scale;
    if (size < 11) small.push(size.toFixed(1) + ": " + walker.currentNode.data);
  }
  return small;
})()`;

/** Figures of which no size is shown, or a plot has no marks. */
const EMPTY_PLOTS = `[...document.querySelectorAll("figure")].filter((figure) => {
  const shown = [...figure.querySelectorAll(".narrow svg, .wide svg")].filter((svg) => svg.checkVisibility());
  return shown.length === 0 || shown.some((svg) => svg.querySelectorAll("[data-tip]").length === 0 || svg.getBoundingClientRect().width < 200);
}).map(({ id }) => id)`;

/** Texts of plots that reach out of them by more than a pixel. */
const OVERFLOWING_TEXTS = `[...document.querySelectorAll("figure .plot")].filter((svg) => svg.checkVisibility()).flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
  }).map((text) => svg.closest("figure").id + ": " + text.textContent);
})`;

const CLIPPED_PLOTS = `[...document.querySelectorAll("figure svg.plot, .flowers svg")].filter((svg) => svg.checkVisibility()).filter((svg) => {
  const box = svg.getBoundingClientRect();
  // A page of A4 is about 1000 pixels high between its margins.
  return box.left < 0 || box.right > document.documentElement.clientWidth || box.height > 980;
}).map((svg) => (svg.closest("figure") ?? svg).id)`;
