import { document, Plot } from "../../src/report/parts/plot.js";
import { svgFile } from "../svg-file.js";
import type { Row } from "./results.js";

const WIDTH = 880;
const HEIGHT = 560;
const COLOURS = ["#111", "#c2410c", "#0369a1", "#15803d", "#7e22ce", "#be185d"];
/** Points that are nearer than this, in megabytes' ratio and per cent, share a label. */
const NEAR = { ratio: 1.12, score: 3.5 };

interface Point extends Row {
  readonly megabytes: number;
}

/** Quality against bytes as an SVG file: a point for each model, with one standard error to both sides. */
export function plotRows(rows: readonly Row[]): string {
  const points = rows.map((row): Point => ({ ...row, megabytes: row.bytes / 1e6 }));
  const kinds = [...new Set(points.map(({ kind }) => kind))];
  const score = ({ avg }: Point) => avg.value;
  const svg = Plot.plot({
    document,
    ...{ width: WIDTH, height: HEIGHT, marginLeft: 48, marginBottom: 44, marginRight: 70, grid: true },
    style: { background: "white", color: "#222", fontFamily: "system-ui, sans-serif", fontSize: "11px" },
    x: {
      ...{ type: "log", label: "MB of all tensors, the zeros of pruned weights not counted" },
      ticks: [3, 4, 5, 6, 8, 10, 12, 16],
    },
    y: { domain: [0, 100], label: "AVG of MC and GEN, per cent" },
    color: { legend: false, domain: kinds, range: COLOURS },
    marks: [
      Plot.ruleX(points, {
        ...{ x: "megabytes", stroke: "kind" },
        ...{ y1: (d) => d.avg.value - d.avg.standardError, y2: (d) => d.avg.value + d.avg.standardError },
      }),
      Plot.dot(points, { x: "megabytes", y: score, fill: "kind", r: 3.5 }),
      ...together(points).flatMap((some) =>
        some.map((point, i) =>
          Plot.text([point], {
            ...{ x: () => some[0]!.megabytes, y: () => score(some[0]!), text: "name", fill: "kind" },
            ...{ dx: 7, dy: 11 * i, textAnchor: "start", stroke: "white", strokeWidth: 3 },
          }),
        ),
      ),
      ...kinds.map((kind, i) =>
        Plot.text([kind], {
          ...{ frameAnchor: "bottom-right", dx: -4, dy: -14 * (kinds.length - i) - 4 },
          ...{ text: () => `● ${kind}`, fill: () => kind },
        }),
      ),
    ],
  });
  return svgFile(svg, "AVG of MC and GEN against bytes", { width: WIDTH, height: HEIGHT });
}

/** Points that lie on one another, from top to bottom: their labels are written below each other. */
function together(points: readonly Point[]): Point[][] {
  const groups: Point[][] = [];
  for (const point of [...points].sort((a, b) => b.avg.value - a.avg.value)) {
    const near = groups.find((group) =>
      group.some(
        ({ megabytes, avg }) =>
          Math.abs(avg.value - point.avg.value) < NEAR.score &&
          Math.max(megabytes / point.megabytes, point.megabytes / megabytes) < NEAR.ratio,
      ),
    );
    if (near === undefined) groups.push([point]);
    else near.push(point);
  }
  return groups;
}
