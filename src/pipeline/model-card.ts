import { isMerged, type Plan } from "../compress/plan.js";
import type { ModelDescription } from "../model/description.js";

/** The model card (README.md) of a compressed checkpoint, in the form that the Hugging Face Hub reads. */
export function modelCard(
  source: string,
  model: ModelDescription,
  plan: Plan,
  calibration:
    | { readonly domains: readonly { name: string; sequences: number }[]; readonly length: number }
    | undefined,
): string {
  const { before, after } = plan.experts;
  const pruned = !plan.layers.some(({ groups }) => groups.some(isMerged));
  const mix = calibration?.domains.map(({ name, sequences }) => `${name}: ${sequences} sequences`).join(", ");
  const hubId = /^[\w.-]+\/[\w.-]+$/.test(source) ? source : undefined;
  return [
    "---",
    ...(hubId ? ["base_model:", `- ${hubId}`] : []),
    "library_name: transformers",
    "pipeline_tag: text-generation",
    "tags:",
    ...["moe", pruned ? "pruned" : "merged", plan.method, "safetensors", model.family].map((tag) => `- ${tag}`),
    "---",
    "",
    `# ${source.split(/[\\/]/).at(-1)}, ${before} to ${after} experts`,
    "",
    `The routed experts of every Mixture-of-Experts layer were ${pruned ? "pruned" : "merged"} from ${before} to ${after} ` +
      `by the method \`${plan.method}\` of [ream-moe](https://www.npmjs.com/package/ream-moe). Each token still uses ${model.topK} experts. ` +
      "Everything else is unchanged; the model loads like the original.",
    "",
    ...(mix === undefined ? [] : [`Calibration: ${mix}, ${calibration!.length} tokens each.`, ""]),
    "`ream.json` holds the settings, the calibration digest, the hashes of the source and which experts were merged.",
    "",
  ].join("\n");
}
