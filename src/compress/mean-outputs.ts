import { decode } from "../checkpoint/dtypes.js";
import type { Backend } from "../engine/backend.js";
import type { MoeTensors } from "../model/moe.js";

/** Means, or sums, over tokens. */
export interface MeanActivations {
  /** `[experts, width]` activations times factors, and the factors `[experts]`. */
  readonly activations: Float64Array;
  readonly factors: Float64Array;
}

/**
 * Outputs `[experts, hidden]` of each of some means: the down projection is linear, so that it turns mean activations into mean
 * outputs. A bias of its counts with the mean factor. Each expert is read once.
 */
export async function meanOutputsOf(
  backend: Backend,
  means: readonly MeanActivations[],
  { experts }: Pick<MoeTensors, "experts">,
): Promise<Float64Array[]> {
  const width = means[0]!.activations.length / experts.count;
  const inputs = new Float32Array(means.length * width);
  let outputs: Float64Array[] = [];
  // Kept from expert to expert: arrays of this size pile up until garbage is collected.
  let values: Float32Array | undefined;
  for (let e = 0; e < experts.count; e++) {
    const { down, downBias } = await experts.read(e);
    for (const [m, { activations }] of means.entries())
      inputs.set(activations.subarray(e * width, (e + 1) * width), m * width);
    values = decode(down, values);
    const made = backend.product(inputs, values, width);
    const hidden = made.length / means.length;
    if (e === 0) outputs = means.map(() => new Float64Array(experts.count * hidden));
    const bias = downBias && decode(downBias);
    for (const [m, { factors }] of means.entries())
      for (let i = 0; i < hidden; i++)
        outputs[m]![e * hidden + i] = made[m * hidden + i]! + (bias?.[i] ?? 0) * factors[e]!;
  }
  return outputs;
}
