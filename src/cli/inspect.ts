import { Command } from "commander";
import { calibrationOptions } from "../calibration/options.js";
import { formatBytes, formatCount, formatShare, formatTable } from "../format.js";
import { type Inspection, inspect } from "../pipeline/inspect.js";
import { addOutputOptions, type OutputFlags, runCommand } from "./run-command.js";
import { addSchemaOptions } from "./schema-options.js";

const EXAMPLES = `
Examples:
  $ ream inspect ./model
  $ ream inspect ./model --sequences 512 --length 256
  $ ream inspect ./model --json`;

interface Flags extends OutputFlags {
  readonly sequences: number;
  readonly length: number;
  readonly layers?: boolean;
}

export function inspectCommand(done: (status: number) => void): Command {
  const command = new Command("inspect")
    .summary("show what a model is and what compressing it takes")
    .description(
      "Shows what a model is, where its bytes are, its size with fewer experts, and the memory that compressing needs.\nA model of the hub is fetched first.",
    )
    .argument("<model>", "folder or hub id org/name[@revision]")
    .option("--layers", "show the sizes of every layer");
  addSchemaOptions(command, calibrationOptions, [
    { heading: "Calibration set of the memory estimate:", keys: ["sequences", "length"] },
  ]);
  addOutputOptions(command).addHelpText("after", EXAMPLES);
  return command.action(async (model: string, { sequences, length, layers, ...flags }: Flags) => {
    done(
      await runCommand(flags, async ({ signal, onEvent }) => {
        const inspection = await inspect(model, { sequences, length, signal, onEvent });
        return { json: { ...inspection }, text: describe(inspection, layers === true) };
      }),
    );
  });
}

function describe(found: Inspection, withLayers: boolean): string {
  const { experts, topK, bytes, where, memory } = found;
  const share = (part: number) => [formatBytes(part), formatShare(part / bytes)];
  const dtypes = Object.entries(found.dtypes).map(([dtype, size]) => `${dtype} ${formatBytes(size)}`);
  const facts = [
    `${found.model}: ${found.family}, ${formatCount(found.parameters)} parameters, ${formatBytes(bytes)}`,
    `${found.layers} layers, ${found.moeLayers} of them with ${experts} experts of width ${found.expertWidth}; ${topK} experts a token`,
    `hidden size ${formatCount(found.hiddenSize)}, vocabulary ${formatCount(found.vocabularySize)}, ${formatCount(found.maxPositions)} positions`,
    `${formatCount(found.tensors)} tensors in ${found.files} file${found.files === 1 ? "" : "s"}: ${dtypes.join(", ")}`,
    ...(found.quantisation === undefined ? [] : [`quantised (${found.quantisation}): it can be run, not compressed`]),
  ];
  const parts = [
    ["routed experts", ...share(where.routedExperts)],
    ["routers", ...share(where.routers)],
    ["attention", ...share(where.attention)],
    ["embeddings", ...share(where.embeddings)],
    ["rest", ...share(where.rest)],
  ];
  const sizes = found.compressed.map((size) => [`${size.experts} experts`, ...share(size.bytes)]);
  const needs = [
    ["one layer's weights, three times", formatBytes(memory.layerWeights)],
    ["hidden states of the calibration tokens", formatBytes(memory.hiddenStates)],
    ["tokens sampled for the alignment", formatBytes(memory.samples)],
    ["program", formatBytes(memory.program)],
    ["sum", formatBytes(memory.bytes)],
  ];
  const set = `${formatCount(memory.sequences)} sequences of ${memory.length} tokens`;
  const sections = [
    facts.join("\n"),
    `Where the bytes are\n${indent(formatTable(parts))}`,
    ...(sizes.length === 0 ? [] : [`Size with fewer experts\n${indent(formatTable(sizes))}`]),
    ...(found.quantisation === undefined
      ? [`Memory that compressing needs, estimated for ${set}\n${indent(formatTable(needs))}`]
      : []),
  ];
  if (withLayers) {
    const rows = found.perLayer.map((layer) => [
      String(layer.layer),
      layer.kind,
      formatBytes(layer.bytes),
      formatBytes(layer.expertBytes),
    ]);
    sections.push(`Layers\n${indent(formatTable([["layer", "kind", "size", "experts"], ...rows]))}`);
  }
  if (found.warnings.length > 0) sections.push(`Warnings\n${indent(found.warnings.join("\n"))}`);
  return `${sections.join("\n\n")}\n`;
}

function indent(text: string): string {
  return text.replace(/^/gm, "  ");
}
