import type { CompressionReport, LayerGroups } from "../data.js";
import { html } from "../parts/html.js";
import { percent } from "../parts/numbers.js";
import type { Section } from "../parts/section.js";
import { table } from "../parts/table.js";

/** How the experts that stay were chosen, and what became of routers, where held-out calibration text decided. */
export function decisionSection({ layers, routers = [] }: CompressionReport): Section | undefined {
  const chosen = layers.filter(({ choice, superExperts }) => choice !== undefined || superExperts !== undefined);
  const parts = [
    chosen.length === 0 ? undefined : choiceTable(chosen),
    routers.length === 0 ? undefined : routerTable(routers),
  ].filter((part) => part !== undefined);
  if (parts.length === 0) return undefined;
  return {
    id: "decisions",
    title: "What held-out calibration text decided",
    body: html`<p>Errors are shares of the squared outputs of a layer's experts that are lost on calibration text that was held out.</p>
${parts.map((part) => html`<div class="panel">${part}</div>`)}`,
  };
}

function choiceTable(layers: readonly LayerGroups[]) {
  const worst = ({ choice }: LayerGroups) => choice && Math.max(...Object.values(choice.errors));
  return table<LayerGroups>({
    caption: "How experts were chosen",
    columns: [
      { name: "layer", cell: ({ layer }) => layer, number: ({ layer }) => layer },
      { name: "criterion", cell: ({ choice }) => choice?.criterion ?? "" },
      { name: "error", cell: ({ choice }) => percent(choice?.error, 2), number: ({ choice }) => choice?.error },
      { name: "largest error of a criterion", cell: (layer) => percent(worst(layer), 2), number: worst },
      { name: "exchanges", cell: ({ choice }) => choice?.swaps ?? "", number: ({ choice }) => choice?.swaps },
      { name: "super experts", cell: ({ superExperts = [] }) => superExperts.join(", ") },
    ],
    rows: layers,
  });
}

type RouterRow = NonNullable<CompressionReport["routers"]>[number];

function routerTable(routers: readonly RouterRow[]) {
  const [before, after] = [
    ({ before }: RouterRow) => before?.heldOut,
    ({ before, after = before }: RouterRow) => after?.heldOut,
  ];
  return table<RouterRow>({
    caption: "What fitting routers changed",
    columns: [
      { name: "layer", cell: ({ layer }) => layer, number: ({ layer }) => layer },
      { name: "kept", cell: ({ kept }) => (kept ? "yes" : "no") },
      { name: "error before", cell: (row) => percent(before(row), 2), number: before },
      { name: "after", cell: (row) => percent(after(row), 2), number: after },
    ],
    rows: routers,
  });
}
