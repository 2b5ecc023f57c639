import type {
  DenseDescription,
  LayerDescription,
  ModelDescription,
  Norm,
  Projection,
  Sublayer,
} from "./description.js";
import { mixerTensors } from "./mixers/kinds.js";

/** A tensor that a checkpoint must hold, in this shape. */
export interface NamedTensor {
  readonly name: string;
  readonly shape: readonly number[];
}

export function projectionTensors({ weight, bias, shape }: Projection): NamedTensor[] {
  return [{ name: weight, shape }, ...(bias === undefined ? [] : [{ name: bias, shape: [shape[0]] }])];
}

export function normTensors(norm: Norm | undefined): NamedTensor[] {
  const names = [norm?.weight, norm?.bias].filter((name) => name !== undefined);
  return names.map((name) => ({ name, shape: [norm!.size] }));
}

function sublayerTensors({ inputNorm, outputNorm }: Sublayer): NamedTensor[] {
  return [...normTensors(inputNorm), ...normTensors(outputNorm)];
}

function denseTensors({ gate, up, down }: Omit<DenseDescription, "kind">): NamedTensor[] {
  return [...(gate === undefined ? [] : [gate]), up, down].flatMap(projectionTensors);
}

function partTensors(part: Norm | Projection | undefined): NamedTensor[] {
  return part !== undefined && !("kind" in part) ? projectionTensors(part) : normTensors(part);
}

/** Tensors of a layer but its routed experts and their router, by what they belong to. */
export function layerTensors(layer: LayerDescription, hidden: number) {
  const { mixer, aroundMixer, feedForward, aroundFeedForward, outputScale } = layer;
  const norms = [...sublayerTensors(aroundMixer), ...sublayerTensors(aroundFeedForward)];
  const block: NamedTensor[] = [];
  if (outputScale !== undefined) norms.push({ name: outputScale, shape: [1] });
  if (feedForward.kind === "dense") block.push(...denseTensors(feedForward));
  else if (feedForward.kind === "moe") {
    const { shared, bias, router, expertInput, expertOutput } = feedForward;
    norms.push(...normTensors(router.inputNorm), ...normTensors(shared?.inputNorm), ...normTensors(shared?.outputNorm));
    block.push(...partTensors(expertInput), ...partTensors(expertOutput));
    if (shared !== undefined) block.push(...denseTensors(shared));
    if (shared?.weighting !== undefined) block.push(...projectionTensors(shared.weighting));
    if (bias !== undefined) block.push({ name: bias, shape: [hidden] });
  }
  return { mixer: mixerTensors(mixer, hidden), feedForward: block, norms };
}

/** Tensors outside the layers. */
export function outerTensors(model: ModelDescription): NamedTensor[] {
  const embedding = { name: model.embedding, shape: [model.vocabularySize, model.hiddenSize] };
  return [embedding, ...projectionTensors(model.outputHead), ...normTensors(model.finalNorm)];
}
