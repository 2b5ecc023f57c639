import { type Child, Html, html } from "./html.js";
import { NARROW, type PlotSize, WIDE } from "./plot.js";

export interface Figure {
  /** Unique in the page. */
  readonly id: string;
  readonly title: string;
  /** What is drawn and how it is read. */
  readonly description: Child;
  readonly legend?: Child;
  readonly draw: (size: PlotSize) => Html | readonly Html[];
  /** The numbers of the plot, for those who do not see it and those who want to copy them. */
  readonly table: Html;
}

/** A plot with all that makes it readable: title, description, legend, two sizes, and its numbers. */
export function figure({ id, title, description, legend, draw, table }: Figure): Html {
  const drawn = (size: PlotSize) => [draw(size)].flat().map((svg) => labelled(svg, id));
  return html`<figure id="${id}">
<figcaption><h3 id="${id}-title">${title}</h3><p id="${id}-description">${description}</p></figcaption>
${legend}
<div class="narrow">${drawn(NARROW)}</div><div class="wide">${drawn(WIDE)}</div>
<details><summary>Numbers of this plot</summary>${table}</details>
</figure>`;
}

function labelled({ text }: Html, id: string): Html {
  return new Html(
    text.replace("<svg ", `<svg role="img" aria-labelledby="${id}-title" aria-describedby="${id}-description" `),
  );
}

/** Figures side by side where there is room. */
export function figures(all: readonly Html[]): Html {
  return html`<div class="figures">${all}</div>`;
}
