import { stat } from "node:fs/promises";
import { join } from "node:path";
import { ReamError } from "../../errors.js";
import { parseHeldOut } from "../../evaluate/run/held-out-text.js";
import { openBackend } from "../../pipeline/open-backend.js";
import { type OpenedModel, openModel } from "../../pipeline/open-model.js";
import { measureOnText } from "../../study/measure-held-out.js";
import type { CompressionReport, Fact, LayerError, Scores } from "../data.js";
import { evaluationOf } from "./evaluation.js";
import { lossLines } from "./losses.js";
import { type ReadManifest, readManifest } from "./manifest.js";
import { observedLayers } from "./observation.js";
import type { ReportOptions } from "./options.js";

/**
 * Gathers what the page of a compressed checkpoint shows.
 * Errors: MANIFEST_READ, MANIFEST_INVALID, SOURCE_DIFFERS, and those of evaluations, observations and models.
 */
export async function gatherCompression(
  folder: string,
  options: ReportOptions,
  signal: AbortSignal,
): Promise<CompressionReport> {
  const manifest = await readManifest(folder);
  const { source, method, experts, topK, plan } = manifest;
  const evaluated =
    options.evaluation === undefined ? undefined : await evaluationOf(options.evaluation, folder, options.label);
  const measured = options.heldOut.length === 0 ? undefined : await measure(folder, manifest, options, signal);
  const observation = options.observed === undefined ? undefined : await observedLayers(options.observed);
  const evaluation = measured === undefined ? evaluated : withHeldOut(evaluated ?? EMPTY, measured.heldOut);
  const losses = lossLines(manifest);
  return {
    model: source.model.split(/[\\/]/).at(-1)!,
    ...{ method, experts, topK },
    sizes: await sizesOf(folder, manifest),
    layers: plan.layers,
    routers: manifest.routerCalibration?.layers,
    attentionLayers: plan.layers.flatMap(({ layer, attention }) => (attention ? [{ layer, ...attention }] : [])),
    ...(measured && { layerErrors: measured.layerErrors }),
    ...(losses.length > 0 && { losses }),
    ...(observation && { observation }),
    ...(evaluation && { evaluation }),
    provenance: provenanceOf(manifest),
  };
}

type Evaluated = NonNullable<CompressionReport["evaluation"]>;
const EMPTY: Evaluated = { tasks: [], original: { tasks: {} }, compressed: { tasks: {} } };

/** What was measured just now stands for what an evaluation measured on other text. */
function withHeldOut(evaluation: Evaluated, heldOut: Measured["heldOut"]): Evaluated {
  return {
    ...evaluation,
    original: { ...evaluation.original, heldOut: heldOut.original },
    compressed: { ...evaluation.compressed, heldOut: heldOut.compressed },
  };
}

interface Measured {
  readonly heldOut: { readonly original: Scores["heldOut"] & object; readonly compressed: Scores["heldOut"] & object };
  readonly layerErrors: readonly LayerError[];
}

async function measure(
  folder: string,
  manifest: ReadManifest,
  options: ReportOptions,
  signal: AbortSignal,
): Promise<Measured> {
  const text = {
    heldOut: Object.fromEntries(options.heldOut.map(parseHeldOut)),
    heldOutSequences: options.heldOutSequences,
    length: options.heldOutLength,
  };
  const original = await openModel(options.original ?? manifest.source.model, { signal });
  try {
    await refuseOther(original, manifest);
    const compressed = await openModel(folder, { signal });
    try {
      const backend = openBackend(options, original, () => undefined);
      const before = await measureOnText(original, original, backend, text, signal);
      const after = await measureOnText(original, compressed, backend, text, signal);
      return {
        heldOut: { original: scored(before.heldOut), compressed: scored(after.heldOut) },
        layerErrors: (after.layerErrors ?? []).map((error, layer) => ({ layer, error })),
      };
    } finally {
      await compressed.checkpoint.close();
    }
  } finally {
    await original.checkpoint.close();
  }
}

function scored(heldOut: Awaited<ReturnType<typeof measureOnText>>["heldOut"]): Scores["heldOut"] & object {
  return Object.fromEntries(
    Object.entries(heldOut ?? {}).map(([domain, { perplexity = 1, agreement = 1, kl = 0 }]) => [
      domain,
      { perplexity, agreement, divergence: kl },
    ]),
  );
}

/** Files of another length are another model: an error of layers against it would mean nothing. */
async function refuseOther({ folder, name }: OpenedModel, { source }: ReadManifest): Promise<void> {
  for (const file of source.files) {
    const found = await stat(join(folder, file.name)).catch(() => undefined);
    if (found?.size === file.bytes) continue;
    throw new ReamError("SOURCE_DIFFERS", `${file.name} is not the one that was compressed`, {
      where: name,
      hint: "Name the original with --original.",
    });
  }
}

async function sizesOf(folder: string, { source, experts, plan }: ReadManifest): Promise<CompressionReport["sizes"]> {
  const { checkpoint } = await openModel(folder);
  await checkpoint.close();
  const files = new Set([...checkpoint.tensors.values()].map(({ file }) => file));
  const after = await Promise.all([...files].map(async (file) => (await stat(join(folder, file))).size));
  const before = source.files.filter(({ name }) => name.endsWith(".safetensors")).map(({ bytes }) => bytes);
  const total = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);
  const count = plan.layers.reduce((sum, { attention }) => sum + (attention === undefined ? 1 : 2), 0);
  return [
    { name: "Files with weights", before: total(before), after: total(after), unit: "bytes" },
    { name: "Routed experts", before: count * experts.before, after: count * experts.after, unit: "count" },
  ];
}

function provenanceOf(manifest: ReadManifest): Fact[] {
  const { calibration, engine, settings, seed, observation, plan, source } = manifest;
  const text = calibration?.domains.map(({ name, tokens }) => `${name} ${tokens.toLocaleString("en")} tokens`);
  const facts: (readonly [string, string | undefined])[] = [
    ["ream", manifest.ream],
    ["original", source.model],
    ["family", source.family],
    ["method", manifest.method],
    ["settings", settings && JSON.stringify(settings)],
    ["calibration", text && `${text.join(", ")}; ${calibration!.sequences} x ${calibration!.length}`],
    ["seed", seed?.toString()],
    ["observation", observation],
    ["engine", engine && `${engine.backend}, ${engine.precision}`],
    ["dtype of the output", manifest.outputDtype],
    ["digest of the plan", plan.digest],
    ...source.files.map(({ name, sha256 }) => [name, `sha256 ${sha256}`] as const),
  ];
  return facts.flatMap(([name, value]) => (value === undefined ? [] : [{ name, value }]));
}
