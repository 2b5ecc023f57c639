import { isMoe, type LayerDescription, type ModelDescription } from "./description.js";
import { EXPERT_PARTS, type ExpertStorage } from "./expert-storage.js";
import { routerNames } from "./router.js";
import { layerTensors, type NamedTensor, outerTensors } from "./tensor-list.js";

/** Numbers of a model's weights, however they are stored. */
export interface ParameterCount {
  readonly total: number;
  /** Of these, what one token passes: all but the experts that its routers do not choose. Embeddings count whole. */
  readonly active: number;
}

/**
 * Counts what a description names, each tensor once, from the shapes that it must have. Layers for multi-token prediction
 * and tensors that the text model is not made of are not in it.
 */
export function countParameters(model: ModelDescription): ParameterCount {
  const always = new Map<string, number>();
  let [routed, chosen] = [0, 0];
  const add = ({ name, shape }: NamedTensor) => always.set(name, product(shape));
  outerTensors(model).forEach(add);
  for (const layer of model.layers) {
    const { mixer, feedForward, norms } = layerTensors(layer, model.hiddenSize);
    [...mixer, ...feedForward, ...norms].forEach(add);
    if (!isMoe(layer)) continue;
    const { router, experts } = layer.feedForward;
    for (const name of routerNames(router))
      add({ name, shape: [experts.count, name === router.weight ? model.hiddenSize : 1] });
    routed += experts.count * expertParameters(experts);
    chosen += router.topK * expertParameters(experts);
  }
  const rest = [...always.values()].reduce((sum, size) => sum + size, 0);
  const idle = model.layers.reduce((sum, layer) => sum + idleHeads(layer, model.hiddenSize), 0);
  return { total: rest + routed, active: rest + chosen - idle };
}

/** Numbers of one routed expert, with its biases. */
export function expertParameters({ width, hidden, parts = EXPERT_PARTS, biased = false }: ExpertStorage): number {
  return parts.length * width * hidden + (biased ? (parts.length - 1) * width + hidden : 0);
}

/** Numbers of the attention experts that a token does not choose (JetMoE). */
function idleHeads({ mixer }: LayerDescription, hidden: number): number {
  if (mixer.kind !== "mixture-of-attention") return 0;
  const { experts, router, keyValueHeads, headSize } = mixer;
  return (experts.count - router.topK) * 2 * keyValueHeads * headSize * hidden;
}

function product(shape: readonly number[]): number {
  return shape.reduce((total, size) => total * size, 1);
}
