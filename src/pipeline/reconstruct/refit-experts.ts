import { decode } from "../../checkpoint/dtypes.js";
import type { DType, Tensor } from "../../checkpoint/tensor.js";
import { encodeFinite } from "../../compress/merge.js";
import type { LinearExperts, Part, Piece } from "../../compress/reconstruct/problem.js";
import type { Backend, ExpertTensors } from "../../engine/backend.js";
import type { MoeDescription } from "../../model/description.js";
import type { MoeInput } from "../../model/layer.js";
import { expertInputs, type RoutedRows, type RoutedTokens } from "../steps/routed-rows.js";
import { KEPT_BYTES } from "./refit-plan.js";

/** What a refit changes in an expert. */
export type RefittedParts = Pick<ExpertTensors, "down" | "downBias">;

export interface RefitExpertsOptions {
  readonly backend: Backend;
  readonly moe: MoeDescription;
  /** The reduced layer's experts. */
  readonly experts: readonly ExpertTensors[];
  /** Dtype of refitted weights; undefined: that of the expert's. */
  readonly dtype: DType | undefined;
  /** Where the tokens of both parts go. */
  readonly routed: Readonly<Record<Part, RoutedRows>>;
  /** Row among the residuals of a token, which is numbered over all batches. */
  readonly rowOf: (token: number) => number;
  /** `[rows]`: what a token's error is multiplied by. */
  readonly importance: Float32Array;
  /** Hidden states after the mixer `[tokens, hidden]` -> the block's input. */
  readonly moeInput: (hidden: Float32Array) => MoeInput;
}

/**
 * The down projections of a layer's experts as linear maps of their activations. Where they have biases, these are one more
 * column, whose input is 1.
 */
export class RefitExperts implements LinearExperts {
  readonly count: number;
  readonly columns: number;
  readonly hidden: number;
  private now: RefittedParts[];
  private readonly kept = new Map<string, Piece[]>();
  private bytes = 0;

  constructor(private readonly options: RefitExpertsOptions) {
    const { experts, moe } = options;
    this.count = experts.length;
    this.columns = moe.experts.width + (moe.experts.biased === true ? 1 : 0);
    this.hidden = moe.experts.hidden;
    this.now = [...experts];
  }

  weights(expert: number): Float32Array {
    return this.joined(this.now[expert]!);
  }

  start(expert: number): Float32Array {
    return this.joined(this.options.experts[expert]!);
  }

  replace(expert: number, weights: Float32Array): void {
    const { down, downBias } = this.options.experts[expert]!;
    const { columns, hidden } = this;
    if (downBias === undefined) {
      this.now[expert] = { down: this.encoded(down, weights) };
      return;
    }
    const matrix = new Float32Array(hidden * (columns - 1));
    const bias = new Float32Array(hidden);
    for (let i = 0; i < hidden; i++) {
      matrix.set(weights.subarray(i * columns, (i + 1) * columns - 1), i * (columns - 1));
      bias[i] = weights[(i + 1) * columns - 1]!;
    }
    this.now[expert] = { down: this.encoded(down, matrix), downBias: this.encoded(downBias, bias) };
  }

  *pieces(expert: number, part: Part): Generator<Piece> {
    const key = `${part} ${expert}`;
    const known = this.kept.get(key);
    if (known !== undefined) {
      yield* known;
      return;
    }
    const pieces: Piece[] = [];
    for (const piece of this.computed(expert, part)) {
      this.bytes += piece.inputs.byteLength;
      pieces.push(piece);
      yield piece;
    }
    if (this.bytes <= KEPT_BYTES) this.kept.set(key, pieces);
    else for (const { inputs } of pieces) this.bytes -= inputs.byteLength;
  }

  save(): () => void {
    const saved = [...this.now];
    return () => {
      this.now = saved;
    };
  }

  /** What became of an expert. */
  parts(expert: number): RefittedParts {
    const { down, downBias } = this.now[expert]!;
    return downBias === undefined ? { down } : { down, downBias };
  }

  private *computed(expert: number, part: Part): Generator<Piece> {
    const { backend, moe, experts, routed, moeInput } = this.options;
    const ready = backend.experts([experts[expert]!], moe.activation);
    try {
      for (const tokens of routed[part].of(expert)) {
        const rows = Int32Array.from(tokens.tokens, this.options.rowOf);
        const activations = backend.expertActivation(expertInputs(tokens, moeInput, moe), ready, 0);
        yield { rows, inputs: this.weighed(activations, tokens, rows) };
      }
    } finally {
      ready.dispose();
    }
  }

  /** Activations times what the outputs are combined with, and times the token's importance. */
  private weighed(activations: Float32Array, { weights }: RoutedTokens, rows: Int32Array): Float32Array {
    const { moe, importance } = this.options;
    const { columns } = this;
    const { width } = moe.experts;
    const result = columns === width ? activations : new Float32Array(rows.length * columns);
    for (let i = 0; i < rows.length; i++) {
      const weight = moe.router.scalesInputs === true ? 1 : weights[i]!;
      const factor = weight * importance[rows[i]!]!;
      for (let j = 0; j < width; j++) result[i * columns + j] = factor * activations[i * width + j]!;
      if (columns > width) result[i * columns + width] = factor;
    }
    return result;
  }

  private joined({ down, downBias }: RefittedParts): Float32Array {
    const { columns, hidden } = this;
    const matrix = decode(down);
    if (downBias === undefined) return matrix;
    const bias = decode(downBias);
    const weights = new Float32Array(hidden * columns);
    for (let i = 0; i < hidden; i++) {
      weights.set(matrix.subarray(i * (columns - 1), (i + 1) * (columns - 1)), i * columns);
      weights[(i + 1) * columns - 1] = bias[i]!;
    }
    return weights;
  }

  private encoded({ dtype, shape }: Tensor, values: Float32Array): Tensor {
    const target = this.options.dtype ?? dtype;
    return { dtype: target, shape, data: encodeFinite(target, values) };
  }
}
