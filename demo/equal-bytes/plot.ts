import { document, Plot } from "../../src/report/parts/plot.js";
import type { Row } from "./results.js";

/** Quality against bytes as an SVG file: a point for each model, with one standard error to both sides. */
export function plotRows(rows: readonly Row[]): string {
  const points = rows.map((row) => ({ ...row, megabytes: row.bytes / 1e6 }));
  const best = points.filter((a) => !points.some((b) => b.bytes <= a.bytes && b.avg.value > a.avg.value));
  const kinds = [...new Set(points.map(({ kind }) => kind))];
  const colours = ["#111", "#c2410c", "#0369a1", "#15803d", "#7e22ce", "#b45309"];
  const svg = Plot.plot({
    document,
    ...{ width: 880, height: 560, marginLeft: 48, marginBottom: 44, marginRight: 24, grid: true },
    style: { background: "white", color: "#222", fontFamily: "system-ui, sans-serif", fontSize: "11px" },
    x: { type: "log", label: "MB of all tensors (zeros not counted)", ticks: [3, 4, 5, 6, 8, 10, 12, 16] },
    y: { domain: [0, 100], label: "AVG of MC and GEN, per cent" },
    color: { legend: false, domain: kinds, range: colours },
    marks: [
      Plot.line(best, { x: "megabytes", y: (d) => d.avg.value, stroke: "#bbb", strokeDasharray: "3,3", sort: "bytes" }),
      Plot.ruleX(points, {
        ...{ x: "megabytes", stroke: "kind" },
        ...{ y1: (d) => d.avg.value - d.avg.standardError, y2: (d) => d.avg.value + d.avg.standardError },
      }),
      Plot.dot(points, { x: "megabytes", y: (d) => d.avg.value, fill: "kind", r: 3.5 }),
      Plot.text(points, {
        ...{ x: "megabytes", y: (d) => d.avg.value, text: "name", fill: "kind" },
        ...{ dx: 7, textAnchor: "start", stroke: "white", strokeWidth: 3 },
      }),
      ...kinds.map((kind, i) =>
        Plot.text([kind], {
          ...{ frameAnchor: "bottom-right", dx: -4, dy: -14 * (kinds.length - i) - 4 },
          ...{ text: () => `● ${kind}`, fill: () => kind },
        }),
      ),
    ],
  });
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return `${svg.outerHTML}\n`;
}
