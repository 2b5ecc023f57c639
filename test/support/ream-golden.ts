import { join } from "node:path";
import { loadTokens } from "../../src/calibration/tokens-file.js";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { decode } from "../../src/checkpoint/dtypes.js";
import { mergeGroup } from "../../src/compress/merge.js";
import { groupOf, type LayerPlan } from "../../src/compress/plan.js";
import { type Method, resolveSettings, type Settings } from "../../src/compress/settings.js";
import type { LayerTrace } from "../../src/compress/trace.js";
import type { Backend } from "../../src/engine/backend.js";
import { describeModel } from "../../src/model/describe.js";
import { isMoe } from "../../src/model/description.js";
import { EXPERT_PARTS } from "../../src/model/expert-storage.js";
import { makeBatches } from "../../src/pipeline/batches.js";
import { planLayers } from "../../src/pipeline/layer-loop.js";
import { recordedSamples } from "../../src/pipeline/recorded-samples.js";
import { largestDifference, largestRelativeDifference, readJson, readTensors } from "./goldens.js";

/**
 * Computed in bfloat16 by its source, which rounds after every operation. Two nearly equal saliencies then rank the other
 * way round, so that the order of groups means nothing.
 */
export const BFLOAT16_VARIANT = "official/bfloat16-small";

/** How each variant of the reference data is asked for here: method and changed settings. */
export const VARIANTS: Readonly<Record<string, { method: Method } & Partial<Settings>>> = {
  "official/identity-small": { method: "ream-official" },
  "official/identity-large": { method: "ream-official" },
  "official/random-small": { method: "ream-official" },
  "official/random-subset-small": { method: "ream-official" },
  "official/nonsequential-small": { method: "ream-official", sequential: false },
  "official/freq-small": { method: "ream-official", saliency: "frequency" },
  "official/no-gate-output-small": { method: "ream-official", gateSimilarity: "none" },
  "official/no-gated-sim-small": { method: "ream-official", gatedOutputs: false, gate: "scores" },
  "official/avg-small": { method: "ream-official", merging: "mean" },
  "official/weights-small": { method: "ream-official", alignActivations: false },
  "official/logits-small": { method: "ream-official", alignWeights: "none" },
  "official/none-small": { method: "ream-official", merging: "none" },
  "official/mcsmoe-large": { method: "m-smoe" },
  "official/hcsmoe-large": { method: "hc-smoe" },
  "official/padded-small": { method: "ream-official" },
  "official/bfloat16-small": { method: "ream-official" },
  "paper/literal-small": { method: "ream-paper" },
  "paper/literal-large": { method: "ream-paper" },
  "paper/group-includes-centroid-large": { method: "ream-paper", groupIncludesCentroid: true },
  "paper/renormalised-gates-small": { method: "ream-paper", gate: "combined" },
  "paper/unit-weights-small": { method: "ream-paper", alignWeights: "unit" },
  "paper/nonsequential-small": { method: "ream-paper", sequential: false },
};

interface GoldenTrace {
  readonly settings: { merge_size: number; group_size: number };
  readonly layers: readonly {
    saliency: number[];
    centroids: number[];
    kept_experts: number[];
    groups: LayerPlan["groups"];
    cluster_labels?: number[];
    tokens_routed?: number[];
  }[];
}

/** How far a variant's result is from the reference. */
export interface VariantDeviation {
  /** Relative. */
  saliency: number;
  similarity: number;
  /** Absolute. */
  costs: number;
  weights: number;
  /** Absolute, of merged experts and cut routers in float32. */
  merged: number;
  /** What is not exactly equal: kept experts, groups, permutations ... */
  readonly mismatches: string[];
  /** Neurons of absorbed experts that were compared. */
  neurons: number;
}

