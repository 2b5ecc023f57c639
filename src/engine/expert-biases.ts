import { decode } from "../checkpoint/dtypes.js";
import type { ExpertTensors } from "./backend.js";

/** Biases of experts in float32, expert by expert; undefined: none has it. */
export interface ExpertBiases {
  /** `[width]` each */
  readonly gate: readonly Float32Array[] | undefined;
  /** `[width]` each */
  readonly up: readonly Float32Array[] | undefined;
  /** `[hidden]` each */
  readonly down: readonly Float32Array[] | undefined;
}

/** Reads the biases of a layer's experts. A `RangeError` where only some experts have one, or one does not fit. */
export function expertBiases(experts: readonly ExpertTensors[], width: number, hidden: number): ExpertBiases {
  const all = (name: "gateBias" | "upBias" | "downBias", size: number) => {
    const biases = experts.flatMap((expert) => expert[name] ?? []);
    if (biases.length === 0) return undefined;
    if (biases.length !== experts.length) {
      throw new RangeError(`experts: ${biases.length} of ${experts.length} experts have a ${name}`);
    }
    const wrong = biases.find(({ shape }) => shape.length !== 1 || shape[0] !== size);
    if (wrong !== undefined)
      throw new RangeError(`experts: ${name} of shape [${wrong.shape.join(", ")}] is not [${size}]`);
    return biases.map((bias) => decode(bias));
  };
  return { gate: all("gateBias", width), up: all("upBias", width), down: all("downBias", hidden) };
}
