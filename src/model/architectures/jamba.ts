import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import type { SelectiveScanDescription } from "../mixers/descriptions.js";
import {
  describeDecoder,
  expectOption,
  type Frame,
  gatedBlock,
  groupedQueryAttention,
  linear,
  preNorm,
  readExperts,
  readFrame,
  rmsNorm,
  type TensorNames,
} from "./parts.js";

/** Jamba: Mamba in most layers, attention without positions in the others; experts in every other layer. */
export function describeJamba(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "hidden_act", ["silu"]);
  const frame = readFrame(config, tensors);
  const width = config.count("intermediate_size");
  const every = (period: string, offset: string, usual: readonly [number, number]) => {
    const [step, first] = [config.count(period, usual[0]), config.number(offset, usual[1])];
    return (layer: number) => layer % step === first;
  };
  const isMoe = every("expert_layer_period", "expert_layer_offset", [2, 1]);
  const isAttention = every("attn_layer_period", "attn_layer_offset", [8, 4]);
  return describeDecoder(
    "jamba",
    frame,
    (index, prefix) => ({
      aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
      mixer: isAttention(index)
        ? groupedQueryAttention(`${prefix}self_attn.`, frame, undefined)
        : mamba(`${prefix}mamba.`, frame),
      aroundFeedForward: preNorm(`${prefix}pre_ff_layernorm.weight`, frame),
      feedForward: isMoe(index)
        ? {
            kind: "moe",
            activation: frame.activation,
            router: {
              weight: `${prefix}feed_forward.router.weight`,
              scores: "softmax",
              topK: frame.topK,
              normalise: false,
            },
            experts: readExperts(`${prefix}feed_forward.experts.`, width, frame),
          }
        : { kind: "dense", ...gatedBlock(`${prefix}feed_forward.`, width, frame) },
    }),
    { finalNorm: rmsNorm("model.final_layernorm.weight", frame.hidden, frame.epsilon) },
  );
}

function mamba(prefix: string, { config, hidden, epsilon }: Frame): SelectiveScanDescription {
  const channels = config.count("mamba_expand", 2) * hidden;
  const stateSize = config.count("mamba_d_state", 16);
  const usual = Math.ceil(hidden / 16);
  const rank = config.values.mamba_dt_rank === "auto" ? usual : config.count("mamba_dt_rank", usual);
  const bias = config.boolean("mamba_proj_bias", false);
  return {
    kind: "selective-scan",
    ...{ channels, stateSize, rank },
    kernel: config.count("mamba_d_conv", 4),
    input: linear(`${prefix}in_proj`, [2 * channels, hidden], bias),
    convolution: `${prefix}conv1d.weight`,
    ...(config.boolean("mamba_conv_bias", true) ? { convolutionBias: `${prefix}conv1d.bias` } : {}),
    selection: linear(`${prefix}x_proj`, [rank + 2 * stateSize, channels]),
    timeNorm: rmsNorm(`${prefix}dt_layernorm.weight`, rank, epsilon),
    inputNorm: rmsNorm(`${prefix}b_layernorm.weight`, stateSize, epsilon),
    outputNorm: rmsNorm(`${prefix}c_layernorm.weight`, stateSize, epsilon),
    time: linear(`${prefix}dt_proj`, [channels, rank], true),
    logRate: `${prefix}A_log`,
    skip: `${prefix}D`,
    output: linear(`${prefix}out_proj`, [hidden, channels], bias),
  };
}
