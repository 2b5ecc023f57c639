import { resolve } from "node:path";
import { isMerged, type Plan } from "../compress/plan.js";
import type { ModelDescription } from "../model/description.js";
import type { OpenedModel } from "./open-model.js";

/** The model card (README.md) of a compressed checkpoint, in the form that the Hugging Face Hub reads. */
export function modelCard(
  source: Pick<OpenedModel, "hubId" | "folder">,
  model: ModelDescription,
  plan: Plan,
  calibration:
    | { readonly domains: readonly { name: string; sequences: number }[]; readonly length: number }
    | undefined,
): string {
  const { before, after } = plan.experts;
  const pruned = !plan.layers.some(({ groups }) => groups.some(isMerged));
  const mix = calibration?.domains.map(({ name, sequences }) => `${name}: ${sequences} sequences`).join(", ");
  const title = (source.hubId ?? resolve(source.folder)).split(/[\\/]/).at(-1);
  return [
    "---",
    ...(source.hubId ? ["base_model:", `- ${source.hubId}`] : []),
    "library_name: transformers",
    "pipeline_tag: text-generation",
    "tags:",
    ...["moe", pruned ? "pruned" : "merged", plan.method, "safetensors", model.family].map((tag) => `- ${tag}`),
    "---",
    "",
    `# ${title}, ${before} to ${after} experts`,
    "",
    `The routed experts of every Mixture-of-Experts layer were ${pruned ? "pruned" : "merged"} from ${before} to ${after} ` +
      `by the method \`${plan.method}\` of [ream-moe](https://www.npmjs.com/package/ream-moe). Each token still uses ${model.topK} experts. ` +
      "The model loads like the original.",
    "",
    ...(mix === undefined ? [] : [`Calibration: ${mix}, ${calibration!.length} tokens each.`, ""]),
    "`ream.json` holds the settings, the calibration digest, the hashes of the source and which experts were merged.",
    "",
  ].join("\n");
}
