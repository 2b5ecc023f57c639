import type { Grouping, LayerGroups } from "../data.js";
import { figure, figures } from "../parts/figure.js";
import { flowers } from "../parts/flower.js";
import { type Html, html } from "../parts/html.js";
import { fixed } from "../parts/numbers.js";
import { drawPlot, Plot, type PlotSize } from "../parts/plot.js";
import type { Section } from "../parts/section.js";
import { spread } from "../parts/spread.js";
import { table } from "../parts/table.js";
import { axis } from "../parts/ticks.js";
import { counted } from "../parts/words.js";

/** What became of a layer's experts. They add up to the number before. */
interface Fate {
  readonly layer: number;
  /** Kept as they were. */
  readonly alone: number;
  /** Kept, with others averaged into them. */
  readonly centroid: number;
  /** Averaged into a centroid. */
  readonly member: number;
  /** Left out, of a group or of all. */
  readonly dropped: number;
  readonly largest: number;
}

const FATES = [
  { key: "alone", name: "kept as it was" },
  { key: "centroid", name: "centroid of a group" },
  { key: "member", name: "merged into a centroid" },
  { key: "dropped", name: "dropped" },
] as const;

/** Layers that are seen without unfolding the others. */
const OPEN = 3;

/** How the experts of every layer were grouped: a summary, and a picture of each layer. */
export function groupSection(groupings: readonly Grouping[]): Section | undefined {
  const known = groupings.filter(({ layers }) => layers.length > 0);
  if (known.length === 0) return undefined;
  return {
    id: "groups",
    title: "How experts were grouped",
    body: html`<p>What became of the experts of every layer, and the groups themselves.</p>
${known.map((grouping, i) => groupingPart(grouping, i))}`,
  };
}

function groupingPart({ title, experts, layers }: Grouping, index: number): Html {
  const fates = layers.map((layer) => fateOf(layer, experts));
  const open = spread(layers, OPEN);
  const picture = (layer: LayerGroups) => flowerOf(`groups-${index}-${layer.layer}`, layer, experts);
  const closed = layers.filter((layer) => !open.includes(layer));
  const rest =
    closed.length === 0
      ? undefined
      : html`<details><summary>The other ${counted(closed.length, "layer")}</summary><div class="flowers">${closed.map(picture)}</div></details>`;
  return html`${figures([
    figure({
      id: `fates-${index}`,
      title: `Experts of each layer, ${title}`,
      description: "Each bar is a layer, its length the experts before compression.",
      legend: fateLegend(fates),
      draw: (size) => drawFates(fates, size),
      table: fateTable(title, fates),
    }),
    html`<div class="panel"><h3>Groups, ${title}</h3>
<p>A flower is a group: the centroid in the middle, with the experts that were merged into it. Single discs stayed alone.</p>
${fateLegend(fates)}<div class="flowers">${open.map(picture)}</div>${rest}</div>`,
  ])}`;
}

function fateOf({ layer, groups }: LayerGroups, experts: number): Fate {
  const merged = ({ weights }: (typeof groups)[number]) => weights.slice(1).filter((weight) => weight > 0).length;
  const member = groups.reduce((sum, group) => sum + merged(group), 0);
  const centroid = groups.filter((group) => merged(group) > 0).length;
  return {
    layer,
    alone: groups.length - centroid,
    centroid,
    member,
    dropped: Math.max(0, experts - groups.length - member),
    largest: Math.max(...groups.map(({ members }) => members.length)),
  };
}

function fateLegend(fates: readonly Fate[]): Html {
  const entries = FATES.filter(({ key }) => fates.some((fate) => fate[key] > 0)).map(
    ({ key, name }) =>
      html`<li><svg class="swatch round" viewBox="0 0 14 14" aria-hidden="true"><circle cx="7" cy="7" r="6" fill="var(--${key})"/></svg>${name}</li>`,
  );
  return html`<ul class="legend">${entries}</ul>`;
}

function drawFates(fates: readonly Fate[], { width, narrow }: PlotSize): Html {
  const parts = fates.flatMap((fate, y) => {
    let from = 0;
    return FATES.map(({ key, name }) => {
      const part = { y, from, to: from + fate[key], key, title: `layer ${fate.layer}: ${fate[key]} ${name}` };
      from = part.to;
      return part;
    }).filter((part) => part.to > part.from);
  });
  type Part = (typeof parts)[number];
  const every = Math.ceil(fates.length / (narrow ? 12 : 16));
  return drawPlot({
    width,
    height: Math.min(420, Math.max(90, fates.length * 14)) + 42,
    marginLeft: 40,
    marginRight: 10,
    marginTop: 26,
    marginBottom: 40,
    x: axis("experts", { nice: false, ticks: 5 }),
    y: {
      type: "band",
      padding: fates.length > 30 ? 0.12 : 0.2,
      domain: fates.map((_, i) => i),
      ticks: fates.flatMap((_, i) => (i % every === 0 ? [i] : [])),
      tickFormat: (i) => fates[i]!.layer,
      label: "layer",
      labelAnchor: "top",
      labelArrow: "none",
      tickSize: 0,
    },
    color: { type: "identity" },
    marks: [
      Plot.barX(parts, { x1: "from", x2: "to", y: "y", fill: ({ key }: Part) => `var(--${key})`, title: "title" }),
    ],
  });
}

function fateTable(title: string, fates: readonly Fate[]): Html {
  const meanSize = ({ centroid, member }: Fate) => (centroid === 0 ? undefined : 1 + member / centroid);
  return table<Fate>({
    caption: `Experts of each layer, ${title}`,
    columns: [
      { name: "layer", cell: ({ layer }) => layer, number: ({ layer }) => layer },
      ...FATES.map(({ key, name }) => ({
        name,
        cell: (fate: Fate) => fate[key],
        number: (fate: Fate) => fate[key],
      })),
      { name: "largest group", cell: ({ largest }) => largest, number: ({ largest }) => largest },
      { name: "mean size of merged groups", cell: (fate) => fixed(meanSize(fate)), number: meanSize },
    ],
    rows: fates,
  });
}

function flowerOf(id: string, layer: LayerGroups, experts: number): Html {
  const { alone, centroid, member, dropped, largest } = fateOf(layer, experts);
  const words = [
    ...(centroid > 0 ? [`${member} merged into ${centroid}`] : []),
    ...(alone > 0 ? [`${alone} kept as they were`] : []),
    ...(dropped > 0 ? [`${dropped} dropped`] : []),
    ...(largest > 1 ? [`largest group ${largest}`] : []),
  ];
  return html`<div><h4 id="${id}">Layer ${layer.layer}</h4><p>${words.join(", ")}</p>${flowers(id, layer)}</div>`;
}
