import type { ConfigReader } from "../config.js";

/** The text model of a multimodal checkpoint. */
export interface TextModel {
  /** Its own part of config.json, or all of it where the checkpoint has the text model alone. */
  readonly config: ConfigReader;
  /** What the names of its decoder start with, and whether the output matrix is the embedding. */
  readonly names: { readonly prefix: string; readonly tied: boolean };
}

/** The text model under `text_config` and `model.language_model.`, or the whole checkpoint where there is no such key. */
export function textModel(config: ConfigReader, tiedByDefault = false): TextModel {
  const text = config.object("text_config");
  const inner = text ?? config;
  const tied = config.boolean("tie_word_embeddings", inner.boolean("tie_word_embeddings", tiedByDefault));
  return { config: inner, names: { prefix: text === undefined ? "model." : "model.language_model.", tied } };
}
