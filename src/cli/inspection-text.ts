import { formatBytes, formatCount, formatParameters, formatShare, formatTable } from "../format.js";
import type { QuantisedParts } from "../pipeline/inspect/quantisation.js";
import type { Inspection } from "../pipeline/inspect.js";

/** An inspection for the terminal. */
export function describeInspection(found: Inspection, withLayers: boolean): string {
  const { compressed, warnings } = found;
  const sections = [
    `${found.model}: ${found.family}, ${formatParameters(found.parameters)} parameters, ${formatBytes(found.bytes)}\n${indent(
      formatFacts(facts(found)),
    )}`,
    `Where the bytes are\n${indent(formatTable(shares(found)))}`,
    ...(compressed.length === 0 ? [] : [`Size with fewer experts\n${indent(formatTable(sizes(found)))}`]),
    memory(found),
    ...(withLayers ? [`Layers\n${indent(formatTable(layers(found)))}`] : []),
    ...(warnings.length === 0 ? [] : [`Warnings\n${indent(warnings.join("\n"))}`]),
  ];
  return `${sections.join("\n\n")}\n`;
}

function facts(found: Inspection): [name: string, text: string][] {
  const { layerKinds, experts, topK, sharedWidth, textParameters, predictionLayers, quantisation } = found;
  const { total, active } = textParameters;
  const shared = sharedWidth === 0 ? "" : `, shared expert of width ${formatCount(sharedWidth)}`;
  const dtypes = Object.entries(found.dtypes).map(([dtype, size]) => `${dtype} ${formatBytes(size)}`);
  const others = Object.entries(found.otherParts).map(
    ([name, { parameters }]) => `${name} (${formatParameters(parameters)})`,
  );
  return [
    ["parameters", `${formatParameters(total)} in the text model, ${formatParameters(active)} active per token`],
    ["layers", `${found.layers}: ${counted(layerKinds.blocks)}; ${counted(layerKinds.mixers)}`],
    ["experts", `${experts} in a layer, ${topK} per token, width ${formatCount(found.expertWidth)}${shared}`],
    ["router", found.router.inWords],
    ["stored", found.expertStorage],
    ...(quantisation === undefined ? [] : quantised(quantisation)),
    [
      "sizes",
      `hidden ${formatCount(found.hiddenSize)}, vocabulary ${formatCount(found.vocabularySize)}, ${formatCount(found.maxPositions)} positions`,
    ],
    ...(predictionLayers === undefined
      ? []
      : [["prediction", prediction(predictionLayers)] satisfies [string, string]]),
    ...(others.length === 0 ? [] : [["other parts", others.join(", ")] satisfies [string, string]]),
    [
      "files",
      `${formatCount(found.tensors)} tensors in ${found.files} file${found.files === 1 ? "" : "s"}: ${dtypes.join(", ")}`,
    ],
  ];
}

function counted(kinds: Readonly<Record<string, number>>): string {
  return Object.entries(kinds)
    .map(([kind, count]) => `${count} ${kind}`)
    .join(", ");
}

function quantised({ inWords, matrices }: QuantisedParts): [string, string][] {
  const plain = Object.entries(matrices).filter(({ 1: counts }) => counts.plain > 0);
  const names = plain.map(([part, counts]) =>
    counts.quantised === 0 ? part : `${part} (${counts.plain} of ${counts.plain + counts.quantised} matrices)`,
  );
  return [
    ["quantised", inWords],
    ["not quantised", names.join(", ")],
  ];
}

function prediction({ layers, tensors }: NonNullable<Inspection["predictionLayers"]>): string {
  const what = layers === undefined ? "layers of unknown layout" : `${layers} layer${layers === 1 ? "" : "s"}`;
  return `${what} for multi-token prediction (${formatCount(tensors)} tensors)`;
}

const PARTS: Readonly<Record<keyof Inspection["where"], string>> = {
  routedExperts: "routed experts",
  sharedExperts: "shared experts",
  denseBlocks: "dense blocks",
  routers: "routers",
  attention: "attention",
  embeddings: "embeddings",
  predictionLayers: "prediction layers",
  otherParts: "other parts",
  rest: "norms and the rest",
};

function shares({ where, bytes }: Inspection): string[][] {
  const parts = Object.entries(where) as [keyof typeof PARTS, number][];
  return parts
    .filter(([, size]) => size > 0)
    .map(([part, size]) => [PARTS[part], formatBytes(size), formatShare(size / bytes)]);
}

function sizes({ experts, bytes, compressed }: Inspection): string[][] {
  return compressed.map((size) => [
    `${size.experts} experts`,
    `-${formatShare(1 - size.experts / experts)}`,
    `${formatParameters(size.parameters)} parameters`,
    formatBytes(size.bytes),
    formatShare(size.bytes / bytes),
  ]);
}

function memory({ memory: needed }: Inspection): string {
  const rows = [
    ["one layer's weights, ready for products", formatBytes(needed.layerWeights)],
    ["hidden states of the calibration tokens", formatBytes(needed.hiddenStates)],
    ["tokens sampled for the alignment", formatBytes(needed.samples)],
    ["the alignment", formatBytes(needed.alignment)],
    ["the refit", formatBytes(needed.refit)],
    ["buffers of a batch", formatBytes(needed.batch)],
    ["program", formatBytes(needed.program)],
    ["sum", formatBytes(needed.bytes)],
  ];
  const set = `${formatCount(needed.sequences)} sequences of ${needed.length} tokens`;
  return `Memory that compressing needs, estimated for ${set}\n${indent(formatTable(rows))}`;
}

function layers({ perLayer }: Inspection): string[][] {
  const rows = perLayer.map(({ layer, kind, bytes, expertBytes }) => [
    String(layer),
    kind,
    formatBytes(bytes),
    formatBytes(expertBytes),
  ]);
  return [["layer", "kind", "size", "experts"], ...rows];
}

/** Names and what is said of them, below each other. */
function formatFacts(rows: readonly (readonly [name: string, text: string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, text]) => `${name.padEnd(width)}  ${text}`).join("\n");
}

function indent(text: string): string {
  return text.replace(/^/gm, "  ");
}
