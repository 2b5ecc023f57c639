import type { LayerError, StudyReport } from "../data.js";
import { figure, figures } from "../parts/figure.js";
import { type Html, html } from "../parts/html.js";
import { significant } from "../parts/numbers.js";
import { drawPlot, Plot, type PlotSize } from "../parts/plot.js";
import type { Section } from "../parts/section.js";
import { legend, type Series, seriesAt } from "../parts/series.js";
import { table } from "../parts/table.js";
import { axis } from "../parts/ticks.js";
import { best, overall, ratioName, ratios, rowName, rowsAt } from "../study-rows.js";

/** The errors of one compressed model. */
interface ErrorLine {
  readonly name: string;
  readonly series: Series;
  readonly errors: readonly LayerError[];
}

/** Errors of the layers: the mix with the best average of every method before the thin lines of its others. */
export function layerErrorSection(data: StudyReport): Section | undefined {
  const drawn = ratios(data).flatMap((experts) => {
    const lines = rowsAt(data, experts).flatMap((row): (ErrorLine & { method: string })[] => {
      const series = seriesAt(data.methods.indexOf(row.method));
      const errors = row.layerErrors ?? [];
      return errors.length === 0 ? [] : [{ name: rowName(row, data.domains), series, errors, method: row.method }];
    });
    const strong = data.methods.flatMap((method) => {
      const rows = rowsAt(data, experts, method).filter(({ layerErrors }) => layerErrors?.length);
      const row = best(rows, overall) ?? rows[0];
      return lines.find(({ errors }) => errors === row?.layerErrors) ?? [];
    });
    const name = ratioName(data, experts);
    return lines.length === 0 ? [] : [layerErrorFigure(`layer-errors-${experts}`, name, strong, lines)];
  });
  if (drawn.length === 0) return undefined;
  return {
    id: "layer-errors",
    title: "Error of each layer",
    body: html`<p>How far the output of each compressed layer is from the original's, as a share of its size. Thin lines are the other mixes
of a method.</p>${figures(drawn)}`,
  };
}

/** @param strong the lines that are named; all others are thin. */
export function layerErrorFigure(
  id: string,
  name: string,
  strong: readonly ErrorLine[],
  lines: readonly ErrorLine[] = strong,
  measure = "relative error",
): Html {
  const layers = [...new Set(strong.flatMap(({ errors }) => errors.map(({ layer }) => layer)))].sort((a, b) => a - b);
  const title = `${measure[0]!.toUpperCase()}${measure.slice(1)} by layer, ${name}`;
  const errorAt = ({ errors }: ErrorLine, layer: number) => errors.find((one) => one.layer === layer)?.error;
  return figure({
    id,
    title,
    description: `Lower is better.${isWide(lines) ? " The scale is logarithmic." : ""}`,
    legend: legend(strong),
    draw: (size) => drawErrors(strong, lines, measure, size),
    table: table<number>({
      caption: title,
      columns: [
        { name: "layer", cell: (layer) => layer, number: (layer) => layer },
        ...strong.map((line) => ({
          name: line.name,
          cell: (layer: number) => significant(errorAt(line, layer)),
          number: (layer: number) => errorAt(line, layer),
        })),
      ],
      rows: layers,
    }),
  });
}

/** Errors of very different sizes are drawn on a logarithmic scale. */
function isWide(lines: readonly ErrorLine[]): boolean {
  const errors = lines.flatMap((line) => line.errors.map(({ error }) => error));
  return Math.min(...errors) > 0 && Math.max(...errors) > 30 * Math.min(...errors);
}

function drawErrors(
  strong: readonly ErrorLine[],
  lines: readonly ErrorLine[],
  measure: string,
  { width, narrow }: PlotSize,
): Html {
  const place = { x: "layer", y: "error" };
  const layers = Math.max(...lines.map(({ errors }) => errors.length));
  return drawPlot({
    width,
    height: narrow ? 260 : 320,
    marginLeft: 48,
    marginBottom: 42,
    marginTop: 26,
    marginRight: 12,
    // No more ticks than layers: there are none between two.
    x: axis("layer", { nice: false, ticks: Math.min(narrow ? 5 : 10, layers - 1), tickFormat: "d" }),
    y: axis(measure, { ticks: 5, ...(isWide(lines) ? { type: "log", tickFormat: "~g" } : { zero: true }) }),
    color: { type: "identity" },
    marks: [
      ...lines
        .filter((line) => !strong.includes(line))
        .map(({ errors, series }) =>
          Plot.line(errors, { ...place, stroke: series.colour, strokeWidth: 0.75, strokeOpacity: 0.35 }),
        ),
      ...strong.map(({ errors, series }) => Plot.line(errors, { ...place, stroke: series.colour, strokeWidth: 1.75 })),
      ...strong.map(({ name, errors, series }) =>
        Plot.dot(errors, {
          ...place,
          r: errors.length > 24 ? 2.5 : 3.5,
          symbol: series.symbol,
          fill: series.colour,
          title: ({ layer, error }: LayerError) => `layer ${layer}, ${name}\nerror ${significant(error)}`,
        }),
      ),
    ],
  });
}
