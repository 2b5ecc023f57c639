import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { quote } from "../checkpoint/json-scanner.js";
import type { DType, TensorInfo } from "../checkpoint/tensor.js";
import { formatOf } from "../compress/steps/step.js";
import { ReamError } from "../errors.js";
import {
  attentionExperts,
  isMoe,
  type ModelDescription,
  type MoeLayer,
  type RoutedExperts,
} from "../model/description.js";
import { codingOf, expertTensorNames, type StoredOutput } from "../model/expert-coding.js";
import { type ExpertOutput, isSeparate } from "../model/expert-storage.js";
import { type LinearWeight, linearWeights } from "../model/linear-weights.js";
import { quantisedWeights, storedAs } from "../model/read-weight.js";
import { type RouterPart, routerNames, routerPart } from "../model/router.js";
import type { StepWork } from "./steps/layer-steps.js";
import { steppedWeights } from "./steps/step-plan.js";

/** A tensor of the compressed checkpoint and where its content comes from. */
export type OutputTensor = {
  readonly name: string;
  readonly dtype: TensorInfo["dtype"];
  readonly shape: readonly number[];
  /** The source's file that holds the tensor of this name. */
  readonly sourceFile: string;
} & (
  | { readonly kind: "copy" }
  /**
   * `axis`: that of the experts. `of`: those of the feed-forward block, or of the attention. `part`: what of the feed-forward
   * block's router it is, where a fit may change it.
   */
  | {
      readonly kind: "router";
      readonly layer: number;
      readonly of: Block;
      readonly axis: number;
      readonly part: RouterPart | undefined;
    }
  /** `slots` and `tensor`: see `ExpertOutput`. */
  | ({ readonly kind: "expert"; readonly layer: MoeLayer; readonly of: Block } & Pick<ExpertOutput, "slots" | "tensor">)
  /** `slots` and `part`: see `StoredOutput`. */
  | ({ readonly kind: "stored"; readonly layer: MoeLayer } & Pick<StoredOutput, "slots" | "part">)
  /** A matrix outside the routed experts that the source has quantised, as floats. */
  | { readonly kind: "decoded"; readonly weight: string }
  /** A part of a matrix as the steps have made it (`WeightFormat.stored`, or `weight`). */
  | { readonly kind: "stepped"; readonly layer: number; readonly weight: LinearWeight; readonly suffix: string }
);

/** The part of a layer that experts belong to. */
export type Block = "feed-forward" | "attention";

/** The experts of a layer by the block that they belong to. */
function blocksOf(layer: MoeLayer): (RoutedExperts & { readonly of: Block; readonly layer: MoeLayer })[] {
  const attention = attentionExperts(layer);
  return [
    ...(attention === undefined ? [] : [{ ...attention, of: "attention", layer } as const]),
    { ...layer.feedForward, of: "feed-forward", layer },
  ];
}

interface LayoutOptions {
  /** Names of tensors that the output leaves out. */
  readonly omitted?: ReadonlySet<string> | undefined;
  /** What was done to single matrices. */
  readonly steps?: Pick<StepWork, "plan" | "scaleDtype"> | undefined;
}

const FLOATS: ReadonlySet<string> = new Set(["F64", "F32", "F16", "BF16"]);

/**
 * Every tensor of the output: the source's own, with the routers cut to the kept experts and the routed experts replaced
 * by the merged ones. Names, order and dtypes stay the source's (`dtype` converts the floats, but for selection biases:
 * rounding them would change which experts are chosen; what the source has quantised becomes floats too). Matrices that the
 * steps quantise are replaced by the parts of their format; such experts are tensors by themselves, also where the source
 * has them in one. Errors: TENSOR_UNKNOWN.
 */
