import type { LayerObservation } from "../data.js";
import { type CellMap, cellMap } from "../parts/cell-map.js";
import { figure } from "../parts/figure.js";
import { type Html, html } from "../parts/html.js";
import { percent, significant } from "../parts/numbers.js";
import { drawPlot, Plot, type PlotSize } from "../parts/plot.js";
import { table } from "../parts/table.js";

/** A layer whose experts are ordered by the domain that they serve most, and by how much more than the others. */
interface UsageLayer {
  readonly layer: number;
  /** By domain: use of the experts in that order, against a router that spreads evenly (1). */
  readonly use: Readonly<Record<string, readonly number[]>>;
  /** By domain: how many experts serve it most. */
  readonly experts: Readonly<Record<string, number>>;
  /** Share of the routing weight that would have to move to make the domains alike, the mean over pairs. */
  readonly distance: number;
}

/** Which experts serve which domain. */
export function usageFigure(observation: readonly LayerObservation[]): Html | undefined {
  const seen = observation.filter(({ usage }) => Object.keys(usage ?? {}).length > 1);
  if (seen.length === 0) return undefined;
  const domains = [...new Set(seen.flatMap(({ usage }) => Object.keys(usage!)))];
  const layers = seen.map(({ layer, usage }) => orderedUsage(layer, usage!, domains));
  const maps = domains.map((domain, i) => {
    const steps = layers.map(({ use }) => use[domain]!.map(stepOf));
    return { domain, map: cellMap(`usage-cells-${i}`, steps) };
  });
  return figure({
    id: "usage-maps",
    title: "Use by domain",
    description:
      "A line is a layer, a cell an expert. In all maps the experts of a layer stand in the same order: first those that serve the first domain most, the strongest first, then the next domain's. Where a map is dark only in its own part, experts have specialised.",
    legend: [maps.map(({ map }) => map.definition), scaleLegend()],
    draw: (size) => maps.map(({ domain, map }) => drawMap(domain, map, layers, size)),
    table: usageTable(layers, domains),
  });
}

function orderedUsage(
  layer: number,
  usage: Readonly<Record<string, readonly number[]>>,
  domains: readonly string[],
): UsageLayer {
  const count = Math.max(...domains.map((domain) => usage[domain]?.length ?? 0));
  const use = (domain: string, expert: number) => (usage[domain]?.[expert] ?? 0) * count;
  const experts = Array.from({ length: count }, (_, expert) => {
    const values = domains.map((domain) => use(domain, expert));
    const sum = values.reduce((a, b) => a + b, 0);
    const main = values.indexOf(Math.max(...values));
    return { expert, main, share: sum === 0 ? 0 : values[main]! / sum };
  });
  experts.sort((a, b) => a.main - b.main || b.share - a.share || a.expert - b.expert);
  return {
    layer,
    use: Object.fromEntries(domains.map((domain) => [domain, experts.map(({ expert }) => use(domain, expert))])),
    experts: Object.fromEntries(domains.map((domain, i) => [domain, experts.filter(({ main }) => main === i).length])),
    distance: meanDistance(domains.map((domain) => usage[domain] ?? [])),
  };
}

function meanDistance(shares: readonly (readonly number[])[]): number {
  const pairs = shares.flatMap((a, i) =>
    shares.slice(i + 1).map((b) => a.reduce((sum, share, expert) => sum + Math.abs(share - (b[expert] ?? 0)), 0) / 2),
  );
  return pairs.reduce((a, b) => a + b, 0) / pairs.length;
}

/** Lower bounds of the steps, as multiples of even use. */
const BOUNDS = [0, 0.25, 0.5, 1, 2, 4, 8] as const;

function stepOf(use: number): number {
  return BOUNDS.findLastIndex((bound) => use >= bound);
}

const BOUND_NAMES = ["< ¼", "¼", "½", "1", "2", "4", "≥ 8"] as const;

function scaleLegend(): Html {
  const swatch = (step: number) =>
    html`<svg class="swatch" viewBox="0 0 14 14" aria-hidden="true"><path d="M0 0h14v14H0z" fill="var(--sequential-${step})"/></svg>`;
  return html`<ul class="legend"><li>times even use:</li>${BOUND_NAMES.map((name, step) => html`<li>${swatch(step)}${name}</li>`)}</ul>`;
}

function drawMap(domain: string, map: CellMap, layers: readonly UsageLayer[], { width, narrow }: PlotSize): Html {
  const title = ({ layer, experts, distance }: UsageLayer) =>
    `layer ${layer}: ${experts[domain]} experts serve ${domain} most\ndomains differ by ${percent(distance, 0)}`;
  const every = Math.ceil(layers.length / 8);
  const plot = drawPlot({
    width,
    height: Math.max(90, Math.min(layers.length * 4, narrow ? 240 : 180)) + 42,
    marginLeft: 34,
    marginRight: 16,
    marginTop: 9,
    marginBottom: 38,
    x: { domain: [0, map.columns], label: "experts in that order", labelArrow: "none", ticks: 5, tickSize: 3 },
    y: {
      type: "band",
      domain: layers.map((_, i) => i),
      ticks: layers.flatMap((_, i) => (i % every === 0 ? [i] : [])),
      tickFormat: (i) => layers[i]!.layer,
      label: null,
      tickSize: 0,
    },
    marks: [
      (_index, _scales, _values, dimensions) => map.place(dimensions),
      Plot.barX(layers, { x1: 0, x2: map.columns, y: (_, i) => i, fill: "transparent", title }),
    ],
  });
  return html`<p class="plot-label">${domain}</p>${plot}`;
}

function usageTable(layers: readonly UsageLayer[], domains: readonly string[]): Html {
  return table<UsageLayer>({
    caption: "Experts by the domain that they serve most, and how far the domains' use differs",
    columns: [
      { name: "layer", cell: ({ layer }) => layer, number: ({ layer }) => layer },
      ...domains.map((domain) => ({
        name: domain,
        cell: ({ experts }: UsageLayer) => experts[domain],
        number: ({ experts }: UsageLayer) => experts[domain],
      })),
      {
        name: "distance of domains",
        cell: ({ distance }) => significant(distance),
        number: ({ distance }) => distance,
      },
    ],
    rows: layers,
  });
}
