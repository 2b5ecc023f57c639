import type { Correlations, StudyReport } from "../data.js";
import { figure, figures } from "../parts/figure.js";
import { type Html, html } from "../parts/html.js";
import { fixed } from "../parts/numbers.js";
import { drawPlot, Plot, type PlotSize } from "../parts/plot.js";
import type { Section } from "../parts/section.js";
import { table } from "../parts/table.js";
import { divergingStep } from "../parts/theme.js";
import { shortened } from "../parts/words.js";
import { ratioName, ratios } from "../study-rows.js";

interface Line {
  readonly name: string;
  /** Beside the plot. */
  readonly short: string;
  readonly value: (correlations: Correlations) => number | undefined;
}

/** How the shares of the domains go with the scores, as the paper's Fig. 3a. */
export function correlationSection(data: StudyReport): Section | undefined {
  const shown = ratios(data).filter((experts) =>
    data.fronts.some((front) => front.experts === experts && front.correlations),
  );
  if (shown.length === 0) return undefined;
  return {
    id: "correlations",
    title: "What the mix changes",
    body: html`<p>Pearson's correlation over the mixes of a method: +1 where more of the domain always goes with a higher score, −1 where it
always goes with a lower one, 0 where neither does. The last line tells whether MC and GEN rise together.</p>
${figures(shown.map((experts) => correlationFigure(data, experts)))}`,
  };
}

function correlationFigure(data: StudyReport, experts: number): Html {
  const lines = linesOf(data.domains);
  const columns = data.methods.flatMap((method) => {
    const front = data.fronts.find((one) => one.experts === experts && one.method === method);
    return front?.correlations ? [{ method, correlations: front.correlations }] : [];
  });
  return figure({
    id: `correlations-${experts}`,
    title: `Correlations, ${ratioName(data, experts)}`,
    description: "Blue rises together, orange goes against each other; the number is Pearson's r.",
    draw: (size) => drawHeatMap(lines, columns, size),
    table: table<Line>({
      caption: `Correlations, ${ratioName(data, experts)}`,
      columns: [
        { name: "", cell: ({ name }) => name },
        ...columns.map(({ method, correlations }) => ({
          name: method,
          cell: ({ value }: Line) => fixed(value(correlations), 2),
          number: ({ value }: Line) => value(correlations),
        })),
      ],
      rows: lines,
    }),
  });
}

function linesOf(domains: readonly string[]): readonly Line[] {
  const line = (domain: string, score: "mc" | "gen"): Line => ({
    name: `${domain} → ${score.toUpperCase()}`,
    short: `${shortened(domain, 10)} → ${score.toUpperCase()}`,
    value: ({ shares }) => shares[domain]?.[score],
  });
  return [
    ...domains.map((domain) => line(domain, "mc")),
    ...domains.map((domain) => line(domain, "gen")),
    { name: "MC ↔ GEN", short: "MC ↔ GEN", value: ({ mcGen }) => mcGen },
  ];
}

function drawHeatMap(
  lines: readonly Line[],
  columns: readonly { readonly method: string; readonly correlations: Correlations }[],
  { width }: PlotSize,
): Html {
  const cells = columns.flatMap(({ correlations }, x) =>
    lines.flatMap(({ value }, y) => {
      const r = value(correlations);
      return r === undefined || Number.isNaN(r) ? [] : [{ x, y, r }];
    }),
  );
  const names = lines.map(({ short }) => short);
  type Cell = (typeof cells)[number];
  const title = ({ x, y, r }: Cell) => `${columns[x]!.method}, ${lines[y]!.name}: ${fixed(r, 2)}`;
  return drawPlot({
    width,
    height: 34 * lines.length + 34,
    marginLeft: 14 + 7 * Math.max(...names.map((name) => name.length)),
    marginTop: 30,
    marginBottom: 4,
    marginRight: 2,
    padding: 0.06,
    x: {
      type: "band",
      domain: columns.map((_, i) => i),
      tickFormat: (i) => shortened(columns[i]!.method, Math.floor(width / 9 / columns.length)),
      axis: "top",
      label: null,
      tickSize: 0,
    },
    y: { type: "band", domain: lines.map((_, i) => i), tickFormat: (i) => names[i]!, label: null, tickSize: 0 },
    color: { type: "identity" },
    marks: [
      Plot.cell(cells, { x: "x", y: "y", fill: ({ r }: Cell) => `var(--diverging-${divergingStep(r)})`, rx: 3, title }),
      Plot.text(cells, {
        x: "x",
        y: "y",
        text: ({ r }: Cell) => fixed(r, 2),
        fill: ({ r }: Cell) => `var(--on-diverging-${divergingStep(r)})`,
        pointerEvents: "none",
      }),
    ],
  });
}
