import { decode } from "../checkpoint/dtypes.js";
import type { Tensor } from "../checkpoint/tensor.js";
import type { ExpertTensors } from "./backend.js";

const BIASES = ["gateBias", "upBias", "downBias"] as const;

/** Biases of an expert in float32: gate, up `[width]`, down `[hidden]`; undefined: it has none. */
export interface ExpertBiases {
  readonly gate: Float32Array | undefined;
  readonly up: Float32Array | undefined;
  readonly down: Float32Array | undefined;
}

/** What the experts of a layer have in common: their sizes, and whether they have gates and biases. */
export class ExpertForm {
  readonly gated: boolean;
  private readonly biases: ReadonlySet<string>;

  private constructor(
    readonly width: number,
    readonly hidden: number,
    expert: ExpertTensors | undefined,
  ) {
    this.gated = expert?.gate !== undefined;
    this.biases = new Set(BIASES.filter((bias) => expert?.[bias] !== undefined));
  }

  /** That of a layer's first expert; undefined: there is none. A `RangeError` where it has none. */
  static of(expert: ExpertTensors | undefined): ExpertForm {
    const [width, hidden] = expert?.up.shape ?? [0, 0];
    if (expert?.gate === undefined && expert?.gateBias !== undefined)
      throw new RangeError("experts: a bias of a gate that is not there");
    return new ExpertForm(width!, hidden!, expert);
  }

  /** A `RangeError` where experts have another form. */
  expectSame(other: ExpertForm): void {
    const parts = ({ gated, biases }: ExpertForm) => [...(gated ? ["gate"] : []), ...biases].join(", ");
    if (this.width === other.width && this.hidden === other.hidden && parts(this) === parts(other)) return;
    throw new RangeError("experts: an expert of another form is shared");
  }

  /** The biases of an expert. A `RangeError` where it is of another form. */
  biasesOf(expert: ExpertTensors): ExpertBiases {
    const { width, hidden, gated } = this;
    if ((expert.gate !== undefined) !== gated) throw new RangeError("experts: some have a gate, others have none");
    for (const bias of BIASES) {
      if ((expert[bias] !== undefined) !== this.biases.has(bias))
        throw new RangeError(`experts: some have a ${bias}, others have none`);
    }
    for (const matrix of [expert.gate, expert.up]) if (matrix !== undefined) expectShape(matrix, [width, hidden]);
    expectShape(expert.down, [hidden, width]);
    const read = (bias: Tensor | undefined, size: number) => {
      if (bias === undefined) return undefined;
      expectShape(bias, [size]);
      return decode(bias);
    };
    return { gate: read(expert.gateBias, width), up: read(expert.upBias, width), down: read(expert.downBias, hidden) };
  }
}

function expectShape({ shape }: Tensor, expected: readonly number[]): void {
  if (shape.length === expected.length && shape.every((size, axis) => size === expected[axis])) return;
  throw new RangeError(`experts: shape [${shape.join(", ")}] is not [${expected.join(", ")}]`);
}
