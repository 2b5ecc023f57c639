import type { DenseDescription, LayerDescription, Projection } from "./description.js";
import { EXPERT_PARTS, type ExpertPart, expertShape } from "./expert-storage.js";
import type { MixerDescription } from "./mixers/descriptions.js";

/** The parts of a layer that a matrix can belong to. */
export const LINEAR_PARTS = ["experts", "shared", "dense", "attention"] as const;
export type LinearPart = (typeof LINEAR_PARTS)[number];

/** A matrix of a plain projection x -> W x (+ bias), as one stored tensor. */
export interface LinearWeight {
  readonly part: LinearPart;
  /**
   * Name of the tensor, with `.weight`. Routed experts in one tensor have the names that they would have as separate ones
   * (`ExpertStorage.matrixName`).
   */
  readonly name: string;
  /** `[rows, columns]` = `[out, in]`. */
  readonly shape: readonly [number, number];
  /** Of a routed expert: `ExpertStorage.read(checkpoint, expert)[matrix]` is the weight. */
  readonly expert?: number;
  readonly matrix?: ExpertPart;
}

/**
 * The matrices of a layer that weight formats and pruning may change, each once, in the order of the computation: mixer,
 * shared expert or dense block, routed experts.
 *
 * Not among them, and why:
 * - routers and the gate that weighs a shared expert `[1, hidden]`: a choice of experts is made by small differences, and
 *   they are a thousandth of the weights;
 * - norms, biases, sinks, decays, and convolution kernels `[channels, 1, kernel]`: vectors, no matrices of a projection;
 * - the projections of the delta rule, Kimi Delta Attention and Mamba that make gates, decays and time steps through a small
 *   vector or one number for each head, and that of Ling 3.0's decays: a decay is multiplied over all tokens, so that its
 *   error grows with the context, and most of them are small;
 * - the stacked experts of a mixture of attention (JetMoE): no format stores them.
 *
 * Two projections that are rows of one tensor (query and gate of Qwen3-Next, keys and values of JetMoE, gate and up of
 * Granite's shared expert) are one matrix. The
 * keys' and values' matrix of latent attention is one as well: some engines absorb it into query and output, but all of them
 * read it as the projection that it is stored as.
 */
export function linearWeights({ mixer, feedForward }: LayerDescription): LinearWeight[] {
  const weights = once(mixerProjections(mixer)).map((one) => linear("attention", one));
  if (feedForward.kind === "none") return weights;
  if (feedForward.kind === "dense") return [...weights, ...block("dense", feedForward)];
  const { shared, experts } = feedForward;
  if (shared !== undefined) weights.push(...block("shared", shared));
  for (let expert = 0; expert < experts.count; expert++) {
    for (const matrix of experts.parts ?? EXPERT_PARTS) {
      const name = experts.matrixName(expert, matrix);
      weights.push({ part: "experts", name, shape: expertShape(experts, matrix), expert, matrix });
    }
  }
  return weights;
}

function linear(part: LinearPart, { weight, shape }: Projection): LinearWeight {
  return { part, name: weight, shape };
}

function block(part: LinearPart, { gate, up, down }: Omit<DenseDescription, "kind">): LinearWeight[] {
  return once([...(gate === undefined ? [] : [gate]), up, down]).map((one) => linear(part, one));
}

/** The first projection of each tensor. */
function once(projections: readonly Projection[]): Projection[] {
  return [...new Map(projections.map((one) => [one.weight, one])).values()];
}

function mixerProjections(mixer: MixerDescription): Projection[] {
  switch (mixer.kind) {
    case "attention": {
      const { query, key, value, gate, output } = mixer;
      return [query, key, value, ...(gate === undefined ? [] : [gate]), output];
    }
    case "latent-attention": {
      const { query, latent, keyValue, output } = mixer;
      const queries = "weight" in query ? [query] : [query.down, query.up];
      return [...queries, latent, keyValue, ...(mixer.gate === undefined ? [] : [mixer.gate]), output];
    }
    case "mixture-of-attention":
      return [mixer.key, mixer.value];
    case "delta-rule":
    case "linear-attention":
      return [mixer.queryKeyValue, mixer.gate, mixer.output];
    case "channel-delta-rule":
      return [mixer.query, mixer.key, mixer.value, ...(mixer.gate.length === 1 ? mixer.gate : []), mixer.output];
    case "none":
      return [];
    case "mamba":
    case "selective-scan":
    case "short-convolution":
      return [mixer.input, mixer.output];
  }
}
