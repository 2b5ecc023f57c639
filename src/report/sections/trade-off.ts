import type { StudyReport, StudyRow } from "../data.js";
import { figure, figures } from "../parts/figure.js";
import { type Html, html } from "../parts/html.js";
import { fixed, percent } from "../parts/numbers.js";
import { drawPlot, Plot, type PlotSize } from "../parts/plot.js";
import type { Section } from "../parts/section.js";
import { seriesAt } from "../parts/series.js";
import { table } from "../parts/table.js";
import { axis } from "../parts/ticks.js";
import { shortened } from "../parts/words.js";
import { mixName, ratioName, ratios } from "../study-rows.js";
import { originalMarks, pointsAt, pointTitle, scoreRange } from "./pareto.js";

/** MC against GEN, a panel for each method, symbols as large as the share of code in the mix (the paper's Fig. 2). */
export function tradeOffSection(data: StudyReport): Section | undefined {
  const domain = data.domains.includes("code") ? "code" : data.domains.at(-1);
  const shown = ratios(data).filter((experts) => pointsAt(data, experts).length > 0);
  if (domain === undefined || shown.length === 0) return undefined;
  return {
    id: "trade-off",
    title: `Where ${domain} in the mix leads`,
    body: figures(shown.map((experts) => tradeOffFigure(data, experts, domain))),
  };
}

function tradeOffFigure(data: StudyReport, experts: number, domain: string): Html {
  const points = pointsAt(data, experts);
  return figure({
    id: `trade-off-${experts}`,
    title: `Size by share of ${domain}, ${ratioName(data, experts)}`,
    description: html`A panel for each method, with all other models in grey. The larger the symbol, the more ${domain} was in the
calibration text; the smallest had none. The star is the original.`,
    draw: (size) => drawPanels(data, points, domain, size),
    table: table({
      caption: `Share of ${domain} with MC and GEN, ${ratioName(data, experts)}`,
      columns: [
        { name: "method", cell: ({ method }) => method },
        { name: `mix (${data.domains.join(" / ")})`, cell: (row) => mixName(row, data.domains) },
        { name: domain, cell: ({ mix }) => percent(mix[domain] ?? 0, 0), number: ({ mix }) => mix[domain] ?? 0 },
        { name: "MC", cell: ({ mc }) => fixed(mc), number: ({ mc }) => mc },
        { name: "GEN", cell: ({ gen }) => fixed(gen), number: ({ gen }) => gen },
      ],
      rows: points,
    }),
  });
}

function drawPanels(data: StudyReport, points: ReturnType<typeof pointsAt>, domain: string, size: PlotSize): Html {
  const shown = data.methods.filter((method) => points.some((point) => point.method === method));
  const columns = Math.min(2, shown.length);
  const rows = Math.ceil(shown.length / columns);
  const panel = (method: string) => {
    const place = shown.indexOf(method);
    return { fx: place % columns, fy: Math.floor(place / columns) };
  };
  const radius = ({ mix }: StudyRow) => 2.5 + 5 * Math.sqrt(mix[domain] ?? 0);
  const others = shown.flatMap((method) =>
    points.filter((point) => point.method !== method).map((point) => ({ ...point, panel: panel(method) })),
  );
  return drawPlot({
    width: size.width,
    height: (size.narrow ? 165 : 205) * rows + 70,
    marginLeft: 34,
    marginBottom: 42,
    marginTop: 42,
    marginRight: 6,
    inset: 8,
    fx: { axis: null, padding: 0.08 },
    fy: { axis: null, paddingInner: 0.16 },
    x: axis("MC, %", { ticks: size.narrow ? 3 : 5, domain: scoreRange("mc", points, data.original) }),
    y: axis("GEN, %", { ticks: 4, domain: scoreRange("gen", points, data.original) }),
    color: { type: "identity" },
    r: { type: "identity" },
    marks: [
      Plot.frame({ stroke: "var(--line)" }),
      ...originalMarks(data.original, false),
      Plot.dot(others, {
        x: "mc",
        y: "gen",
        fx: (d) => d.panel.fx,
        fy: (d) => d.panel.fy,
        r: 1.75,
        fill: "var(--faint)",
      }),
      ...shown.map((method) => {
        const { colour, symbol } = seriesAt(data.methods.indexOf(method));
        return Plot.dot(
          points.filter((point) => point.method === method),
          {
            x: "mc",
            y: "gen",
            fx: () => panel(method).fx,
            fy: () => panel(method).fy,
            r: radius,
            symbol,
            fill: colour,
            fillOpacity: 0.35,
            stroke: colour,
            strokeWidth: 1.25,
            title: (point: StudyRow) => pointTitle(point, data.domains),
          },
        );
      }),
      Plot.text(shown, {
        fx: (method: string) => panel(method).fx,
        fy: (method: string) => panel(method).fy,
        frameAnchor: "top-left",
        dx: 1,
        dy: -15,
        fontWeight: 650,
        fill: "currentColor",
        text: (method: string) => shortened(method, size.narrow ? 18 : 32),
      }),
    ],
  });
}
