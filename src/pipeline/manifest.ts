import { type DescribedCalibration, describeCalibration } from "../calibration/calibration.js";
import { type BlockPlan, type LayerPlan, type Plan, planDigest } from "../compress/plan.js";
import { relative } from "../compress/reconstruct/refit.js";
import type { RefitErrors } from "../compress/reconstruct/residuals.js";
import type { Settings } from "../compress/settings.js";
import type { Share } from "../compress/steps/step-error.js";
import type { Backend } from "../engine/backend.js";
import type { ModelDescription } from "../model/description.js";
import { sha256 } from "../sha256.js";
import { VERSION } from "../version.js";
import type { Refits } from "./layer-losses.js";
import type { LayerRequantised } from "./requantise.js";
import type { BlockErrors, LayerRouter } from "./router/router-files.js";
import type { RouterPlan } from "./router/router-plan.js";
import type { FileIdentity } from "./source-identity.js";
import type { LayerChange } from "./steps/layer-steps.js";
import type { StepPlan } from "./steps/step-plan.js";

export interface ManifestInputs {
  /** How routers were fitted. */
  readonly routers?: { readonly plan: RouterPlan; readonly layers: readonly LayerRouter[] } | undefined;
  /** How kept experts were refitted. */
  readonly refits?: Refits | undefined;
  readonly source: string;
  readonly files: readonly FileIdentity[];
  readonly model: ModelDescription;
  readonly plan: Plan;
  /** Absent where a plan was given: nothing was observed. */
  readonly observed?: {
    readonly settings: Settings;
    readonly calibration: DescribedCalibration;
    readonly seed: number;
    readonly backend: Backend;
    /** Digest of the observation that the plan was made from, if there was one. */
    readonly observation?: string;
  };
  readonly outputDtype: string;
  /** What was done to single matrices. */
  readonly changes?: { readonly plan: StepPlan; readonly layers: readonly LayerChange[] } | undefined;
  /** What rounding the merged experts of a quantised source anew lost. */
  readonly requantised?: readonly LayerRequantised[];
  /** What happened to layers for multi-token prediction; undefined where there are none. */
  readonly predictionLayers: "compressed" | "dropped" | "kept" | undefined;
}

/**
 * `ream.json`: where a compressed checkpoint comes from and what was done to it. Nothing in it depends on when or how
 * long a run took, so that the same command gives the same bytes.
 */
export function manifest(inputs: ManifestInputs): Record<string, unknown> {
  const { plan, observed, model, changes, refits, routers } = inputs;
  return {
    format: "ream-manifest",
    version: 1,
    ream: VERSION,
    source: { model: inputs.source, family: model.family, files: inputs.files },
    method: plan.method,
    experts: plan.experts,
    topK: model.topK,
    outputDtype: inputs.outputDtype,
    ...(routers && { routerCalibration: describeRouters(routers) }),
    ...(refits && { reconstruct: describeRefits(refits) }),
    ...(changes && describeChanges(changes)),
    ...describeRequantised(inputs),
    ...(inputs.predictionLayers !== undefined && { predictionLayers: inputs.predictionLayers }),
    ...(observed && {
      settings: observed.settings,
      seed: observed.seed,
      calibration: describeCalibration(observed.calibration),
      ...(observed.observation !== undefined && { observation: observed.observation }),
      engine: { backend: observed.backend.name, precision: observed.backend.precision },
    }),
    plan: { digest: planDigest(plan.layers), layers: plan.layers.map(withoutPermutations) },
  };
}

/** The refits, and the relative squared errors of each layer's outputs before and after. */
function describeRefits({ plan, layers }: Refits) {
  const errors = ({ fitted, ...heldOut }: RefitErrors) => ({ fitted: relative(fitted), ...describeErrors(heldOut) });
  return {
    ...{ parts: plan.parts, experts: plan.experts, tokens: plan.tokens, random: plan.random, seed: plan.seed },
    ...(plan.parts === "all" ? { epochs: plan.epochs } : { ridge: plan.ridge ?? "auto" }),
    layers: layers.map(({ layer, kept, fit }) => ({
      ...{ layer, kept },
      ...(fit && {
        ...(kept && { rounds: fit.rounds.map((round) => ({ ...round, heldOut: relative(round.heldOut) })) }),
        ...{ tokens: fit.tokens, before: errors(fit.before), ...(kept && { after: errors(fit.after) }) },
      }),
    })),
  };
}

/** The fits of the routers, and the errors of each layer's outputs on held-out tokens before and after. */
function describeRouters({ plan, layers }: NonNullable<ManifestInputs["routers"]>) {
  return {
    ...plan,
    layers: layers.map(({ layer, kept, fit }) => ({
      ...{ layer, kept },
      ...(fit && {
        ...(kept && { steps: fit.steps, biases: fit.biases }),
        ...{
          tokens: fit.tokens,
          before: describeErrors(fit.before),
          ...(kept && { after: describeErrors(fit.after) }),
        },
      }),
    })),
  };
}

function describeErrors({ heldOut, domains }: BlockErrors) {
  return {
    heldOut: relative(heldOut),
    domains: Object.fromEntries(Object.entries(domains).map(([name, share]) => [name, relative(share)])),
  };
}

/** The steps, and the relative errors that they made in each layer. */
function describeChanges({ plan, layers }: NonNullable<ManifestInputs["changes"]>) {
  const { steps, parts, need, damping, activationOrder, leastTokens } = plan;
  const share = (error: Share | undefined) => error && error.lost / error.of;
  return {
    then: steps.map(({ text }) => text),
    steps: {
      parts: [...parts],
      ...(need === "gram" && { damping, activationOrder }),
      ...(need !== "nothing" && { leastTokens }),
      layers: layers.map(({ layer, matrices, fellBack, error }) => {
        const outputs = share(error.outputs);
        return {
          ...{ layer, matrices, weightError: share(error.weights) },
          ...(outputs !== undefined && { outputError: outputs }),
          ...(need !== "nothing" && { fellBack }),
        };
      }),
    },
  };
}

/** How a quantised source is stored, and the relative squared errors of each layer's merged experts after rounding. */
function describeRequantised({ model, outputDtype, requantised = [] }: ManifestInputs) {
  if (model.quantisation === undefined) return {};
  return {
    quantisation: outputDtype === "same" ? model.quantisation : "none",
    ...(requantised.length > 0 && {
      requantised: requantised.map(({ layer, experts, error }) => ({
        ...{ layer, experts, weightError: error.lost / error.of },
      })),
    }),
  };
}

/** Permutations are long; their digest is enough to compare two runs. */
function withoutPermutations({ layer, guard, attention, ...feedForward }: LayerPlan) {
  return {
    layer,
    ...describeBlock(feedForward),
    ...(guard && { guard }),
    ...(attention && { attention: describeBlock(attention) }),
  };
}

function describeBlock({ keptExperts, superExperts, choice, groups }: BlockPlan) {
  return {
    keptExperts,
    ...(superExperts && { superExperts }),
    ...(choice && { choice }),
    groups: groups.map(({ members, weights, permutations }) => ({
      members,
      weights,
      ...(Object.keys(permutations).length > 0 && {
        permutations: sha256(JSON.stringify(permutations)),
      }),
    })),
  };
}
