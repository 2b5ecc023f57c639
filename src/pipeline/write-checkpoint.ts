import { join } from "node:path";
import { addKey, editDtype, editExpertCount, editNoPredictions, removeKey } from "../checkpoint/config-edit.js";
import { DTYPE_BITS } from "../checkpoint/dtypes.js";
import { buildIndex, type OutputFolder } from "../checkpoint/output.js";
import { quantizationConfig } from "../checkpoint/quantised/quantization-config.js";
import { INDEX_NAME } from "../checkpoint/shard-index.js";
import type { DType } from "../checkpoint/tensor.js";
import type { Plan } from "../compress/plan.js";
import { formatOf, sparsityOf } from "../compress/steps/step.js";
import { sparseBits } from "../compress/weights/sparsity.js";
import type { Backend } from "../engine/backend.js";
import type { ModelDescription } from "../model/description.js";
import type { CompressEvent } from "./events.js";
import type { Refits } from "./layer-losses.js";
import { type ManifestInputs, manifest } from "./manifest.js";
import { modelCard } from "./model-card.js";
import type { OutputTensor } from "./output-layout.js";
import { OutputShards } from "./output-shards.js";
import type { OutputTarget } from "./output-target.js";
import type { PreparedModel } from "./prediction-layers.js";
import type { RefitWork } from "./reconstruct/open-refit.js";
import { relay } from "./relay.js";
import type { LayerRequantised } from "./requantise.js";
import type { RouterWork } from "./router/open-router.js";
import { contentIdentity, type FileIdentity } from "./source-identity.js";
import type { Split } from "./split/split.js";
import { writeElsewhere } from "./split/write-elsewhere.js";
import type { LayerChange, StepWork } from "./steps/layer-steps.js";
import { steppedWeights } from "./steps/step-plan.js";

