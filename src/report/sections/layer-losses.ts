import type { LossLine } from "../data.js";
import { figures } from "../parts/figure.js";
import { html } from "../parts/html.js";
import { significant } from "../parts/numbers.js";
import type { Section } from "../parts/section.js";
import { seriesAt } from "../parts/series.js";
import { table } from "../parts/table.js";
import { layerErrorFigure } from "./layer-errors.js";

/** What layers lose on held-out calibration text, before and after a guard and a refit. */
export function lossSection(losses: readonly LossLine[] = []): Section | undefined {
  if (losses.length === 0) return undefined;
  const lines = losses.map(({ name, errors }, i) => ({ name, errors, series: seriesAt(i) }));
  const domains = [...new Set(losses.flatMap((line) => Object.keys(line.domains)))];
  const byDomain = html`<div class="panel"><h3>Share lost by domain</h3>${table<string>({
    caption: "Means of the layers. Lower is better.",
    columns: [
      { name: "domain", cell: (domain) => domain },
      ...losses.map((line) => ({
        name: line.name,
        cell: (domain: string) => significant(line.domains[domain]),
        number: (domain: string) => line.domains[domain],
      })),
    ],
    rows: domains,
  })}</div>`;
  return {
    id: "losses",
    title: "What layers lose, before and after",
    body: html`<p>What each reduced layer loses of the squared outputs that the original's layer makes of the same inputs, on calibration
text that was held out to decide what is kept.</p>${figures([
      layerErrorFigure("losses-by-layer", "held-out calibration text", lines, lines, "share lost"),
      byDomain,
    ])}`,
  };
}
