import { document, type Plot } from "../src/report/parts/plot.js";

/** A plot as the text of an SVG file with a title. */
export function svgFile(
  svg: ReturnType<typeof Plot.plot>,
  title: string,
  size: { readonly width: number; readonly height: number },
): string {
  // Plot brings rules for pages; a file has its own style.
  for (const style of svg.querySelectorAll("style")) style.remove();
  const element = document.createElementNS("http://www.w3.org/2000/svg", "title");
  element.textContent = title;
  svg.prepend(element);
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  svg.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
  return `${svg.outerHTML}\n`;
}
