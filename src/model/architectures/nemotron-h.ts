import { ConfigReader } from "../config.js";
import type { DenseDescription, ModelDescription, MoeDescription, Sublayer } from "../description.js";
import { separateExperts } from "../expert-storage.js";
import type { MambaDescription, MixerDescription } from "../mixers/descriptions.js";
import { correctedRouter } from "./deepseek-parts.js";
import {
  type DecoderLayer,
  describeDecoder,
  expectOption,
  type Frame,
  groupedQueryAttention,
  linear,
  readFrame,
  refuseOption,
  rmsNorm,
  type TensorNames,
} from "./parts.js";

/** What a layer is, as `layers_block_type` or a letter of `hybrid_override_pattern` tells, in old and new spellings. */
const KINDS = {
  M: "mamba",
  mamba: "mamba",
  linear_attention: "mamba",
  "*": "attention",
  attention: "attention",
  full_attention: "attention",
  E: "moe",
  moe: "moe",
  "-": "mlp",
  mlp: "mlp",
} as const;
type Kind = (typeof KINDS)[keyof typeof KINDS];

/**
 * Nemotron-H (Nemotron 3): a layer is one block, which is Mamba-2, attention without positions, routed experts or a dense
 * block. Experts have no gates, and may work in a smaller latent space.
 */
export function describeNemotronH(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "mlp_hidden_act", ["relu2"]);
  expectOption(config, "mamba_hidden_act", ["silu"]);
  const kinds = readKinds(config);
  const sized = new ConfigReader({ ...config.values, num_hidden_layers: kinds.length });
  const frame = readFrame(sized, tensors, { epsilon: "layer_norm_epsilon", defaultEpsilon: 1e-5 });
  const prefix = tensors.has("backbone.embeddings.weight") ? "backbone." : "model.";
  const embedding = `${prefix}embeddings.weight`;
  const tied = config.boolean("tie_word_embeddings", false);
  const layer = (index: number, layerPrefix: string): DecoderLayer => {
    const around: Sublayer = { inputNorm: rmsNorm(`${layerPrefix}norm.weight`, frame.hidden, frame.epsilon) };
    const kind = kinds[index]!;
    const isMixer = kind === "mamba" || kind === "attention";
    return {
      aroundMixer: isMixer ? around : {},
      mixer: isMixer ? mixer(kind, `${layerPrefix}mixer.`, frame) : { kind: "none" },
      aroundFeedForward: isMixer ? {} : around,
      feedForward: isMixer ? { kind: "none" } : feedForward(kind, `${layerPrefix}mixer.`, frame),
    };
  };
  return describeDecoder("nemotron_h", frame, layer, {
    prefix,
    embedding,
    finalNorm: rmsNorm(`${prefix}norm_f.weight`, frame.hidden, frame.epsilon),
    outputHead: { weight: tied ? embedding : "lm_head.weight", shape: [config.count("vocab_size"), frame.hidden] },
  });
}

function readKinds(config: ConfigReader): Kind[] {
  const listed = config.strings("layers_block_type");
  const given = listed.length > 0 ? listed : [...config.string("hybrid_override_pattern")];
  return given.map((name) => {
    if (!Object.hasOwn(KINDS, name)) refuseOption("layers_block_type", name, Object.keys(KINDS));
    return KINDS[name as keyof typeof KINDS];
  });
}

function mixer(kind: "mamba" | "attention", prefix: string, frame: Frame): MixerDescription {
  return kind === "mamba" ? mamba(prefix, frame) : groupedQueryAttention(prefix, frame, undefined);
}

function mamba(prefix: string, { config, hidden, epsilon }: Frame): MambaDescription {
  const heads = config.count("mamba_num_heads");
  const headSize = config.count("mamba_head_dim");
  const groups = config.count("n_groups", 8);
  const stateSize = config.count("ssm_state_size", 128);
  const bias = config.boolean("use_bias", false);
  const size = heads * headSize;
  return {
    kind: "mamba",
    ...{ heads, headSize, groups, stateSize, epsilon },
    kernel: config.count("conv_kernel", 4),
    input: linear(`${prefix}in_proj`, [2 * size + 2 * groups * stateSize + heads, hidden], bias),
    convolution: `${prefix}conv1d.weight`,
    ...(config.boolean("use_conv_bias", true) ? { convolutionBias: `${prefix}conv1d.bias` } : {}),
    logRate: `${prefix}A_log`,
    timeBias: `${prefix}dt_bias`,
    skip: `${prefix}D`,
    // transformers takes the shortest step of the initialisation as a limit, when it computes more than one token.
    timeLimit: [config.number("time_step_min", 0.001), Infinity],
    norm: `${prefix}norm.weight`,
    output: linear(`${prefix}out_proj`, [hidden, size], bias),
  };
}

function feedForward(kind: "moe" | "mlp", prefix: string, frame: Frame): DenseDescription | MoeDescription {
  const { config, hidden, experts: count } = frame;
  const biases = config.boolean("mlp_bias", false);
  /** relu(up x)²: the gate is up itself. */
  const activation = "relu";
  const plainBlock = (name: string, width: number) => ({
    activation: activation as typeof activation,
    up: linear(`${name}up_proj`, [width, hidden], biases),
    down: linear(`${name}down_proj`, [hidden, width], biases),
  });
  if (kind === "mlp") return { kind: "dense", ...plainBlock(prefix, config.count("intermediate_size")) };
  const latent = config.has("moe_latent_size") ? config.count("moe_latent_size") : undefined;
  return {
    kind: "moe",
    activation,
    router: correctedRouter(prefix, frame, { gate: "gate" }),
    experts: separateExperts({
      ...{ count, width: config.count("moe_intermediate_size"), hidden: latent ?? hidden, gated: false },
      name: (expert, part) => `${prefix}experts.${expert}.${part}_proj.weight`,
    }),
    ...(latent === undefined
      ? {}
      : {
          expertInput: linear(`${prefix}fc1_latent_proj`, [latent, hidden], biases),
          expertOutput: linear(`${prefix}fc2_latent_proj`, [hidden, latent], biases),
        }),
    shared: plainBlock(`${prefix}shared_experts.`, config.count("moe_shared_expert_intermediate_size")),
  };
}
