import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { ModelDescription } from "../model/description.js";

/**
 * What a person should know of layers for multi-token prediction (MTP): they lie behind the described ones or under `mtp.`,
 * transformers ignores them, and they are copied with all their experts.
 */
export function predictionNotes(checkpoint: Checkpoint, { layers, experts }: ModelDescription): string[] {
  const stack = layers[0]!.prefix.slice(0, -"0.".length);
  const isPrediction = (name: string) => {
    if (name.startsWith("mtp.") || name.startsWith("model.mtp.")) return true;
    const index = name.startsWith(stack) ? /^\d+/.exec(name.slice(stack.length))?.[0] : undefined;
    return index !== undefined && Number(index) >= layers.length;
  };
  const names = [...checkpoint.tensors.keys()].filter((name) => isPrediction(name) && /\bexperts\b/.test(name));
  if (names.length === 0) return [];
  return [
    `${names.length} tensors of layers for multi-token prediction are copied as they are, with ${experts} experts: ` +
      "engines that use these layers will not find the number of experts that config.json tells.",
  ];
}
