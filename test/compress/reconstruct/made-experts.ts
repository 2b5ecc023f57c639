import { decode, encode } from "../../../src/checkpoint/dtypes.js";
import type { DType } from "../../../src/checkpoint/tensor.js";
import type { LinearExperts, Part, Piece, Surroundings } from "../../../src/compress/reconstruct/problem.js";
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
  /** Rows of W_e, where there is something fixed around it (`LinearExperts.around`). */
  readonly width?: number;
}

/** A layer's experts with random routing, of which everything is plain to see. */
export class MadeExperts implements LinearExperts {
  readonly count: number;
  readonly columns: number;
  readonly hidden: number;
  /** `[tokens, experts * columns]`: the inputs of all experts side by side, 0 where a token is not routed. */
  readonly inputs: Float32Array;
  readonly first: readonly Float32Array[];
  readonly around?: Surroundings;
  /** O_e `[hidden, width]`, and f_te `[tokens, experts * width]`. */
  readonly outers: readonly Float32Array[];
  readonly factors: Float32Array;
  private now: Float32Array[];
  private readonly routed: readonly (readonly number[])[];

  constructor(
    random: Random,
    private readonly sizes: Sizes,
    private readonly dtype: DType = "F32",
  ) {
    const { tokens, experts, topK, columns, hidden, width: rows = hidden } = sizes;
    this.count = experts;
    this.columns = columns;
    this.hidden = hidden;
    const width = experts * columns;
    this.inputs = correlatedInputs(random, tokens, width);
    const shared = correlatedInputs(random, tokens, columns);
    if (sizes.width !== undefined)
      for (let i = 0; i < this.inputs.length; i++)
        this.inputs[i] = shared[Math.floor(i / width) * columns + (i % columns)]!;
    const chosen = Array.from({ length: tokens }, () => [...random.permutation(experts).slice(0, topK)]);
    for (const [token, own] of chosen.entries()) {
      for (let e = 0; e < experts; e++) {
        if (!own.includes(e)) this.inputs.fill(0, token * width + e * columns, token * width + (e + 1) * columns);
      }
    }
    this.routed = Array.from({ length: experts }, (_, e) => chosen.flatMap((own, t) => (own.includes(e) ? [t] : [])));
    this.first = Array.from({ length: experts }, () => this.rounded(normals(random, rows * columns)));
    this.now = [...this.first];
    const gated = sizes.width === undefined ? 0 : experts;
    this.outers = Array.from({ length: gated }, () => normals(random, hidden * rows));
    this.factors = normals(random, tokens * gated * rows).map((value) => value + 0.5);
    if (gated > 0) this.around = { inputs: shared, outer: (expert) => this.outers[expert]! };
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

  /** What the experts make `[tokens, hidden]`, in float64. */
  outputs(weights: readonly Float32Array[] = this.now): Float64Array {
    const { tokens, hidden, columns, experts } = this.sizes;
    const out = new Float64Array(tokens * hidden);
    for (let t = 0; t < tokens; t++) {
      for (let e = 0; e < experts; e++) {
        const a = this.inputs.subarray((t * experts + e) * columns, (t * experts + e + 1) * columns);
        const made = Float64Array.from({ length: weights[e]!.length / columns }, (_, i) =>
          a.reduce((sum, value, j) => sum + weights[e]![i * columns + j]! * value, 0),
        );
        const behind = this.behind(t, e, made);
        for (let h = 0; h < hidden; h++) out[t * hidden + h]! += behind[h]!;
      }
    }
    return out;
  }

  /** The gradient of an expert's squared error with respect to W_e, over -2, for what is left of one token. */
  gradient(token: number, expert: number, left: Float64Array): Float64Array {
    const { columns, experts, hidden, width = hidden } = this.sizes;
    const own = Float64Array.from({ length: width }, (_, i) => {
      if (this.around === undefined) return left[i]!;
      const sum = left.reduce((all, value, h) => all + this.outers[expert]![h * width + i]! * value, 0);
      return sum * this.factors[(token * experts + expert) * width + i]!;
    });
    return Float64Array.from({ length: width * columns }, (_, at) => {
      const [i, j] = [Math.floor(at / columns), at % columns];
      return own[i]! * this.inputs[(token * experts + expert) * columns + j]!;
    });
  }

  private behind(token: number, expert: number, made: Float64Array): Float64Array {
    if (this.around === undefined) return made;
    const { hidden, experts, width = hidden } = this.sizes;
    return Float64Array.from({ length: hidden }, (_, h) =>
      made.reduce(
        (sum, value, i) =>
          sum + this.outers[expert]![h * width + i]! * this.factors[(token * experts + expert) * width + i]! * value,
        0,
      ),
    );
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
    const { fitted, columns, experts, width } = this.sizes;
    const rows = this.routed[expert]!.filter((token) => token < fitted === (part === "fitted"));
    // Pieces of odd sizes, as those of chunks are.
    for (let begin = 0; begin < rows.length; begin += 7) {
      const own = Int32Array.from(rows.slice(begin, begin + 7));
      if (width === undefined) {
        const inputs = new Float32Array(own.length * columns);
        for (const [i, token] of own.entries()) {
          const at = (token * experts + expert) * columns;
          inputs.set(this.inputs.subarray(at, at + columns), i * columns);
        }
        yield { rows: own, values: inputs };
        continue;
      }
      const factors = new Float32Array(own.length * width);
      for (const [i, token] of own.entries()) {
        const at = (token * experts + expert) * width;
        factors.set(this.factors.subarray(at, at + width), i * width);
      }
      yield { rows: own, values: factors };
    }
  }

  save(): (expert: number) => void {
    const saved = [...this.now];
    return (expert) => {
      this.now[expert] = saved[expert]!;
    };
  }

  private rounded(values: Float32Array): Float32Array {
    return Float32Array.from(decode({ dtype: this.dtype, data: encode(this.dtype, values) }));
  }
}
