import { ReamError } from "../../errors.js";
import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { describeDecoder, readFrame, type TensorNames } from "./parts.js";
import { qwen3Layers } from "./qwen3-moe.js";

/**
 * Qwen3-Omni-MoE: the text model of the thinker, which is Qwen3-MoE. The talker has experts of its own, which stay as they
 * are.
 */
export function describeQwen3OmniMoe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const thinker = config.object("thinker_config");
  const inner = thinker?.object("text_config");
  if (inner === undefined) {
    throw new ReamError("CONFIG_VALUE", "thinker_config has no text_config", { where: "config.json thinker_config" });
  }
  const frame = readFrame(inner, tensors);
  return describeDecoder("qwen3_omni_moe", frame, qwen3Layers(frame, { normalise: true }), {
    prefix: "thinker.model.",
    head: "thinker.lm_head",
    tied: inner.boolean("tie_word_embeddings", false),
    configPart: ["thinker_config"],
  });
}
