import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { DType, TensorInfo } from "../checkpoint/tensor.js";
import { isMoe, type ModelDescription, type MoeLayer } from "../model/description.js";
import type { ExpertOutput } from "../model/expert-storage.js";
import { routerNames } from "../model/router.js";

/** A tensor of the compressed checkpoint and where its content comes from. */
export type OutputTensor = {
  readonly name: string;
  readonly dtype: TensorInfo["dtype"];
  readonly shape: readonly number[];
  /** The source's file that holds the tensor of this name. */
  readonly sourceFile: string;
} & (
  | { readonly kind: "copy" }
  /** `axis`: that of the experts. */
  | { readonly kind: "router"; readonly layer: number; readonly axis: number }
  /** `slots` and `tensor`: see `ExpertOutput`. */
  | ({ readonly kind: "expert"; readonly layer: MoeLayer } & Pick<ExpertOutput, "slots" | "tensor">)
);

const FLOATS: ReadonlySet<string> = new Set(["F64", "F32", "F16", "BF16"]);

/**
 * Every tensor of the output: the source's own, with the routers cut to the kept experts and the routed experts replaced
 * by the merged ones. Names, order and dtypes stay the source's (`dtype` converts the floats, but for selection biases:
 * rounding them would change which experts are chosen).
 *
 * @param omitted names of tensors that the output leaves out
 */
export function outputTensors(
  checkpoint: Checkpoint,
  model: ModelDescription,
  kept: number,
  dtype: DType | undefined,
  omitted: ReadonlySet<string> = new Set(),
): OutputTensor[] {
  const moeLayers = model.layers.filter(isMoe);
  const expertNames = new Set(moeLayers.flatMap((layer) => layer.feedForward.experts.names));
  const routers = new Map(
    moeLayers.flatMap((layer) => routerNames(layer.feedForward.router).map((name) => [name, layer] as const)),
  );
  const stored = (info: TensorInfo) => (dtype !== undefined && FLOATS.has(info.dtype) ? dtype : info.dtype);
  const outputs: OutputTensor[] = [];
  for (const info of checkpoint.tensors.values()) {
    if (expertNames.has(info.name) || omitted.has(info.name)) continue;
    const common = { name: info.name, dtype: stored(info), sourceFile: info.file };
    const layer = routers.get(info.name);
    if (layer === undefined) {
      outputs.push({ ...common, kind: "copy", shape: info.shape });
      continue;
    }
    const isSelectionBias = info.name === layer.feedForward.router.selectionBias;
    const axis = isSelectionBias ? info.shape.length - 1 : 0;
    const dtype = isSelectionBias ? info.dtype : common.dtype;
    outputs.push({ ...common, kind: "router", dtype, layer: layer.index, axis, shape: info.shape.with(axis, kept) });
  }
  for (const layer of moeLayers) {
    for (const { source, ...output } of layer.feedForward.experts.outputs(kept)) {
      const info = checkpoint.info(source);
      outputs.push({ ...output, kind: "expert", dtype: stored(info), sourceFile: info.file, layer });
    }
  }
  return outputs;
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
