import { decodeIntegers } from "../checkpoint/dtypes.js";
import { SafetensorsFile } from "../checkpoint/safetensors.js";

/** Token indices that were recorded for a layer: `[batches, experts, samples]`. */
export interface RecordedSamples {
  readonly indices: Int32Array;
  readonly samples: number;
}

/** Reads a layer's `layers.<l>.sampled_tokens` from a safetensors file when its turn comes. */
export function recordedSamples(path: string) {
  return async (layer: number): Promise<RecordedSamples> => {
    const file = await SafetensorsFile.open(path);
    try {
      const tensor = await file.read(`layers.${layer}.sampled_tokens`);
      return { indices: decodeIntegers(tensor), samples: tensor.shape.at(-1)! };
    } finally {
      await file.close();
    }
  };
}
