import { type Html, html } from "./html.js";
import { svgElement } from "./plot.js";

/**
 * A map of very many cells, small enough for a page: one path for each step of the palette, cells of a row that follow
 * each other joined, and the whole defined once for both sizes of a plot. 60 layers of 256 experts would be 15,360
 * rectangles otherwise.
 */
export interface CellMap {
  readonly columns: number;
  readonly rows: number;
  /** Stands once in the page. */
  readonly definition: Html;
  /** Draws it into the frame of a plot. */
  readonly place: (frame: Frame) => ReturnType<typeof svgElement>;
}

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly marginTop: number;
  readonly marginRight: number;
  readonly marginBottom: number;
  readonly marginLeft: number;
}

/**
 * @param id unique in the page.
 * @param steps [rows, columns], steps of the sequential palette.
 */
export function cellMap(id: string, steps: readonly (readonly number[])[]): CellMap {
  const paths = new Map<number, string>();
  for (const [y, row] of steps.entries()) {
    for (let x = 0; x < row.length; ) {
      const step = row[x]!;
      let end = x + 1;
      while (end < row.length && row[end] === step) end++;
      paths.set(step, `${paths.get(step) ?? ""}M${x} ${y}h${end - x}`);
      x = end;
    }
  }
  const drawn = [...paths].map(
    ([step, path]) => html`<path d="${path}" stroke="var(--sequential-${step})" transform="translate(0 .5)"/>`,
  );
  const columns = Math.max(...steps.map((row) => row.length));
  const rows = steps.length;
  return {
    columns,
    rows,
    definition: html`<svg class="defs" aria-hidden="true"><defs><g id="${id}" fill="none" shape-rendering="crispEdges">${drawn}</g></defs></svg>`,
    place: ({ width, height, marginTop, marginRight, marginBottom, marginLeft }) => {
      const scale = [(width - marginLeft - marginRight) / columns, (height - marginTop - marginBottom) / rows];
      return svgElement("use", {
        href: `#${id}`,
        transform: `translate(${marginLeft} ${marginTop}) scale(${scale.map((one) => one.toFixed(4)).join(" ")})`,
      });
    },
  };
}
