import type { ConfigReader } from "../config.js";
import type { ModelDescription, Norm } from "../description.js";
import { readRope } from "../rope.js";
import { describeDecoder, groupedQueryAttention, mixtralMoe, readFrame, readHeads, type TensorNames } from "./parts.js";

/** Phi-3.5-MoE: layer norms with biases, biases in attention and output, SparseMixer routing to two experts. */
export function describePhimoe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors, { defaultEpsilon: 1e-5 });
  const rope = readRope(config, readHeads(frame).headSize, 1e6);
  const bias = config.boolean("attention_bias", false);
  const window = config.has("sliding_window") ? config.count("sliding_window") : undefined;
  const norm = (name: string): Norm => ({
    ...{ kind: "layer", size: frame.hidden, epsilon: frame.epsilon },
    weight: `${name}.weight`,
    bias: `${name}.bias`,
  });
  const model = describeDecoder("phimoe", frame, (_, prefix) => ({
    aroundMixer: { inputNorm: norm(`${prefix}input_layernorm`) },
    mixer: { ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias }), window },
    aroundFeedForward: { inputNorm: norm(`${prefix}post_attention_layernorm`) },
    feedForward: mixtralMoe(prefix, frame, {
      scores: "softmax",
      normalise: false,
      sparseMixer: { jitter: config.number("router_jitter_noise", 0.01) },
    }),
  }));
  const head = config.boolean("lm_head_bias", false) ? { bias: "lm_head.bias" } : {};
  return { ...model, finalNorm: norm("model.norm"), outputHead: { ...model.outputHead, ...head } };
}
