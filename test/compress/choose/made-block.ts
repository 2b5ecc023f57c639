import { encode } from "../../../src/checkpoint/dtypes.js";
import type { Tensor } from "../../../src/checkpoint/tensor.js";
import type { MeasuredTokens } from "../../../src/compress/choose/measured-block.js";
import type { Backend, ExpertTensors } from "../../../src/engine/backend.js";
import type { RouterDescription } from "../../../src/model/description.js";
import { separateExperts } from "../../../src/model/expert-storage.js";
import { MoeBlock, type RouterTensors } from "../../../src/model/moe.js";
import type { Random } from "../../../src/random.js";

export interface MadeSizes {
  readonly count: number;
  readonly hidden: number;
  readonly width: number;
}

export type MadeRouter = Omit<RouterDescription, "weight" | "selectionBias" | "expertScale">;

/** A block of random weights, with selection biases and scales of experts where they are asked for. */
export class MadeBlock {
  readonly tensors: RouterTensors & { readonly experts: readonly ExpertTensors[] };
  readonly block: MoeBlock;

  constructor(
    readonly backend: Backend,
    random: Random,
    readonly sizes: MadeSizes,
    readonly router: MadeRouter,
    { biased = false, scaled = false } = {},
  ) {
    const { count, hidden, width } = sizes;
    this.tensors = {
      router: tensor(random, 1, count, hidden),
      ...(biased && { selectionBias: tensor(random, 0.1, count) }),
      ...(scaled && { expertScale: tensor(random, 1, count) }),
      experts: Array.from({ length: count }, () => ({
        gate: tensor(random, 1, width, hidden),
        up: tensor(random, 1, width, hidden),
        down: tensor(random, 1, hidden, width),
      })),
    };
    this.block = this.of(this.tensors);
  }

  /** A block of these tensors. */
  of(tensors: MadeBlock["tensors"]): MoeBlock {
    const { count, hidden, width } = this.sizes;
    const experts = separateExperts({ count, width, hidden, name: (e, part) => `${e}.${part}` });
    const router = { ...this.router, weight: "router" };
    const ready = this.backend.experts(tensors.experts, "silu");
    return new MoeBlock(this.backend, { kind: "moe", experts, router, activation: "silu" }, tensors, ready);
  }

  /** What the block makes of x `[tokens, hidden]`. */
  run(block: MoeBlock, x: Float32Array): Float32Array {
    return block.run({ router: x, experts: x }).output;
  }

  tokens(x: Float32Array, importance: Float32Array): MeasuredTokens {
    return { inputs: x, logits: this.block.run({ router: x, experts: x }).router.logits, importance };
  }
}

function tensor(random: Random, deviation: number, ...shape: number[]): Tensor {
  const length = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length }, () => deviation * random.normal());
  return { dtype: "F32", shape, data: encode("F32", values) };
}
