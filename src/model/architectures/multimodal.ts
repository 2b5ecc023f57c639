import { ReamError } from "../../errors.js";
import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import type { TensorNames } from "./parts.js";

/** The text model of a multimodal checkpoint. */
export interface TextModel {
  /** Its own part of config.json, or all of it where the checkpoint has the text model alone. */
  readonly config: ConfigReader;
  /** What the names of its decoder start with, and whether the output matrix is the embedding. */
  readonly names: { readonly prefix: string; readonly tied: boolean };
}

/**
 * The text model under `text_config` and `model.language_model.`, or the whole checkpoint where there is no such key.
 * `tied`: what an absent `tie_word_embeddings` means.
 */
export function textModel(config: ConfigReader, { tied: usual = false } = {}): TextModel {
  const text = config.object("text_config");
  const inner = text ?? config;
  const tied = config.boolean("tie_word_embeddings", inner.boolean("tie_word_embeddings", usual));
  return { config: inner, names: { prefix: text === undefined ? "model." : "model.language_model.", tied } };
}

export type Describe = (config: ConfigReader, tensors: TensorNames) => ModelDescription;

/**
 * A multimodal checkpoint whose text model is of one of the `families`, under `text_config`. Its names start with
 * `language_model.model.` and `language_model.lm_head` (Kimi K2.5), or with `model.language_model.` and `lm_head`.
 */
export function describeWrapped(
  config: ConfigReader,
  tensors: TensorNames,
  families: Readonly<Record<string, Describe>>,
): ModelDescription {
  const text = config.object("text_config");
  const family = text?.string("model_type");
  const describe = family !== undefined && Object.hasOwn(families, family) ? families[family] : undefined;
  if (text === undefined || describe === undefined) {
    throw new ReamError("FAMILY_UNSUPPORTED", `text models of type ${JSON.stringify(family)} are not supported`, {
      where: "config.json text_config",
      hint: `Supported: ${Object.keys(families).join(", ")}.`,
    });
  }
  const outside = tensors.has("language_model.model.embed_tokens.weight");
  const tied = config.boolean("tie_word_embeddings", text.boolean("tie_word_embeddings", false));
  const root = outside
    ? { prefix: "language_model.model.", head: "language_model.lm_head", tied }
    : { prefix: "model.language_model.", head: "lm_head", tied };
  const has = (name: string) => tensors.has(name);
  const shapes = tensors.tensors === undefined ? {} : { tensors: tensors.tensors };
  return { ...describe(text, { ...shapes, has, root }), family: config.string("model_type") };
}
