import { decode, encode } from "../../../src/checkpoint/dtypes.js";
import type { DType } from "../../../src/checkpoint/tensor.js";
import type { LinearExperts, Part, Piece } from "../../../src/compress/reconstruct/problem.js";
import type { HeldOutRows } from "../../../src/compress/reconstruct/residuals.js";
import type { Random } from "../../../src/random.js";
import { correlatedInputs, normals } from "../weights/matrices.js";

export interface Sizes {
  readonly tokens: number;
  readonly fitted: number;
  readonly experts: number;
  readonly topK: number;
  readonly columns: number;
  readonly hidden: number;
}

/** A layer's experts with random routing, of which everything is plain to see. */
export class MadeExperts implements LinearExperts {
  readonly count: number;
  readonly columns: number;
  readonly hidden: number;
  /** `[tokens, experts * columns]`: the inputs of all experts side by side, 0 where a token is not routed. */
  readonly inputs: Float32Array;
  readonly first: readonly Float32Array[];
  private now: Float32Array[];
  private readonly routed: readonly (readonly number[])[];

  constructor(
    random: Random,
    private readonly sizes: Sizes,
    private readonly dtype: DType = "F32",
  ) {
    const { tokens, experts, topK, columns, hidden } = sizes;
    this.count = experts;
    this.columns = columns;
    this.hidden = hidden;
    const width = experts * columns;
    this.inputs = correlatedInputs(random, tokens, width);
    const chosen = Array.from({ length: tokens }, () => [...random.permutation(experts).slice(0, topK)]);
    for (const [token, own] of chosen.entries()) {
      for (let e = 0; e < experts; e++) {
        if (!own.includes(e)) this.inputs.fill(0, token * width + e * columns, token * width + (e + 1) * columns);
      }
    }
    this.routed = Array.from({ length: experts }, (_, e) => chosen.flatMap((own, t) => (own.includes(e) ? [t] : [])));
    this.first = Array.from({ length: experts }, () => this.rounded(normals(random, hidden * columns)));
    this.now = [...this.first];
  }

  /** The held-out rows as two domains. */
  get heldOut(): readonly HeldOutRows[] {
    const { fitted, tokens } = this.sizes;
    const half = Math.ceil((fitted + tokens) / 2);
    return [
      { domain: "a", begin: fitted, end: half },
      { domain: "b", begin: half, end: tokens },
    ];
  }

  /** sum_e W_e a_te `[tokens, hidden]` in float64. */
  outputs(weights: readonly Float32Array[] = this.now): Float64Array {
    const { tokens, hidden, columns, experts } = this.sizes;
    const out = new Float64Array(tokens * hidden);
    for (let t = 0; t < tokens; t++) {
      for (let i = 0; i < hidden; i++) {
        for (let e = 0; e < experts; e++) {
          for (let j = 0; j < columns; j++)
            out[t * hidden + i]! +=
              weights[e]![i * columns + j]! * this.inputs[t * experts * columns + e * columns + j]!;
        }
      }
    }
    return out;
  }

  weights(expert: number): Float32Array {
    return this.now[expert]!;
  }

  start(expert: number): Float32Array {
    return this.first[expert]!;
  }

  replace(expert: number, weights: Float32Array): void {
    this.now[expert] = this.rounded(weights);
  }

  *pieces(expert: number, part: Part): Generator<Piece> {
    const { fitted, columns, experts } = this.sizes;
    const rows = this.routed[expert]!.filter((token) => token < fitted === (part === "fitted"));
    // Pieces of odd sizes, as those of chunks are.
    for (let begin = 0; begin < rows.length; begin += 7) {
      const own = Int32Array.from(rows.slice(begin, begin + 7));
      const inputs = new Float32Array(own.length * columns);
      for (const [i, token] of own.entries()) {
        const at = (token * experts + expert) * columns;
        inputs.set(this.inputs.subarray(at, at + columns), i * columns);
      }
      yield { rows: own, inputs };
    }
  }

  save(): () => void {
    const saved = [...this.now];
    return () => {
      this.now = saved;
    };
  }

  private rounded(values: Float32Array): Float32Array {
    return Float32Array.from(decode({ dtype: this.dtype, data: encode(this.dtype, values) }));
  }
}
