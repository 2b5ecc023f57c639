import { resolve } from "node:path";
import { blockPlans, isMerged, type Plan } from "../compress/plan.js";
import type { ModelDescription } from "../model/description.js";
import { lossSentences, lossTable, type Refits } from "./layer-losses.js";
import type { OpenedModel } from "./open-model.js";
import { type LayerRequantised, requantisedSentence } from "./requantise.js";
import type { StepPlan } from "./steps/step-plan.js";

/** What was done besides reducing the experts. */
interface CardFacts {
  readonly steps?: StepPlan | undefined;
  readonly refits?: Refits | undefined;
  readonly requantised?: readonly LayerRequantised[];
}

/** The model card (README.md) of a compressed checkpoint, in the form that the Hugging Face Hub reads. */
export function modelCard(
  source: Pick<OpenedModel, "hubId" | "folder">,
  model: ModelDescription,
  plan: Plan,
  calibration:
    | { readonly domains: readonly { name: string; sequences: number }[]; readonly length: number }
    | undefined,
  { steps, refits, requantised = [] }: CardFacts = {},
): string {
  const { before, after } = plan.experts;
  const then = steps?.steps.map(({ text }) => text) ?? [];
  const pruned = !blockPlans(plan).some(({ groups }) => groups.some(isMerged));
  const attention = plan.layers.some((layer) => layer.attention !== undefined);
  const reduced = after !== before || steps === undefined;
  const tags = [...(reduced ? [pruned ? "pruned" : "merged", plan.method] : []), ...then];
  const mix = calibration?.domains.map(({ name, sequences }) => `${name}: ${sequences} sequences`).join(", ");
  const rounded = requantisedSentence(requantised);
  const title = (source.hubId ?? resolve(source.folder)).split(/[\\/]/).at(-1);
  return [
    "---",
    ...(source.hubId ? ["base_model:", `- ${source.hubId}`] : []),
    "library_name: transformers",
    "pipeline_tag: text-generation",
    "tags:",
    ...["moe", ...tags, "safetensors", model.family].map((tag) => `- ${tag}`),
    "---",
    "",
    `# ${[title, ...(reduced ? [`${before} to ${after} experts`] : []), ...then].join(", ")}`,
    "",
    ...(reduced
      ? [
          `The routed experts of every Mixture-of-Experts layer${attention ? ", those of its attention too," : ""} were ${pruned ? "pruned" : "merged"} from ${before} to ${after} ` +
            `by the method \`${plan.method}\` of [ream-moe](https://www.npmjs.com/package/ream-moe). Each token still uses ${model.topK} experts. ` +
            "The model loads like the original.",
          "",
        ]
      : []),
    ...describeLosses(plan, refits),
    ...(rounded === undefined ? [] : [`${rounded}.`, ""]),
    ...(steps === undefined ? [] : [describeSteps(steps), ""]),
    ...(mix === undefined ? [] : [`Calibration: ${mix}, ${calibration!.length} tokens each.`, ""]),
    "`ream.json` holds the settings, the calibration digest, the hashes of the source and which experts were merged.",
    "",
  ].join("\n");
}

/** What the guard and the refit did, and what layers lose of their outputs on text that was held out of the calibration. */
function describeLosses(plan: Plan, refits: Refits | undefined): string[] {
  const table = lossTable(plan, refits);
  if (table === undefined) return [];
  const told = lossSentences(plan, refits).map((sentence) => `${sentence}.`);
  return [
    ...told,
    "",
    "Share of each layer's squared outputs that is lost, on held-out calibration text:",
    "",
    ...table,
    "",
  ];
}

function describeSteps({ steps, parts }: StepPlan): string {
  const done = steps.map((step) =>
    step.kind === "prune"
      ? `pruned (\`${step.text}\`: weights that are zero, stored in full)`
      : `quantised (\`${step.text}\`, in the form of compressed-tensors)`,
  );
  return `The matrices of ${[...parts].join(", ")} were ${done.join(", then ")} by [ream-moe](https://www.npmjs.com/package/ream-moe).`;
}
