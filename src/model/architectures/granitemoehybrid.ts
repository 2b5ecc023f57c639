import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import type { MambaDescription } from "../mixers/descriptions.js";
import { graniteLayers, graniteOptions } from "./granitemoe.js";
import {
  describeDecoder,
  expectOption,
  type Frame,
  layerTypes,
  linear,
  readFrame,
  refuseOption,
  type TensorNames,
} from "./parts.js";

/** Granite 4 hybrids: Mamba-2 in most layers, attention in the others; a shared expert. Else as Granite 3 MoE. */
export function describeGraniteMoeHybrid(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "position_embedding_type", ["rope", "nope"]);
  expectOption(config, "hidden_act", ["silu"]);
  const frame = readFrame(config, tensors);
  // In old and new spellings.
  const known = ["mamba", "linear_attention", "attention", "full_attention"] as const;
  const types = layerTypes(frame, known, () => "mamba");
  const isMamba = (layer: number) => types[layer] === "mamba" || types[layer] === "linear_attention";
  const layer = graniteLayers(frame, { rotated: config.values.position_embedding_type === "rope" });
  return describeDecoder(
    "granitemoehybrid",
    frame,
    (index, prefix) => {
      const described = layer(index, prefix);
      return isMamba(index) ? { ...described, mixer: mamba(`${prefix}mamba.`, frame) } : described;
    },
    graniteOptions(config),
  );
}

function mamba(prefix: string, { config, hidden, epsilon }: Frame): MambaDescription {
  const heads = config.count("mamba_n_heads", 128);
  const size = config.count("mamba_expand", 2) * hidden;
  const groups = config.count("mamba_n_groups", 1);
  const stateSize = config.count("mamba_d_state", 256);
  const bias = config.boolean("mamba_proj_bias", false);
  const headSize = config.values.mamba_d_head === "auto" ? size / heads : config.count("mamba_d_head", size / heads);
  return {
    kind: "mamba",
    ...{ heads, headSize, groups, stateSize, epsilon },
    kernel: config.count("mamba_d_conv", 4),
    input: linear(`${prefix}in_proj`, [2 * size + 2 * groups * stateSize + heads, hidden], bias),
    convolution: `${prefix}conv1d.weight`,
    ...(config.boolean("mamba_conv_bias", true) ? { convolutionBias: `${prefix}conv1d.bias` } : {}),
    logRate: `${prefix}A_log`,
    timeBias: `${prefix}dt_bias`,
    skip: `${prefix}D`,
    timeLimit: readTimeLimit(config),
    norm: `${prefix}norm.weight`,
    output: linear(`${prefix}out_proj`, [hidden, size], bias),
  };
}

/** `time_step_limit` [shortest, longest]. An infinite one is written as such, or as { "__float__": "Infinity" }. */
function readTimeLimit(config: ConfigReader): readonly [number, number] {
  const given = config.values.time_step_limit;
  if (given === undefined || given === null) return [0, Infinity];
  const [shortest, longest] = Array.isArray(given) ? given : [undefined, undefined];
  const endless = longest === Infinity || JSON.stringify(longest) === '{"__float__":"Infinity"}';
  if (typeof shortest === "number" && (endless || typeof longest === "number"))
    return [shortest, endless ? Infinity : (longest as number)];
  return refuseOption("time_step_limit", given, [[0, "Infinity"]]);
}
