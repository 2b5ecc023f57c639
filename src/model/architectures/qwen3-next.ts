import type { ConfigReader } from "../config.js";
import type { ModelDescription, Projection } from "../description.js";
import type { DeltaRuleDescription } from "../mixers/descriptions.js";
import { describeDecoder, type Frame, linear, readFrame, type TensorNames } from "./parts.js";
import { separatePrediction } from "./predictions.js";
import { deltaRuleSizes, hybridLayers, plusOneNorm } from "./qwen-hybrid.js";
import { qwenFeedForward, sparseLayers } from "./qwen-layers.js";

/** Qwen3-Next: three of four layers have the gated delta rule, the others gated attention; shared expert. */
export function describeQwen3Next(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors);
  const isMoe = sparseLayers(config);
  const layer = hybridLayers(frame, packedDeltaRule, (index, prefix) =>
    qwenFeedForward(prefix, frame, index >= frame.layers || isMoe(index), { normalise: true, shared: true }),
  );
  return describeDecoder("qwen3_next", frame, layer, {
    ...separatePrediction(frame, layer, plusOneNorm),
    finalNorm: plusOneNorm("model.norm.weight", frame.hidden, frame.epsilon),
  });
}

/** The stored projections have, for each key head, [query, key, values, gates] and [betas, decays]. */
function packedDeltaRule(prefix: string, frame: Frame): DeltaRuleDescription {
  const sizes = deltaRuleSizes(prefix, frame);
  const { keyHeads, valueHeads, keySize, valueSize } = sizes;
  const values = (valueHeads / keyHeads) * valueSize;
  const packed = linear(`${prefix}in_proj_qkvz`, [keyHeads * (2 * keySize + 2 * values), frame.hidden]);
  const small = linear(`${prefix}in_proj_ba`, [2 * valueHeads, frame.hidden]);
  const part = ({ shape, ...projection }: Projection, begin: number, end: number): Projection => {
    const stride = shape[0] / keyHeads;
    const rows = Array.from({ length: keyHeads }, (_, head): [number, number] => [
      head * stride + begin,
      head * stride + end,
    ]);
    return { ...projection, shape, rows };
  };
  const query = part(packed, 0, keySize);
  const key = part(packed, keySize, 2 * keySize);
  const value = part(packed, 2 * keySize, 2 * keySize + values);
  const each = valueHeads / keyHeads;
  return {
    ...sizes,
    queryKeyValue: { ...packed, rows: [query, key, value].flatMap(({ rows }) => rows!) },
    gate: part(packed, 2 * keySize + values, 2 * keySize + 2 * values),
    beta: part(small, 0, each),
    decay: part(small, each, 2 * each),
  };
}
