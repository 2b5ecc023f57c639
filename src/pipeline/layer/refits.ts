import type { DType } from "../../checkpoint/tensor.js";
import type { LayerPlan } from "../../compress/plan.js";
import type { ExpertTensors } from "../../engine/backend.js";
import type { MoeLayer } from "../../model/description.js";
import { convertExpert } from "../../model/expert-storage.js";
import { routerWeights, type StoredExperts } from "../../model/moe.js";
import type { CompressEvent } from "../events.js";
import { guardPlan } from "../guard/layer-guard.js";
import { LayerRefitter } from "../reconstruct/layer-refit.js";
import { LayerTargets } from "../reconstruct/layer-targets.js";
import { splitForGuard, splitForRefit } from "../reconstruct/split-layer.js";
import { LayerRouterFit } from "../router/layer-router.js";
import { steppedGates } from "../steps/stepped-gates.js";
import type { LayerWork } from "./layer-work.js";
import type { ReducedLayer } from "./reduced-layer.js";
import { tokensOfExperts } from "./tokens-of-experts.js";

/** What is to be done to a layer by the outputs of its original block. */
export interface LayerRefits {
  /** What refit and guard compare with, where one of them is still to do. */
  readonly targets: LayerTargets | undefined;
  readonly guards: boolean;
  readonly reconstructs: boolean;
  readonly routerFit: LayerRouterFit | undefined;
}

/** What was asked for and is not done. @param planned whether the layer has its plan: merges were judged then */
export async function layerRefits({ options }: LayerWork, layer: MoeLayer, planned: boolean): Promise<LayerRefits> {
  const { backend, batches, random = [], refit, guard, router, settings } = options;
  const { index, feedForward: moe } = layer;
  const reconstructs = refit !== undefined && !(await refit.files.has(index));
  const guards = guard !== undefined && !planned;
  const fits = router !== undefined && !(await router.files.has(index));
  if ((reconstructs || guards || fits) && !settings.sequential)
    throw new TypeError("refits and guards need a sequential run");
  const split = () =>
    refit !== undefined ? splitForRefit(refit.plan, moe, batches, random) : splitForGuard(guard!, batches);
  return {
    ...{ guards, reconstructs },
    targets: reconstructs || guards ? new LayerTargets(backend, moe, split()) : undefined,
    routerFit: fits ? new LayerRouterFit(backend, router, index, moe, batches) : undefined,
  };
}

/** The plan with the merges that are better than their centroids alone. */
export async function* guarded(
  work: LayerWork,
  reduced: ReducedLayer,
  targets: LayerTargets,
): AsyncGenerator<CompressEvent, LayerPlan> {
  const { hidden, moeInput } = work;
  const { backend } = work.options;
  const { plan, moe } = reduced;
  const router = routerWeights(backend, reduced.pickedRouter());
  const expert = reduced.group.bind(reduced);
  try {
    return yield* work.told("plan", (pause) =>
      guardPlan(plan, { backend, moe, targets, router, expert, moeInput, pause, hidden }),
    );
  } finally {
    router.weight.dispose();
  }
}

/** Fits the router of the reduced layer, and keeps what comes of it. */
export async function* fitRouter(
  work: LayerWork,
  reduced: ReducedLayer,
  fit: LayerRouterFit,
): AsyncGenerator<CompressEvent, void> {
  const { hidden, moeInput } = work;
  const { plan, tensors: original } = reduced;
  yield work.progress("router");
  const given = { original, reduced: reduced.pickedRouter(), experts: reduced.mergedExperts, moeInput };
  const fitted = yield* work.told("router", (pause) => fit.run(plan, hidden, given, pause));
  yield { type: "router", ...fitted };
}

/** Experts in memory, in a dtype or their own: a refit goes through them many times. */
async function allOf({ count, read }: StoredExperts, dtype: DType | undefined): Promise<ExpertTensors[]> {
  const experts: ExpertTensors[] = [];
  for (let e = 0; e < count; e++) experts.push(convertExpert(await read(e), dtype));
  return experts;
}

/** Refits the kept experts to the outputs of the original block, and keeps what comes of it. */
export async function* reconstruct(
  work: LayerWork,
  layer: MoeLayer,
  reduced: ReducedLayer,
  targets: LayerTargets,
): AsyncGenerator<CompressEvent, void> {
  const { hidden, moeInput } = work;
  const { backend, mergedDtype, requantises, refit, steps } = work.options;
  const { plan, moe } = reduced;
  yield work.progress("reconstruct");
  const form = await reduced.storedForm();
  // What a form decodes to may be float32, which is twice what the weights are worth.
  const coded = form && (backend.precision === "bf16" ? "BF16" : "F32");
  // Experts of a quantised source that are floats go back to their own dtype.
  const dtype = requantises === true ? coded : mergedDtype;
  const tokens = () => tokensOfExperts(work, layer, reduced);
  const stepped = steps && steppedGates(backend, layer, steps, tokens);
  const experts = await allOf(reduced.mergedExperts, coded);
  const router = routerWeights(backend, await reduced.router());
  const refitter = new LayerRefitter(backend, refit!, plan.layer, moe);
  try {
    const done = yield* work.told("reconstruct", (pause) =>
      refitter.run(plan, targets, hidden, { router, experts, dtype, form, stepped, moeInput }, pause),
    );
    yield { type: "reconstruct", ...done };
  } finally {
    router.weight.dispose();
  }
}
