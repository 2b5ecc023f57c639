/**
 * What whole models would take, from what one layer of Qwen3-30B-A3B's shape took. Times per token grow with the
 * multiplications of a token, what is done once a layer with the experts' weights; both are an estimate, not a measurement.
 */

import { METHODS } from "../src/compress/settings.js";
import type { ModelDescription } from "../src/model/description.js";
import { estimateMemory } from "../src/pipeline/memory-estimate.js";

/** Sizes of a model that decide its cost. */
export interface ModelShape {
  readonly name: string;
  readonly layers: number;
  readonly hidden: number;
  readonly experts: number;
  readonly kept: number;
  readonly topK: number;
  readonly width: number;
  /** Weights of a layer besides router and routed experts: attention, shared experts. */
  readonly otherWeights: number;
  /** Embedding and output matrix, dense layers. */
  readonly outside: number;
}

export const QWEN3_30B: ModelShape = {
  ...{ name: "Qwen3-30B-A3B, 128 -> 96", layers: 48, hidden: 2048, experts: 128, kept: 96, topK: 8, width: 768 },
  ...{ otherWeights: 18.9e6, outside: 622e6 },
};

export const MODELS: readonly ModelShape[] = [
  QWEN3_30B,
  {
    ...{ name: "GLM-4.5-Air, 128 -> 96", layers: 45, hidden: 4096, experts: 128, kept: 96, topK: 8, width: 1408 },
    ...{ otherWeights: 126e6, outside: 1.5e9 },
  },
  {
    ...{ name: "1 T (shape of Kimi-K2), 384 -> 288", layers: 60, hidden: 7168, experts: 384, kept: 288, topK: 8 },
    ...{ width: 2048, otherWeights: 145e6, outside: 2.8e9 },
  },
];

/** Tokens whose activations align neurons, at most. */
const SAMPLES = METHODS.ream.settings.samples;

/** Tokens of a calibration sequence. */
const LENGTH = 512;

/** Multiplications of one token. */
export function perToken(shape: ModelShape) {
  const { hidden, experts, kept, topK, width, otherWeights } = shape;
  const expert = 3 * hidden * width;
  return {
    /** Attention once, the block of experts before and after the merge. */
    forward: otherWeights + 2 * topK * expert,
    /** Gate and up of all experts, whose mean activations give the mean outputs. */
    means: (2 / 3) * experts * expert,
    /** Activations of the experts that are aligned, and their products: only for sampled tokens. */
    align: (experts - kept) * (2 * hidden * width + width * width),
    /** The published code: two forward passes, and every expert whole on every token. */
    official: 2 * otherWeights + 2 * topK * expert + experts * expert,
  };
}

/** Seconds of a layer of QWEN3_30B's shape. */
export interface MeasuredLayer {
  /** However many tokens there are. */
  readonly fixed: number;
  /** Each token, with at most as many as are sampled. */
  readonly token: number;
}

/** Seconds of a whole model: `multiplications` are those of a token, of which `sampled` only for sampled ones. */
export function modelSeconds(
  shape: ModelShape,
  measured: MeasuredLayer,
  tokens: number,
  multiplications: (shape: ModelShape) => { readonly all: number; readonly sampled: number },
): number {
  const own = multiplications(shape);
  const reference = multiplications(QWEN3_30B);
  const speed = measured.token / (reference.all + reference.sampled);
  const weights = (expertWeights(shape) / expertWeights(QWEN3_30B)) * measured.fixed;
  return shape.layers * (weights + speed * (own.all * tokens + own.sampled * Math.min(tokens, SAMPLES)));
}

/** Bytes of memory, as `ream inspect` estimates them, and of the output, in bfloat16. */
export function modelBytes(shape: ModelShape, tokens: number) {
  const { layers, hidden, width, experts, kept, topK, otherWeights, outside } = shape;
  const layer = 2 * (expertWeights(shape) + otherWeights);
  const model = layers * layer + 2 * outside;
  const output = model - layers * 2 * expertWeights(shape) * (1 - kept / experts);
  // All that the estimate looks at.
  const block = { kind: "moe", experts: { hidden, width, count: experts }, router: { topK } };
  const described = {
    hiddenSize: hidden,
    topK,
    experts,
    layers: [{ feedForward: block }],
  } as unknown as ModelDescription;
  const work = { sequences: tokens / LENGTH, length: LENGTH, precision: "bf16", kept } as const;
  const numbers = [expertWeights(shape) + otherWeights];
  const memory = estimateMemory(described, numbers, { ...work, settings: METHODS.ream.settings }).bytes;
  return { memory, model, output };
}

function expertWeights({ experts, hidden, width }: ModelShape): number {
  return experts * 3 * hidden * width;
}
