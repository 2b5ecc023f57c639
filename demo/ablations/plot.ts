import { document, Plot } from "../../src/report/parts/plot.js";
import { svgFile } from "../svg-file.js";
import type { Row } from "./results.js";

const WIDTH = 720;
const ROW_HEIGHT = 26;
const COLOURS = ["#111", "#c2410c", "#0369a1", "#15803d", "#7e22ce", "#be185d"];

/** AVG of every variant, one below the other, with one standard error to both sides; lines at the original and without a refit. */
export function plotRows(rows: readonly Row[]): string {
  const [height, groups] = [ROW_HEIGHT * rows.length + 80, [...new Set(rows.map(({ group }) => group ?? "original"))]];
  const error = ({ avg }: Row) => avg.standardError ?? 0;
  const svg = Plot.plot({
    document,
    ...{ width: WIDTH, height, marginLeft: 150, marginRight: 190, marginBottom: 40, grid: true },
    style: { background: "white", color: "#222", fontFamily: "system-ui, sans-serif", fontSize: "11px" },
    x: { label: "AVG of MC and GEN, per cent", nice: true },
    y: { label: null, domain: rows.map(({ name }) => name) },
    color: { domain: groups, range: COLOURS },
    marks: [
      ...rows.slice(0, 2).map(({ avg }) => Plot.ruleX([avg.value], { stroke: "#999", strokeDasharray: "2 3" })),
      Plot.ruleY(rows, {
        ...{ y: "name", x1: (row: Row) => row.avg.value - error(row), x2: (row: Row) => row.avg.value + error(row) },
        stroke: (row: Row) => row.group ?? "original",
      }),
      Plot.dot(rows, { y: "name", x: (row: Row) => row.avg.value, fill: (row: Row) => row.group ?? "original", r: 4 }),
      ...groups.map((group, i) =>
        Plot.text([group], {
          ...{ frameAnchor: "top-right", dx: 180, dy: 14 * i, textAnchor: "end" },
          ...{ text: () => `● ${group}`, fill: () => group },
        }),
      ),
    ],
  });
  return svgFile(svg, "AVG of MC and GEN with other refits", { width: WIDTH, height });
}
