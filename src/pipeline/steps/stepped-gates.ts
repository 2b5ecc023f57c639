import { applySteps } from "../../compress/steps/apply.js";
import type { Backend, ExpertTensors } from "../../engine/backend.js";
import type { MoeLayer } from "../../model/description.js";
import { type ExpertInputs, ExpertSteps } from "./expert-steps.js";
import type { StepWork } from "./layer-steps.js";
import { steppedWeights } from "./step-plan.js";

/**
 * The experts of a layer with gates and up projections as the steps of `--then` will leave them; undefined where they leave experts
 * alone. The steps look at the inputs of these matrices alone, so that they will come to the same whatever down projections become.
 *
 * @param tokens that experts see, where the steps look at inputs
 */
export function steppedGates(
  backend: Backend,
  layer: MoeLayer,
  { plan, kept, scaleDtype }: Pick<StepWork, "plan" | "kept" | "scaleDtype">,
  tokens: () => Promise<ExpertInputs>,
): ((experts: readonly ExpertTensors[]) => Promise<ExpertTensors[]>) | undefined {
  const weights = steppedWeights(layer, kept, plan).filter(
    ({ part, matrix }) => part === "experts" && matrix !== "down",
  );
  if (weights.length === 0) return undefined;
  return async (experts) => {
    const stepped = [...experts];
    const steps = new ExpertSteps({
      ...{ backend, moe: layer.feedForward, need: plan.need },
      inputs: plan.need === "nothing" ? undefined : await tokens(),
      expert: async (slot) => experts[slot]!,
      step: (tensor, sums, joined) => applySteps(backend, plan.steps, tensor, sums, { ...plan, scaleDtype, joined }),
    });
    try {
      for (const weight of weights) {
        const slot = weight.expert!;
        stepped[slot] = { ...stepped[slot]!, [weight.matrix!]: (await steps.make(weight)).values };
      }
    } finally {
      steps.dispose();
    }
    return stepped;
  };
}