/** Runs a variant and compares every number of it. `folder` is that of the model's reference data (`ream/<model>`). */
export async function variantDeviation(folder: string, variant: string, backend: Backend): Promise<VariantDeviation> {
  const golden = join(folder, variant);
  const trace = readJson<GoldenTrace>(join(golden, "trace.json"));
  const { method, ...changes } = VARIANTS[variant]!;
  const { merge_size: kept, group_size: groupSize } = trace.settings;
  const settings = resolveSettings(method, { ...(groupSize > 0 ? { groupSize } : {}), ...changes });
  const checkpoint = await Checkpoint.open(join(folder, "model"));
  const model = describeModel(checkpoint.config, checkpoint);
  const tokens = variant === "official/padded-small" ? golden : folder;
  const calibration = await loadTokens(join(tokens, "calibration.safetensors"), model.vocabularySize);
  const traces: LayerTrace[] = [];
  const loop = planLayers({
    checkpoint,
    model,
    backend,
    settings,
    batches: makeBatches(calibration, settings),
    kept,
    seed: 42,
    mergedDtype: backend.precision === "f32" ? "F32" : undefined,
    finished: [],
    onTrace: (layerTrace) => traces.push(layerTrace),
    onPlan: async () => {},
    recorded: variant.includes("random-") ? recordedSamples(join(golden, "trace.safetensors")) : undefined,
  });
  let step = await loop.next();
  while (!step.done) step = await loop.next();
  const plans = step.value;

  const deviation: VariantDeviation = {
    saliency: 0,
    similarity: 0,
    costs: 0,
    weights: 0,
    merged: 0,
    mismatches: [],
    neurons: 0,
  };
  compareTensors(deviation, traces, await readTensors(join(golden, "trace.safetensors")));
  for (const [index, layer] of trace.layers.entries()) {
    compareLayer(deviation, layer, traces[index]!, plans[index]!, variant !== BFLOAT16_VARIANT);
  }
  if (deviation.mismatches.length === 0) {
    deviation.merged = await mergedDeviation(golden, checkpoint, plans, backend, settings);
  }
  await checkpoint.close();
  return deviation;
}

function compareTensors(
  deviation: VariantDeviation,
  traces: readonly LayerTrace[],
  expected: Awaited<ReturnType<typeof readTensors>>,
) {
  const ours = new Map(traces.flatMap((layerTrace) => [...layerTrace.tensors]));
  for (const [name, { values }] of expected) {
    if (name.endsWith("sampled_tokens")) continue;
    const tensor = ours.get(name);
    if (tensor === undefined) {
      deviation.mismatches.push(`${name} is missing`);
      continue;
    }
    const found = decode(tensor);
    if (name.includes(".cost")) deviation.costs = Math.max(deviation.costs, largestDifference(found, values));
    else if (name.endsWith("saliency"))
      deviation.saliency = Math.max(deviation.saliency, largestRelativeDifference(found, values));
    else deviation.similarity = Math.max(deviation.similarity, largestRelativeDifference(found, values, 0.1));
  }
}

function compareLayer(
  deviation: VariantDeviation,
  golden: GoldenTrace["layers"][number],
  trace: LayerTrace,
  plan: LayerPlan,
  ordered: boolean,
) {
  const same = (what: string, a: unknown, b: unknown) => {
    if (JSON.stringify(a) !== JSON.stringify(b)) deviation.mismatches.push(`layer ${plan.layer}: ${what}`);
  };
  const sorted = (permutations: Record<string, number[]>) =>
    Object.entries(permutations).sort(([a], [b]) => Number(a) - Number(b));
  same("kept experts", plan.keptExperts, golden.kept_experts);
  if (ordered) {
    same("centroids", trace.json.centroids, golden.centroids);
    if (golden.cluster_labels) same("cluster labels", trace.json.cluster_labels, golden.cluster_labels);
  }
  if (golden.tokens_routed) same("tokens routed", trace.json.tokens_routed, golden.tokens_routed);
  for (const group of golden.groups) {
    const centroid = group.members[0]!;
    const ours = plan.groups.find(({ members }) => members[0] === centroid) ?? {
      members: [],
      weights: [],
      permutations: {},
    };
    same(`members of the group of ${centroid}`, ours.members, group.members);
    same(`permutations of the group of ${centroid}`, sorted(ours.permutations), sorted(group.permutations));
    deviation.weights = Math.max(deviation.weights, largestDifference(ours.weights, group.weights));
    deviation.neurons += Object.values(group.permutations).reduce((sum, permutation) => sum + permutation.length, 0);
  }
}

async function mergedDeviation(
  golden: string,
  checkpoint: Checkpoint,
  plans: readonly LayerPlan[],
  backend: Backend,
  settings: Settings,
): Promise<number> {
  const expected = await Checkpoint.open(golden);
  const model = describeModel(checkpoint.config, checkpoint);
  const dtype = backend.precision === "f32" ? "F32" : undefined;
  let worst = 0;
  for (const plan of plans) {
    const layer = model.layers[plan.layer]!;
    if (!isMoe(layer)) throw new Error("a dense layer has a plan");
    const { experts } = layer.feedForward;
    const target = describeModel(expected.config, expected).layers[plan.layer]!;
    if (!isMoe(target)) throw new Error("a MoE layer became dense");
    for (const [slot, kept] of plan.keptExperts.entries()) {
      const group = groupOf(plan, kept);
      const merged = await mergeGroup(backend, group, (e) => experts.read(checkpoint, e), {
        when: settings.rounding,
        dtype,
      });
      const wanted = await target.feedForward.experts.read(expected, slot);
      for (const part of EXPERT_PARTS)
        worst = Math.max(worst, largestDifference(decode(merged[part]!), decode(wanted[part]!)));
    }
  }
  await expected.close();
  return worst;
}
