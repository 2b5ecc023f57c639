import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { Html, visible } from "./html.js";

/** Every plot is drawn twice; the style sheet shows the one that fits the screen. */
export interface PlotSize {
  readonly width: number;
  readonly narrow: boolean;
}

export const NARROW: PlotSize = { width: 328, narrow: true };
export const WIDE: PlotSize = { width: 560, narrow: false };

/** Plot needs a document to create elements in; nothing is ever attached to this one. */
export const { document } = parseHTML("<!doctype html><html><body></body></html>");

/** The types of the DOM are no part of this project: what is used of an element. */
interface SvgElement {
  readonly outerHTML: string;
  setAttribute(name: string, value: string): void;
  removeAttribute(name: string): void;
  remove(): void;
  querySelectorAll(selector: string): Iterable<SvgElement>;
}

/** An element for marks that are drawn by hand. */
export function svgElement(name: string, attributes: Readonly<Record<string, string>>): SvgElement {
  const element: SvgElement = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Draws a plot as SVG. Plot's own style sheet, labels of groups and fonts are left out: the page has them once. */
export function drawPlot(options: Plot.PlotOptions): Html {
  const svg: SvgElement = Plot.plot({ ...options, document, className: "plot" });
  for (const style of svg.querySelectorAll("style")) style.remove();
  for (const group of svg.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label");
  for (const name of ["font-size", "font-family"]) svg.removeAttribute(name);
  return new Html(visible(svg.outerHTML));
}

export { Plot };
