import type { Front, Scores, StudyReport, StudyRow } from "../data.js";
import { figure, figures } from "../parts/figure.js";
import { type Html, html } from "../parts/html.js";
import { fixed, interval, significant } from "../parts/numbers.js";
import { drawPlot, Plot, type PlotSize } from "../parts/plot.js";
import { rangeBar } from "../parts/range-bar.js";
import type { Section } from "../parts/section.js";
import { methodLegend, ORIGINAL, seriesAt, symbolSvg } from "../parts/series.js";
import { table } from "../parts/table.js";
import { axis, rangeOf } from "../parts/ticks.js";
import { mixName, ratioName, ratios, rowsAt } from "../study-rows.js";

type Point = StudyRow & { readonly mc: number; readonly gen: number; readonly optimal: boolean };

/** MC against GEN with the frontier of every method, as the paper's Fig. 3b, and the hypervolumes. */
export function paretoSection(data: StudyReport): Section | undefined {
  const shown = ratios(data).filter((experts) => pointsAt(data, experts).length > 0);
  if (shown.length === 0) return undefined;
  const volumes = data.fronts.some(({ hypervolume }) => hypervolume !== undefined);
  return {
    id: "pareto",
    title: "What a mix trades for what",
    body: html`<p>More of one domain in the calibration text helps one kind of task and costs the other. A model is on the frontier of
its method where none of its other mixes is better in both.</p>
${figures(shown.map((experts) => paretoFigure(data, experts)))}
${volumes ? hypervolumes(data) : undefined}`,
  };
}

export function pointsAt(data: StudyReport, experts: number): readonly Point[] {
  const optimal = new Set(data.fronts.flatMap(({ frontier }) => frontier.map((index) => data.rows[index])));
  return rowsAt(data, experts).flatMap((row) =>
    row.mc === undefined || row.gen === undefined
      ? []
      : [{ ...row, mc: row.mc, gen: row.gen, optimal: optimal.has(row) }],
  );
}

function paretoFigure(data: StudyReport, experts: number): Html {
  const points = pointsAt(data, experts);
  const shown = new Set(points.map(({ method }) => method));
  return figure({
    id: `pareto-${experts}`,
    title: `Frontiers, ${ratioName(data, experts)}`,
    description:
      "Each symbol is a compressed model; up and to the right is better. Full symbols, joined by a line, are on the frontier of their method.",
    legend: methodLegend(data.methods, shown, data.original !== undefined),
    draw: (size) => drawFrontiers(data, points, size),
    table: table({
      caption: `MC and GEN, ${ratioName(data, experts)}`,
      columns: [
        { name: "method", cell: ({ method }) => method },
        { name: `mix (${data.domains.join(" / ")})`, cell: (row) => mixName(row, data.domains) },
        { name: "MC", cell: ({ mc }) => fixed(mc), number: ({ mc }) => mc },
        { name: "GEN", cell: ({ gen }) => fixed(gen), number: ({ gen }) => gen },
        { name: "on its frontier", cell: ({ optimal }) => (optimal ? "yes" : "no") },
      ],
      rows: points,
    }),
  });
}

function drawFrontiers({ methods, domains, original }: StudyReport, points: readonly Point[], size: PlotSize): Html {
  const lines = methods.map((method, i) => {
    const frontier = points
      .filter((point) => point.method === method && point.optimal)
      .sort((a, b) => a.mc - b.mc || b.gen - a.gen);
    return Plot.line(frontier, { x: "mc", y: "gen", stroke: seriesAt(i).colour, strokeWidth: 1.75 });
  });
  const dots = methods.map((method, i) => {
    const { colour, symbol } = seriesAt(i);
    return Plot.dot(
      points.filter((point) => point.method === method),
      {
        x: "mc",
        y: "gen",
        r: size.narrow ? 4.5 : 5,
        symbol,
        fill: ({ optimal }: Point) => (optimal ? colour : "var(--panel)"),
        stroke: colour,
        strokeWidth: 1.5,
        title: (point: Point) => pointTitle(point, domains),
      },
    );
  });
  return drawPlot({
    width: size.width,
    height: size.narrow ? 320 : 400,
    marginLeft: 40,
    marginBottom: 42,
    marginTop: 26,
    marginRight: 12,
    inset: 8,
    x: axis("MC, %", { ticks: 6, domain: scoreRange("mc", points, original) }),
    y: axis("GEN, %", { ticks: 6, domain: scoreRange("gen", points, original) }),
    color: { type: "identity" },
    marks: [...originalMarks(original), ...lines, ...dots],
  });
}

/** All points and the original. */
export function scoreRange(score: "mc" | "gen", points: readonly Point[], original: Scores | undefined) {
  return rangeOf([...points, ...(original ? [original] : [])].flatMap((scores) => scores[score] ?? []));
}

export function pointTitle(point: StudyRow, domains: readonly string[]): string {
  return `${point.method}, mix ${mixName(point, domains)} (${domains.join(" / ")})\nMC ${fixed(point.mc)}, GEN ${fixed(point.gen)}`;
}

/** The original: a star, with lines to both axes. */
export function originalMarks(original: Scores | undefined, title = true): Plot.Markish[] {
  if (original?.mc === undefined || original.gen === undefined) return [];
  const [{ mc, gen }, { colour, symbol }] = [{ mc: original.mc, gen: original.gen }, ORIGINAL];
  const rule = { stroke: "var(--faint)", strokeDasharray: "2 3" };
  const name = `original\nMC ${fixed(mc)}, GEN ${fixed(gen)}`;
  return [
    Plot.ruleX([mc], rule),
    Plot.ruleY([gen], rule),
    Plot.dot([original], { x: mc, y: gen, r: 6, symbol, fill: colour, ...(title && { title: () => name }) }),
  ];
}

function hypervolumes(data: StudyReport): Html {
  const fronts = data.fronts.filter(({ hypervolume }) => hypervolume !== undefined);
  const ends = fronts.flatMap((front) => [front.hypervolume!, ...(front.interval ?? [])]);
  const range: [number, number] = [0, Math.max(...ends)];
  const ranked = ratios(data).flatMap((experts) =>
    fronts.filter((front) => front.experts === experts).sort((a, b) => b.hypervolume! - a.hypervolume!),
  );
  return html`<div class="panel"><h3>Hypervolume</h3>
<p>The area of scores that the frontier of a method dominates: how good it is over all its mixes, in one number. Larger is better.</p>
${table<Front>({
  caption: "Hypervolume and optimal mixes of every method",
  columns: [
    { name: "method", cell: ({ method }) => [symbolSvg(seriesAt(data.methods.indexOf(method))), method] },
    { name: "experts", cell: ({ experts }) => experts, number: ({ experts }) => experts },
    {
      name: "hypervolume",
      cell: ({ hypervolume }) => fixed(hypervolume),
      number: ({ hypervolume }) => hypervolume,
    },
    ...(fronts.some((front) => front.interval)
      ? [{ name: "95 % interval", cell: (front: Front) => interval(front.interval, significant) }]
      : []),
    {
      name: "from 0",
      cell: ({ hypervolume, interval }) => rangeBar(hypervolume!, interval, range),
    },
    {
      name: "optimal mixes",
      cell: ({ optimal }) => (optimal === undefined ? "–" : `${optimal[0]} of ${optimal[1]}`),
      number: ({ optimal }) => optimal?.[0],
    },
  ],
  rows: ranked,
})}</div>`;
}
