import type { LayerObservation } from "../data.js";
import { figure } from "../parts/figure.js";
import type { Html } from "../parts/html.js";
import { fixed, percent, significant } from "../parts/numbers.js";
import { drawPlot, Plot, type PlotSize } from "../parts/plot.js";
import { spread } from "../parts/spread.js";
import { table } from "../parts/table.js";
import { axis } from "../parts/ticks.js";

interface SaliencyCurve {
  readonly layer: number;
  /** Falling, as shares of the layer's sum. */
  readonly shares: readonly number[];
}

/** Layers that are drawn; the table has all. */
const PANELS = 24;
/** Points of a curve: more cannot be seen at the size of a panel. */
const POINTS = 48;

/** Sorted saliency of each layer: where it falls steeply, few experts do most of the work. */
export function saliencyFigure(observation: readonly LayerObservation[]): Html | undefined {
  const curves = observation.flatMap(({ layer, saliency = [] }): SaliencyCurve[] => {
    const sum = saliency.reduce((a, b) => a + b, 0);
    if (!(sum > 0)) return [];
    return [{ layer, shares: saliency.map((value) => value / sum).sort((a, b) => b - a) }];
  });
  if (curves.length === 0) return undefined;
  const drawn = spread(curves, PANELS);
  const some = drawn.length < curves.length ? ` ${drawn.length} of ${curves.length} layers are drawn.` : "";
  return figure({
    id: "saliency-curves",
    title: "Saliency, layer by layer",
    description: `How much each expert adds to its layer's output, from the most to the least salient, against the mean of the layer (the line at 1). A steep curve means that few experts do most of the work.${some}`,
    draw: (size) => drawCurves(drawn, size),
    table: saliencyTable(curves),
  });
}

function topQuarter({ shares }: SaliencyCurve): number {
  return shares.slice(0, Math.ceil(shares.length / 4)).reduce((a, b) => a + b, 0);
}

function saliencyTable(curves: readonly SaliencyCurve[]): Html {
  /** How many equal experts would be as uneven: the inverse of the sum of squares. */
  const effective = ({ shares }: SaliencyCurve) => 1 / shares.reduce((sum, share) => sum + share * share, 0);
  const atMost = ({ shares }: SaliencyCurve) => shares[0]! * shares.length;
  return table({
    caption: "Saliency by layer",
    columns: [
      { name: "layer", cell: ({ layer }) => layer, number: ({ layer }) => layer },
      { name: "top quarter", cell: (curve) => percent(topQuarter(curve), 0), number: topQuarter },
      { name: "effective experts", cell: (curve) => fixed(effective(curve)), number: effective },
      { name: "largest / mean", cell: (curve) => significant(atMost(curve)), number: atMost },
    ],
    rows: curves,
  });
}

function drawCurves(curves: readonly SaliencyCurve[], { width, narrow }: PlotSize): Html {
  const columns = Math.min(narrow ? 3 : 6, curves.length);
  const rows = Math.ceil(curves.length / columns);
  const panel = (index: number) => ({ fx: index % columns, fy: Math.floor(index / columns) });
  const points = curves.flatMap(({ layer, shares }, index) => {
    const places = spread([...shares.keys()], POINTS);
    return places.map((place) => ({
      ...panel(index),
      layer,
      rank: (place + 0.5) / shares.length,
      value: shares[place]! * shares.length,
    }));
  });
  const labels = curves.map((curve, index) => {
    const title = `layer ${curve.layer}: the most salient quarter has ${percent(topQuarter(curve), 0)} of the saliency`;
    return { ...panel(index), layer: curve.layer, title };
  });
  const facet = { fx: "fx", fy: "fy" };
  // Room for the layer's name above the curve.
  const top = 1.2 * Math.min(12, Math.max(...points.map(({ value }) => value)));
  return drawPlot({
    width,
    height: (narrow ? 92 : 118) * rows + 40,
    marginLeft: 30,
    marginRight: 4,
    marginTop: 8,
    marginBottom: 40,
    fx: { axis: null, padding: 0.1 },
    fy: { axis: null, padding: 0.12 },
    x: { ...axis("experts by rank"), grid: false, domain: [0, 1], ticks: [] },
    y: axis(null, { ticks: 3, domain: [0, top], clamp: true }),
    marks: [
      Plot.ruleY([1], { stroke: "var(--faint)", strokeDasharray: "2 2" }),
      Plot.areaY(points, { ...facet, x: "rank", y: "value", z: "layer", fill: "var(--method-0)", fillOpacity: 0.18 }),
      Plot.lineY(points, { ...facet, x: "rank", y: "value", z: "layer", stroke: "var(--method-0)", strokeWidth: 1.5 }),
      Plot.text(labels, {
        ...facet,
        frameAnchor: "top-right",
        dy: 2,
        text: ({ layer }: { layer: number }) => `layer ${layer}`,
        fill: "var(--muted)",
      }),
      Plot.rect(labels, { ...facet, x1: 0, x2: 1, y1: 0, y2: top, fill: "transparent", title: "title" }),
    ],
  });
}