export function outputTensors(
  checkpoint: Checkpoint,
  model: ModelDescription,
  kept: number,
  dtype: DType | undefined,
  { omitted, steps }: LayoutOptions = {},
): OutputTensor[] {
  const blocks = model.layers.filter(isMoe).flatMap(blocksOf);
  const expertNames = new Set(blocks.flatMap(({ experts }) => expertTensorNames(checkpoint, experts)));
  const unknown = unknownExperts(blocks);
  const quantised = dtype === undefined ? NONE : quantisedWeights(checkpoint);
  const routers = new Map(blocks.flatMap((block) => routerNames(block.router).map((name) => [name, block] as const)));
  const stored = (info: TensorInfo) => (dtype !== undefined && FLOATS.has(info.dtype) ? dtype : info.dtype);
  const outputs: OutputTensor[] = [];
  const stepped = steppedByName(model, kept, steps);
  const put = (weight: SteppedWeight, common: Pick<OutputTensor, "dtype" | "sourceFile">) => {
    const { layer, shape, name } = weight;
    const format = formatOf(steps!.plan.steps);
    if (format === undefined) {
      outputs.push({ ...common, name, shape, kind: "stepped", layer, weight, suffix: "weight" });
      return;
    }
    const module = name.replace(/\.weight$/, "");
    for (const part of format.stored(shape, steps!.scaleDtype)) {
      const { sourceFile } = common;
      outputs.push({ ...part, name: `${module}.${part.suffix}`, sourceFile, kind: "stepped", layer, weight });
    }
  };
  for (const info of checkpoint.tensors.values()) {
    if (expertNames.has(info.name) || omitted?.has(info.name) || quantised.others.has(info.name)) continue;
    if (unknown(info.name)) throw unknownTensor(checkpoint, info);
    const decoded = quantised.weights.get(info.name);
    const name = decoded?.name ?? info.name;
    const common = { name, dtype: decoded === undefined ? stored(info) : dtype!, sourceFile: info.file };
    const weight = stepped.get(name);
    if (weight !== undefined) {
      put(weight, common);
      continue;
    }
    if (decoded !== undefined) {
      outputs.push({ ...common, kind: "decoded", weight: name, shape: decoded.shape });
      continue;
    }
    const block = routers.get(info.name);
    if (block === undefined) {
      outputs.push({ ...common, kind: "copy", shape: info.shape });
      continue;
    }
    const { of, layer, router } = block;
    const isSelectionBias = info.name === router.selectionBias;
    const axis = isSelectionBias ? info.shape.length - 1 : 0;
    const own = isSelectionBias ? info.dtype : common.dtype;
    const shape = info.shape.with(axis, kept);
    const part = of === "feed-forward" ? routerPart(router, info.name) : undefined;
    outputs.push({ ...common, kind: "router", of, dtype: own, layer: layer.index, axis, part, shape });
  }
  for (const { of, layer, experts } of blocks) {
    if (of === "feed-forward" && quantisesExperts(steps)) {
      const { names } = experts;
      for (const { name, shape, expert, matrix } of linearWeights(layer)) {
        if (expert === undefined || expert >= kept) continue;
        const info = sourceOf(checkpoint, checkpoint.tensors.has(name) ? name : names[0]!);
        const common = { name, shape, dtype: dtype ?? info.dtype, sourceFile: info.file };
        const weight = stepped.get(name);
        if (weight !== undefined) put(weight, common);
        else outputs.push({ ...common, kind: "expert", of, layer, slots: [expert], tensor: (all) => all[matrix!]! });
      }
      continue;
    }
    const coding = dtype === undefined ? codingOf(checkpoint, experts) : undefined;
    if (coding !== undefined) {
      for (const { source, ...output } of coding.outputs(kept))
        outputs.push({ ...output, kind: "stored", dtype: source.dtype, sourceFile: source.file, layer });
      continue;
    }
    for (const { source, ...output } of experts.outputs(kept)) {
      const info = sourceOf(checkpoint, source);
      outputs.push({ ...output, kind: "expert", of, dtype: dtype ?? info.dtype, sourceFile: info.file, layer });
    }
  }
  return outputs;
}

const NONE = { weights: new Map<string, never>(), others: new Set<string>() } as const;

/** A tensor of the source, or that of the codes where it is a quantised weight. */
function sourceOf(checkpoint: Checkpoint, name: string): TensorInfo {
  const stored = checkpoint.tensors.has(name) ? undefined : storedAs(checkpoint, name);
  return checkpoint.info(stored === undefined ? name : `${stored.module}.${stored.storage.codes}`);
}

/** Whether a tensor lies among the routed experts of a layer, under `experts.<number>.`: then it is one that nobody knows. */
function unknownExperts(blocks: readonly RoutedExperts[]): (name: string) => boolean {
  const folders = new Set(
    blocks.flatMap(({ experts }) => {
      const found = isSeparate(experts) ? /^(.*)\.0\./.exec(experts.names[0]!) : null;
      return found === null ? [] : [found[1]!];
    }),
  );
  return (name) => {
    const found = /^(.*)\.\d+\./.exec(name);
    return found !== null && folders.has(found[1]!);
  };
}

function unknownTensor({ folder }: Checkpoint, { name, file }: TensorInfo): ReamError {
  return new ReamError("TENSOR_UNKNOWN", `${quote(name)} is a tensor of an expert that the family does not have`, {
    where: `${folder}, ${file}`,
    hint: "What it means is not known, and with it or without it the compressed model would be wrong.",
  });
}

type SteppedWeight = LinearWeight & { readonly layer: number };

/** The matrices that are not kept as they are, by name. */
function steppedByName(
  model: ModelDescription,
  kept: number,
  steps: Pick<StepWork, "plan"> | undefined,
): Map<string, SteppedWeight> {
  if (steps === undefined) return new Map();
  const weights = model.layers.flatMap((layer) =>
    steppedWeights(layer, kept, steps.plan).map((weight) => ({ ...weight, layer: layer.index })),
  );
  return new Map(weights.map((weight) => [weight.name, weight]));
}

/** Whether routed experts change their form. */
function quantisesExperts(steps: Pick<StepWork, "plan"> | undefined): boolean {
  return steps !== undefined && formatOf(steps.plan.steps) !== undefined && steps.plan.parts.has("experts");
}

/** The layers whose plans, or what else was done to them, a file's tensors follow. */
export function layersOf(tensors: readonly OutputTensor[]): ReadonlySet<number> {
  return new Set(
    tensors.flatMap((tensor) => {
      if (tensor.kind === "copy" || tensor.kind === "decoded") return [];
      return typeof tensor.layer === "number" ? tensor.layer : tensor.layer.index;
    }),
  );
}

/** The output's files and their tensors, by the source's own files or one for each layer. */
export function shardFiles(
  outputs: readonly OutputTensor[],
  model: ModelDescription,
  sharding: "source" | "layer",
): Map<string, OutputTensor[]> {
  const files = new Map<string, OutputTensor[]>();
  const put = (file: string, output: OutputTensor) => {
    const list = files.get(file);
    if (list === undefined) files.set(file, [output]);
    else list.push(output);
  };
  if (sharding === "source") {
    for (const output of outputs) put(output.sourceFile, output);
    return files;
  }
  // The tensors outside the layers come first, as file 1.
  const total = model.layers.length + 1;
  const number = (n: number) => String(n).padStart(5, "0");
  for (const output of outputs) {
    const layer = model.layers.findIndex(({ prefix }) => output.name.startsWith(prefix));
    put(`model-${number(layer + 2)}-of-${number(total)}.safetensors`, output);
  }
  return files;
}
