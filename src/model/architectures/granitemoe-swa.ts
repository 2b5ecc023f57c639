import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import { graniteLayers, graniteOptions } from "./granitemoe.js";
import {
  describeDecoder,
  groupedQueryAttention,
  layerTypes,
  readFrame,
  readHeads,
  refuseOption,
  type TensorNames,
} from "./parts.js";

/** Granite MoE with windows in three of four layers, sinks, and a base of the rotary angles for each layer (0: no positions). */
export function describeGraniteMoeSwa(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors);
  const rope = readRope(config, readHeads(frame).headSize, 10_000);
  const bias = config.boolean("attention_bias", false);
  const bases = config.has("layer_rope_theta") ? config.numbers("layer_rope_theta") : [];
  if (bases.length > 0 && bases.length < frame.layers) refuseOption("layer_rope_theta", bases, ["one for each layer"]);
  const types = layerTypes(frame, ["full_attention", "sliding_attention"], (layer) =>
    layer % 4 === 0 ? "full_attention" : "sliding_attention",
  );
  const layer = graniteLayers(frame);
  return describeDecoder(
    "granitemoe_swa",
    frame,
    (index, prefix) => {
      const theta = bases[index] ?? rope.theta;
      return {
        ...layer(index, prefix),
        mixer: {
          ...groupedQueryAttention(`${prefix}self_attn.`, frame, theta === 0 ? undefined : { ...rope, theta }, {
            bias,
          }),
          scale: config.number("attention_multiplier", 1),
          window: types[index] === "sliding_attention" ? config.count("sliding_window", 128) : undefined,
          sinks: `${prefix}self_attn.sinks`,
        },
      };
    },
    graniteOptions(config),
  );
}
