import { encodeFinite } from "../../checkpoint/convert.js";
import { decode } from "../../checkpoint/dtypes.js";
import type { DType, Tensor } from "../../checkpoint/tensor.js";
import type { ExpertTensors } from "../../engine/backend.js";

/** The matrices that are refitted. */
export type RefitPart = "down" | "up";

const BIAS = { down: "downBias", up: "upBias" } as const;

/** What a refit changes in an expert. */
export type RefittedParts = Partial<Pick<ExpertTensors, "down" | "downBias" | "up" | "upBias">>;

/** The values that parts of an expert have when they have been stored. */
export type StoreParts = (expert: number, parts: RefittedParts) => RefittedParts;

/** The tensors of a matrix and its bias. */
export function partNames(part: RefitPart): readonly (keyof RefittedParts)[] {
  return [part, BIAS[part]];
}

interface Stored {
  readonly matrix: Tensor;
  readonly bias: Tensor | undefined;
}

/** One matrix of every expert of a layer as it is refitted, with its bias as one more column. */
export class ExpertMatrices {
  private readonly first: readonly Stored[];
  private now: Stored[];

  /**
   * @param dtype of refitted weights; undefined: that of the expert's
   * @param store what they are in the form that they are stored in, where that is no dtype
   */
  constructor(
    experts: readonly ExpertTensors[],
    private readonly part: RefitPart,
    private readonly dtype: DType | undefined,
    private readonly store?: StoreParts,
  ) {
    this.first = experts.map((expert) => ({ matrix: expert[part], bias: expert[BIAS[part]] }));
    this.now = [...this.first];
  }

  /** `[rows, columns]`, float32 */
  weights(expert: number): Float32Array {
    return joined(this.now[expert]!);
  }

  start(expert: number): Float32Array {
    return joined(this.first[expert]!);
  }

  replace(expert: number, weights: Float32Array): void {
    const { matrix, bias } = this.first[expert]!;
    if (bias === undefined) {
      this.keep(expert, { matrix: refittedTensor(matrix, weights, this.dtype), bias });
      return;
    }
    const rows = matrix.shape[0]!;
    const columns = weights.length / rows;
    const own = new Float32Array(rows * (columns - 1));
    const last = new Float32Array(rows);
    for (let i = 0; i < rows; i++) {
      own.set(weights.subarray(i * columns, (i + 1) * columns - 1), i * (columns - 1));
      last[i] = weights[(i + 1) * columns - 1]!;
    }
    this.keep(expert, {
      matrix: refittedTensor(matrix, own, this.dtype),
      bias: refittedTensor(bias, last, this.dtype),
    });
  }

  private keep(expert: number, { matrix, bias }: Stored): void {
    const { part, store } = this;
    const parts = { [part]: matrix, ...(bias !== undefined && { [BIAS[part]]: bias }) };
    const stored: RefittedParts = store?.(expert, parts) ?? parts;
    this.now[expert] = { matrix: stored[part]!, bias: bias && stored[BIAS[part]] };
  }

  save(): (expert: number) => void {
    const saved = [...this.now];
    return (expert) => {
      this.now[expert] = saved[expert]!;
    };
  }

  /** What became of an expert's tensors. */
  parts(expert: number): RefittedParts {
    const { matrix, bias } = this.now[expert]!;
    return { [this.part]: matrix, ...(bias !== undefined && { [BIAS[this.part]]: bias }) };
  }
}

/** Refitted values of a tensor in a dtype; undefined: its own. */
export function refittedTensor({ dtype: stored, shape }: Tensor, values: Float32Array, dtype = stored): Tensor {
  return { dtype, shape, data: encodeFinite(dtype, values) };
}

function joined({ matrix, bias }: Stored): Float32Array {
  const values = decode(matrix);
  if (bias === undefined) return values;
  const last = decode(bias);
  const columns = values.length / last.length;
  const weights = new Float32Array(last.length * (columns + 1));
  for (const [i, value] of last.entries()) {
    weights.set(values.subarray(i * columns, (i + 1) * columns), i * (columns + 1));
    weights[(i + 1) * (columns + 1) - 1] = value;
  }
  return weights;
}
