import type { StepOptions } from "../../compress/steps/apply.js";
import { formatOf, type Need, needOf, parseSteps, sparsityOf, type WeightStep } from "../../compress/steps/step.js";
import { ReamError } from "../../errors.js";
import type { LayerDescription, ModelDescription } from "../../model/description.js";
import { isMoe } from "../../model/description.js";
import { LINEAR_PARTS, type LinearPart, type LinearWeight, linearWeights } from "../../model/linear-weights.js";
import type { ResolvedCompressOptions } from "../options.js";

/** What happens to single weight matrices after the experts have been reduced, and to which. */
export interface StepPlan extends StepOptions {
  readonly steps: readonly WeightStep[];
  readonly parts: ReadonlySet<LinearPart>;
  /** What has to be known of the matrices' inputs. */
  readonly need: Need;
  /** Servers shall round the inputs of products too, where the format has a scheme for it. */
  readonly dynamicActivations: boolean;
}

/** The steps of `--then`; undefined where there are none. Errors: OPTION_INVALID, SETTINGS_CONFLICT. */
export function planSteps(
  options: Pick<
    ResolvedCompressOptions,
    "then" | "parts" | "activations" | "damping" | "activationOrder" | "leastTokens"
  >,
): StepPlan | undefined {
  const steps = parseSteps(options.then);
  const { damping, activationOrder, leastTokens } = options;
  if (steps.length === 0) {
    if (options.parts.length === 0) return undefined;
    throw new ReamError("SETTINGS_CONFLICT", "--parts says where, and nothing says what to do there", {
      where: "--parts",
      hint: "Give --then STEP too.",
    });
  }
  return {
    steps,
    parts: partsOf(options.parts, steps),
    need: needOf(steps),
    dynamicActivations: roundsInputs(steps, options),
    damping,
    activationOrder,
    leastTokens,
  };
}

function roundsInputs(steps: readonly WeightStep[], { activations }: Pick<ResolvedCompressOptions, "activations">) {
  return activations === "dynamic" && formatOf(steps)?.dynamicActivations !== undefined;
}

/** Quantisation takes all matrices inside layers, pruning the routed experts alone, if nothing else is asked for. */
function partsOf(given: readonly string[], steps: readonly WeightStep[]): ReadonlySet<LinearPart> {
  const names = given.flatMap((text) => text.split(",")).map((text) => text.trim());
  const unknown = names.find((name) => !LINEAR_PARTS.some((part) => part === name));
  if (unknown !== undefined) {
    throw new ReamError("OPTION_INVALID", `${unknown} is no part of a layer`, {
      where: "--parts",
      hint: `Parts are ${LINEAR_PARTS.join(", ")}.`,
    });
  }
  if (names.length > 0) return new Set(names as LinearPart[]);
  return new Set(formatOf(steps) === undefined ? ["experts"] : LINEAR_PARTS);
}

/**
 * The matrices of a layer that the steps change, by the names that they have when `kept` experts are left. What a weight
 * format cannot hold stays as it is.
 */
export function steppedWeights(layer: LayerDescription, kept: number, { steps, parts }: StepPlan): LinearWeight[] {
  const weights = linearWeights(layer);
  const refused = refusalsOf(weights, steps);
  return weights.filter((weight) => parts.has(weight.part) && (weight.expert ?? 0) < kept && !refused(weight));
}

/**
 * Why the steps cannot be done to matrices of a layer. Routed experts are quantised with all their matrices or not at all:
 * servers join them, and refuse those that are stored in different ways.
 */
function refusalsOf(weights: readonly LinearWeight[], steps: readonly WeightStep[]) {
  const together = formatOf(steps) !== undefined;
  const ofExperts = weights
    .filter(({ part }) => part === "experts")
    .map(({ shape }) => refusal(steps, shape))
    .find((reason) => reason !== undefined);
  return ({ part, shape }: LinearWeight) => (together && part === "experts" ? ofExperts : refusal(steps, shape));
}

/** Why the steps cannot be done to a matrix of this shape. */
function refusal(steps: readonly WeightStep[], shape: LinearWeight["shape"]): string | undefined {
  const sparsity = sparsityOf(steps);
  if (sparsity?.kind === "n:m" && shape[1] % sparsity.of !== 0)
    return `${shape[1]} columns are not whole runs of ${sparsity.of}`;
  return formatOf(steps)?.refusal(shape);
}

/** The plan with those of its parts that a model has, in the order of `LINEAR_PARTS`. Errors: SETTINGS_CONFLICT. */
export function stepsFor(model: ModelDescription, plan: StepPlan): StepPlan {
  const found = new Set(model.layers.flatMap(linearWeights).map(({ part }) => part));
  const parts = LINEAR_PARTS.filter((part) => plan.parts.has(part) && found.has(part));
  if (parts.length > 0) return { ...plan, parts: new Set(parts) };
  throw new ReamError("SETTINGS_CONFLICT", `the model has no ${[...plan.parts].join(", ")}`, {
    where: "--parts",
    hint: `It has ${LINEAR_PARTS.filter((part) => found.has(part)).join(", ")}.`,
  });
}

/** What a person should know of matrices that a weight format cannot hold. Errors: STEP_SHAPE where it holds none. */
export function stepNotes(model: ModelDescription, plan: StepPlan): string[] {
  const { steps, parts } = plan;
  const wanted = model.layers.flatMap((layer) => {
    const weights = linearWeights(layer);
    const refused = refusalsOf(weights, steps);
    return weights.filter(({ part }) => parts.has(part)).map((weight) => ({ ...weight, reason: refused(weight) }));
  });
  const reasons = new Map<string, number>();
  for (const { part, shape, reason } of wanted) {
    if (reason === undefined) continue;
    const what = `${part} [${shape.join(", ")}]: ${reason}`;
    reasons.set(what, (reasons.get(what) ?? 0) + 1);
  }
  const refused = [...reasons.values()].reduce((a, b) => a + b, 0);
  if (refused === wanted.length) {
    throw new ReamError("STEP_SHAPE", `no matrix has a shape for it: ${[...reasons.keys()].join("; ")}`, {
      where: "--then",
      hint: "Take a format with a scale for each row (int8, int4-channel, fp8), smaller groups, or a share of weights.",
    });
  }
  const format = formatOf(steps);
  if (format !== undefined && parts.has("experts")) refuseExperts(model);
  const caution = format?.caution;
  return [
    ...[...reasons].map(([what, count]) => `${count} matrices stay as they are, ${what}.`),
    ...(caution === undefined || !parts.has("experts")
      ? []
      : [`transformers 5.23 ${caution}; compressed-tensors itself reads them (docs/quantisation.md).`]),
    ...(plan.dynamicActivations
      ? [
          "Servers will round the inputs of products to 8 bits as well (--activations none: weights alone); ream does not.",
        ]
      : []),
  ];
}

/** Refuses to quantise experts that no engine would read. */
function refuseExperts({ family, layers }: ModelDescription): void {
  const { biased, together } = layers.find(isMoe)!.feedForward.experts;
  if (biased !== true && together !== true) return;
  const what = biased === true ? "have biases, which no engine reads" : "are read in one tensor, not one by one";
  throw new ReamError("FAMILY_UNQUANTISABLE", `experts of ${family} ${what} in a weight format`, {
    where: "--then",
    hint: "Quantise other parts (--parts attention), or prune weights.",
  });
}
