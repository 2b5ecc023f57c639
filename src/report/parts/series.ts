import { Html, html } from "./html.js";
import { drawPlot, Plot } from "./plot.js";
import { METHOD_COLOURS } from "./theme.js";

const SYMBOLS = ["circle", "square", "triangle", "diamond", "cross", "hexagon", "wye", "times"] as const;

export type SeriesSymbol = (typeof SYMBOLS)[number] | "star";

/** How a method is drawn: never by colour alone. */
export interface Series {
  readonly colour: string;
  readonly symbol: SeriesSymbol;
}

/** The original model. */
export const ORIGINAL: Series = { colour: "var(--text)", symbol: "star" };

/** The look of the series at a place of a list. After eight it repeats. */
export function seriesAt(index: number): Series {
  const place = Math.max(0, index);
  return { colour: `var(--method-${place % METHOD_COLOURS})`, symbol: SYMBOLS[place % SYMBOLS.length]! };
}

/** Entries of a legend, in words and symbols. */
export function legend(entries: readonly { readonly name: string; readonly series: Series }[]): Html {
  return html`<ul class="legend">${entries.map(({ name, series }) => html`<li>${symbolSvg(series)}${name}</li>`)}</ul>`;
}

/** The legend of methods, in their order. */
export function methodLegend(methods: readonly string[], shown: ReadonlySet<string>, original: boolean): Html {
  const entries = methods.map((name, i) => ({ name, series: seriesAt(i) })).filter(({ name }) => shown.has(name));
  return legend([...entries, ...(original ? [{ name: "original", series: ORIGINAL }] : [])]);
}

/** Symbols are in the page once, as Plot draws them; legends and tables point to them. */
export function symbolDefinitions(): Html {
  const symbols = ([...SYMBOLS, "star"] as const).map((symbol) => {
    const dot = Plot.dot([0], { x: 0, y: 0, r: symbol === "star" ? 5 : 4.5, symbol });
    const scale = { type: "linear" as const, domain: [-1, 1] };
    const drawn = drawPlot({ width: 16, height: 16, margin: 0, axis: null, x: scale, y: scale, marks: [dot] });
    const [mark] = /<(circle|path) [^>]*\/>/.exec(drawn.text)!;
    return html`<g id="symbol-${symbol}">${new Html(mark)}</g>`;
  });
  return html`<svg class="defs" aria-hidden="true"><defs>${symbols}</defs></svg>`;
}

export function symbolSvg({ colour, symbol }: Series): Html {
  return html`<svg class="symbol" viewBox="0 0 16 16" fill="${colour}" aria-hidden="true"><use href="#symbol-${symbol}"/></svg>`;
}
