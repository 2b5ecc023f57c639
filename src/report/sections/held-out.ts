import type { HeldOutScores, Scores, StudyReport } from "../data.js";
import { figure, figures } from "../parts/figure.js";
import { type Html, html } from "../parts/html.js";
import { percent, significant } from "../parts/numbers.js";
import { drawPlot, Plot, type PlotSize } from "../parts/plot.js";
import type { Section } from "../parts/section.js";
import { legend, methodLegend, ORIGINAL, type Series, seriesAt, symbolSvg } from "../parts/series.js";
import { type Column, table } from "../parts/table.js";
import { axis } from "../parts/ticks.js";
import { shortened } from "../parts/words.js";
import { ratioName, ratios, rowName, rowsAt } from "../study-rows.js";

/** A model with its held-out measures. */
interface Measured {
  readonly name: string;
  readonly series: Series;
  readonly heldOut: Readonly<Record<string, HeldOutScores>>;
}

/** How near the compressed models are to the original on text that neither calibration nor tasks have seen. */
export function heldOutSection(data: StudyReport): Section | undefined {
  const drawn = ratios(data).flatMap((experts) => {
    const rows = rowsAt(data, experts).filter(({ heldOut }) => heldOut !== undefined);
    if (rows.length === 0) return [];
    const models = rows.map((row) => ({
      name: rowName(row, data.domains),
      series: seriesAt(data.methods.indexOf(row.method)),
      heldOut: row.heldOut!,
    }));
    const shown = methodLegend(data.methods, new Set(rows.map(({ method }) => method)), false);
    return [heldOutFigure(`held-out-${experts}`, ratioName(data, experts), models, data.original, shown)];
  });
  if (drawn.length === 0) return undefined;
  return {
    id: "held-out",
    title: "On held-out text",
    body: html`<p>Measured on text of each domain that was used neither for calibration nor by a task. It needs no answers, so that it
shows small changes which tasks miss.</p>${figures(drawn)}`,
  };
}

/** The same for one compressed model. */
export function heldOutOfModel(name: string, original: Scores, compressed: Scores): Html | undefined {
  if (compressed.heldOut === undefined) return undefined;
  const series = seriesAt(0);
  const models = [{ name, series, heldOut: compressed.heldOut }];
  return heldOutFigure("held-out-plot", name, models, original, legend([{ name, series }]));
}

function heldOutFigure(
  id: string,
  name: string,
  models: readonly Measured[],
  original: Scores | undefined,
  shown: Html,
): Html {
  const domains = [...new Set(models.flatMap(({ heldOut }) => Object.keys(heldOut)))];
  return figure({
    id,
    title: `Divergence from the original, ${name}`,
    description:
      "Kullback-Leibler divergence of the next token's distribution, in nats; 0 is the original. Perplexity and the share of equal next tokens are among the numbers.",
    legend: shown,
    draw: (size) => drawDivergences(domains, models, size),
    table: heldOutTable(name, domains, models, original),
  });
}

function drawDivergences(domains: readonly string[], models: readonly Measured[], { width }: PlotSize): Html {
  const points = domains.flatMap((domain, fy) =>
    models.flatMap(({ name, series, heldOut }) => {
      const scores = heldOut[domain];
      const title = `${domain}: ${name}\nKL ${significant(scores?.divergence)}, same token ${percent(scores?.agreement)}, perplexity ${significant(scores?.perplexity)}`;
      return scores === undefined ? [] : [{ fy, series, divergence: scores.divergence, title }];
    }),
  );
  type Point = (typeof points)[number];
  const all = [...new Map(models.map(({ series }) => [series.colour + series.symbol, series])).values()];
  const y = ({ series }: Point) =>
    all.findIndex(({ colour, symbol }) => colour === series.colour && symbol === series.symbol);
  return drawPlot({
    width,
    height: domains.length * (all.length * 15 + 34) + 44,
    marginLeft: 16,
    marginRight: 16,
    marginTop: 4,
    marginBottom: 40,
    fy: { type: "band", domain: domains.map((_, i) => i), axis: null, paddingInner: 0.04 },
    y: { type: "linear", domain: [all.length - 0.5, -1.9], axis: null },
    x: axis("KL divergence, nats", { ticks: 6, zero: true }),
    marks: [
      Plot.ruleX([0], { stroke: "var(--muted)" }),
      ...all.map((series) =>
        Plot.dot(
          points.filter((point) => point.series.colour === series.colour && point.series.symbol === series.symbol),
          {
            fy: "fy",
            x: "divergence",
            y,
            r: 4.5,
            symbol: series.symbol,
            fill: series.colour,
            fillOpacity: 0.45,
            stroke: series.colour,
            strokeWidth: 1.25,
            title: "title",
          },
        ),
      ),
      Plot.text(domains, {
        fy: (_, i) => i,
        frameAnchor: "top-left",
        dx: 6,
        dy: 4,
        fontWeight: 600,
        fill: "currentColor",
        stroke: "var(--panel)",
        strokeWidth: 4,
        text: (domain: string) => shortened(domain, 40),
      }),
    ],
  });
}

function heldOutTable(
  name: string,
  domains: readonly string[],
  models: readonly Measured[],
  original: Scores | undefined,
): Html {
  const first = original?.heldOut && { name: "original", series: ORIGINAL, heldOut: original.heldOut };
  const column = (
    title: string,
    value: (model: Measured) => number | undefined,
    write = significant,
  ): Column<Measured> => ({
    name: title,
    cell: (model) => write(value(model)),
    number: value,
  });
  return table<Measured>({
    caption: `Held-out text, ${name}`,
    columns: [
      { name: "model", cell: ({ name, series }) => [symbolSvg(series), name] },
      ...domains.flatMap((domain) => [
        column(`${domain}: KL`, ({ heldOut }) => heldOut[domain]?.divergence),
        column("same token", ({ heldOut }) => heldOut[domain]?.agreement, percent),
        column("perplexity", ({ heldOut }) => heldOut[domain]?.perplexity),
      ]),
    ],
    rows: [...(first ? [first] : []), ...models],
    strong: (model) => model === first,
  });
}