export interface WriteOptions extends Omit<OutputTarget, "requantises"> {
  readonly opened: PreparedModel;
  /** Absent in a dry run: only the sizes are told. */
  readonly output: OutputFolder | undefined;
  readonly plan: Plan;
  readonly backend: Backend;
  readonly observed?: ManifestInputs["observed"];
  /** What was done to single matrices, all of it done. */
  readonly steps?: StepWork | undefined;
  /** How experts were refitted, all of them, and what came of it. */
  readonly refit?: RefitWork | undefined;
  /** How routers were fitted, all of them. */
  readonly router?: RouterWork | undefined;
  readonly refits?: Refits | undefined;
  /** The files, where some of them have been written already. */
  readonly begun?: OutputShards | undefined;
  /** Has the shards written by others; without it they are written here. */
  readonly split?: Split | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Sizes of all tensors, before and after. */
export interface CheckpointBytes {
  readonly before: number;
  readonly after: number;
  /** What the tensors after would take if zeros were not stored, where weights were pruned and not quantised. */
  readonly sparse?: number;
}

/** What writing a checkpoint came to. */
export interface Written {
  readonly bytes: CheckpointBytes;
  /** What rounding the merged experts of a quantised source anew lost; empty in a dry run. */
  readonly requantised: readonly LayerRequantised[];
}

/** Writes the compressed checkpoint file by file and gives the folder its name. */
export async function* writeCheckpoint(options: WriteOptions): AsyncGenerator<CompressEvent, Written> {
  const { opened, output, plan, dtype, steps, router, split, signal } = options;
  const { checkpoint, model, folder, predictionLayers } = opened;
  const shards = options.begun ?? new OutputShards({ ...options, kept: plan.experts.after, rounding: plan.rounding });
  const { tensors: outputs, files, requantised } = shards;
  const before = [...checkpoint.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  const after = shards.bytes;
  const sparse = steps && sparseBytes(model, steps, outputs, after);
  const bytes = { before, after, ...(sparse !== undefined && { sparse }) };
  if (output === undefined) return { bytes, requantised: [] };

  const sources = [...new Set(["config.json", ...[...checkpoint.tensors.values()].map((info) => info.file)])].sort();
  let identities: FileIdentity[] = [];
  if (split === undefined) {
    yield* shards.finish(plan.layers);
    for (const file of sources) identities.push(await contentIdentity(folder, file));
  } else {
    identities = yield* relay<CompressEvent, FileIdentity[]>((emit) => {
      const onShard = (file: string) => emit(shards.written(file));
      return writeElsewhere(split, { plan, files: [...files.keys()], sources, onShard, signal });
    });
    for (const file of files.keys()) requantised.addAll(await split.parts.awaitRequantised(file, signal));
  }
  for (const layer of requantised.layers) yield { type: "requantised", ...layer };
  for (const name of checkpoint.files) {
    if (name !== "README.md") await output.copyFile(join(folder, name), name);
  }
  const indexed = [...files].flatMap(([file, tensors]) => tensors.map((tensor) => ({ ...tensor, file })));
  const single = files.size === 1 && files.has("model.safetensors");
  if (!single) await output.writeFile(INDEX_NAME, buildIndex(indexed));
  const config = editConfig(checkpoint.configText, opened, plan, dtype);
  const format = steps && formatOf(steps.plan.steps);
  const quantised = format && quantizationConfig(format, plainModules(outputs), steps.plan);
  await output.writeFile(
    "config.json",
    quantised === undefined ? config : addKey(config, "quantization_config", quantised),
  );
  const changes = steps && (await allChanges(model, steps));
  const routers = router && (await allRouters(plan, router));
  const card = modelCard(opened, model, plan, options.observed?.calibration, {
    steps: steps?.plan,
    refits: options.refits,
    requantised: requantised.layers,
  });
  await output.writeFile("README.md", card);
  const facts = { source: opened.name, files: identities, model, plan, outputDtype: dtype ?? "same", predictionLayers };
  const about = manifest({
    ...facts,
    changes,
    refits: options.refits,
    routers,
    requantised: requantised.layers,
    ...(options.observed && { observed: options.observed }),
  });
  await output.writeFile("ream.json", `${JSON.stringify(about, null, 2)}\n`);
  await output.finish();
  return { bytes, requantised: requantised.layers };
}

/** What the fits did to every router. */
async function allRouters(
  { layers }: Plan,
  { plan, files }: RouterWork,
): Promise<NonNullable<ManifestInputs["routers"]>> {
  return { plan, layers: await Promise.all(layers.map(({ layer }) => files.report(layer))) };
}

/** What the steps changed in every layer. */
async function allChanges(model: ModelDescription, steps: StepWork): Promise<NonNullable<ManifestInputs["changes"]>> {
  const layers: LayerChange[] = [];
  for (const layer of model.layers) {
    if (steppedWeights(layer, steps.kept, steps.plan).length > 0) layers.push(await steps.files.change(layer.index));
  }
  return { plan: steps.plan, layers };
}

/** Bytes of all tensors if only what is not zero were stored of pruned matrices. */
function sparseBytes(
  model: ModelDescription,
  { plan, kept }: StepWork,
  outputs: readonly OutputTensor[],
  dense: number,
): number | undefined {
  const sparsity = sparsityOf(plan.steps);
  if (sparsity === undefined || formatOf(plan.steps) !== undefined) return undefined;
  const experts = outputs.find(({ kind }) => kind === "expert")!;
  const dtypes = new Map(outputs.map(({ name, dtype }) => [name, dtype]));
  const saved = model.layers.flatMap((layer) =>
    steppedWeights(layer, kept, plan).map(({ name, shape }) => {
      // Experts in one tensor have no tensors of their own.
      const bits = DTYPE_BITS[dtypes.get(name) ?? experts.dtype];
      return shape[0] * shape[1] * bits - sparseBits(shape, bits, sparsity);
    }),
  );
  return Math.ceil(dense - saved.reduce((sum, value) => sum + value, 0) / 8);
}

/** Modules with a matrix that stays as it is, which loaders have to know. */
function plainModules(outputs: readonly OutputTensor[]): string[] {
  const plain = outputs.filter(
    ({ kind, name, shape }) => kind !== "stepped" && shape.length === 2 && name.endsWith(".weight"),
  );
  // The output matrix is a module also where it is the embedding.
  return [...new Set(["lm_head", ...plain.map(({ name }) => name.slice(0, -".weight".length))])].sort();
}

function editConfig(
  text: string,
  { model, predictionLayers }: PreparedModel,
  plan: Plan,
  dtype: DType | undefined,
): string {
  const { before, after } = plan.experts;
  const counted = before === after ? text : editExpertCount(text, before, after, model.configPart);
  const told = predictionLayers === "dropped" ? editNoPredictions(counted) : counted;
  // Of floats alone: nothing is quantised any more.
  return dtype === undefined ? told : editDtype(removeKey(told, "quantization_config"), dtype);
}
