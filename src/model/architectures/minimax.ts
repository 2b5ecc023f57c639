import type { ConfigReader } from "../config.js";
import type { ModelDescription, Sublayer } from "../description.js";
import type { LinearAttentionDescription } from "../mixers/descriptions.js";
import { readRope } from "../rope.js";
import {
  describeDecoder,
  type Frame,
  groupedQueryAttention,
  layerTypes,
  linear,
  mixtralMoe,
  preNorm,
  readFrame,
  readHeads,
  rmsNorm,
  type TensorNames,
} from "./parts.js";

/**
 * MiniMax-Text-01: most layers have lightning attention, the others softmax attention; the residual is the normed input,
 * and both parts of every sum have factors.
 */
export function describeMinimax(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors, { defaultEpsilon: 1e-5 });
  const { headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 1e6);
  const window = config.has("sliding_window") ? config.count("sliding_window") : undefined;
  const types = layerTypes(frame, ["full_attention", "linear_attention"], (layer) =>
    layer % 2 === 0 ? "full_attention" : "linear_attention",
  );
  const sublayer = (name: string, kind: string): Sublayer => ({
    ...preNorm(name, frame),
    factors: {
      of: "normed",
      residual: config.number(`${kind}_alpha_factor`, 1),
      output: config.number(`${kind}_beta_factor`, 1),
    },
  });
  return describeDecoder("minimax", frame, (index, prefix) => {
    const isLinear = types[index] === "linear_attention";
    return {
      aroundMixer: sublayer(`${prefix}input_layernorm.weight`, isLinear ? "linear_attn" : "full_attn"),
      mixer: isLinear
        ? lightningAttention(`${prefix}self_attn.`, index, frame)
        : { ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope), window },
      aroundFeedForward: sublayer(`${prefix}post_attention_layernorm.weight`, "mlp"),
      feedForward: mixtralMoe(prefix, frame, { scores: "softmax", normalise: true }),
    };
  });
}

/** The stored projection has [query, key, value] of each head. Decays follow from head and layer. */
function lightningAttention(prefix: string, layer: number, frame: Frame): LinearAttentionDescription {
  const { hidden, layers, activation } = frame;
  const { heads, headSize } = readHeads(frame);
  const size = heads * headSize;
  const depth = 1 - layer / (layers - 1 + 1e-5) + 1e-5;
  const part = (index: number) =>
    Array.from({ length: heads }, (_, head): [number, number] => {
      const begin = (3 * head + index) * headSize;
      return [begin, begin + headSize];
    });
  return {
    kind: "linear-attention",
    heads,
    headSize,
    activation,
    logDecay: Array.from({ length: heads }, (_, head) => -(2 ** ((-8 * (head + 1)) / heads)) * depth),
    queryKeyValue: { ...linear(`${prefix}qkv_proj`, [3 * size, hidden]), rows: [0, 1, 2].flatMap(part) },
    gate: linear(`${prefix}output_gate`, [size, hidden]),
    norm: rmsNorm(`${prefix}norm.weight`, size, 1e-6),
    output: linear(`${prefix}out_proj`, [hidden, size]),
  };
}
