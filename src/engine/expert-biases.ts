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

/** Whether a layer's experts have gates. A `RangeError` where only some have one, or a bias of one that is not there. */
export function haveGates(experts: readonly ExpertTensors[]): boolean {
  const count = experts.filter(({ gate }) => gate !== undefined).length;
  if (count !== 0 && count !== experts.length) {
    throw new RangeError(`experts: ${count} of ${experts.length} experts have a gate`);
  }
  if (count === 0 && experts.some(({ gateBias }) => gateBias !== undefined)) {
    throw new RangeError("experts: a bias of a gate that is not there");
  }
  return count > 0;
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
