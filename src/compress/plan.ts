import { z } from "zod";
import { ReamError } from "../errors.js";
import {
  attentionExperts,
  isMoe,
  type ModelDescription,
  type RoutedExperts,
  type RouterDescription,
} from "../model/description.js";
import { expertCounts } from "../model/router.js";
import { sha256 } from "../sha256.js";
import { choiceSchema } from "./choose/choice.js";
import { settingsSchema } from "./settings.js";

const index = z.int().min(0);

const groupSchema = z.object({
  /** Original indices; the centroid first. */
  members: z.array(index).min(1),
  /** Averaging weights of the members, in their order. 1, 0, 0 ... keeps the centroid as it is and drops the others. */
  weights: z.array(z.number().min(0).max(1)).min(1),
  /** For each member but the centroid: p[i] is the member's neuron that is placed at the centroid's neuron i. */
  permutations: z.record(z.string(), z.array(index)),
});

const lossSchema = z.object({
  /** Shares of the squared outputs of the original block that the reduced one loses. */
  heldOut: z.number(),
  domains: z.record(z.string(), z.number()),
});

/** Which merges of a layer are better than their centroids alone, by what is lost of held-out outputs (`guard.ts`). */
const guardSchema = z.object({
  /** Held-out tokens. */
  tokens: z.int().min(1),
  /** With every centroid alone, with every group merged, and as the plan says. */
  pruned: lossSchema,
  merged: lossSchema,
  after: lossSchema,
  /** `change`: of what is lost, by the merge, given the others. What is not kept is its centroid alone. */
  merges: z.array(z.object({ centroid: index, kept: z.boolean(), change: z.number() })),
});

const blockPlanSchema = z.object({
  /** Original indices in ascending order: the order of the experts and router rows of the compressed block. */
  keptExperts: z.array(index).min(1),
  groups: z.array(groupSchema).min(1),
  /** Experts that were kept whatever the criterion said, where they are protected. */
  superExperts: z.array(index).optional(),
  /** How the experts were chosen, where more was looked at than their saliency. */
  choice: choiceSchema.optional(),
});

/** The feed-forward block's plan, and that of the attention where it is a mixture of experts too. */
const layerPlanSchema = z.object({
  layer: index,
  ...blockPlanSchema.shape,
  /** Absent: the plan was made without looking. */
  guard: guardSchema.optional(),
  attention: blockPlanSchema.optional(),
});

const planSchema = z.object({
  format: z.literal("ream-plan"),
  version: z.literal(1),
  method: z.string(),
  /** When merged weights are rounded to their dtype. */
  rounding: settingsSchema.shape.rounding,
  /** Experts of each MoE layer before and after. */
  experts: z.object({ before: z.int().min(1), after: z.int().min(1) }),
  layers: z.array(layerPlanSchema),
});

export type Group = z.infer<typeof groupSchema>;
export type BlockPlan = z.infer<typeof blockPlanSchema>;
export type LayerGuard = z.infer<typeof guardSchema>;
export type LayerPlan = z.infer<typeof layerPlanSchema>;
/** What to do with every MoE layer: a plain value that can be printed, saved, compared and applied later. */
export type Plan = z.infer<typeof planSchema>;

/** The method of a plan that keeps every expert as it is. */
export const KEEP_ALL = "none";

/** True where a group changes its centroid's weights. */
export function isMerged(group: Group): boolean {
  return group.weights.slice(1).some((weight) => weight > 0);
}

/** The plans of all blocks with experts, those of a layer in the order of the computation. */
export function blockPlans({ layers }: Pick<Plan, "layers">): BlockPlan[] {
  return layers.flatMap((layer) => [...(layer.attention === undefined ? [] : [layer.attention]), layer]);
}

/** The group of a kept expert. */
export function groupOf(plan: BlockPlan, kept: number): Group {
  return plan.groups.find(({ members }) => members[0] === kept)!;
}

/** What a block's plan has to fit. */
export interface PlannedBlock {
  /** Neurons of an expert. */
  readonly width: number;
  readonly router: Pick<RouterDescription, "topK" | "groups">;
}

/** What a layer's plan has to fit: its feed-forward block, and its attention where that has experts. */
export interface PlannedLayer extends PlannedBlock {
  readonly attention?: PlannedBlock | undefined;
}

/** What the plans of a model have to fit: its MoE layers are alike. */
export function plannedLayer({ layers }: Pick<ModelDescription, "layers">): PlannedLayer {
  const layer = layers.find(isMoe)!;
  const attention = attentionExperts(layer);
  return { ...plannedBlock(layer.feedForward), attention: attention && plannedBlock(attention) };
}

function plannedBlock({ experts, router }: RoutedExperts): PlannedBlock {
  return { width: experts.width, router };
}

/** Checks a plan that was read from a file, for a model with the given MoE layers. */
export function parsePlan(
  value: unknown,
  model: PlannedLayer & { layers: readonly number[]; experts: number },
  where: string,
): Plan {
  const fail = (what: string): never => {
    throw new ReamError("PLAN_INVALID", what, { where, hint: "Make plans with `ream compress --dry-run --json`." });
  };
  const parsed = planSchema.safeParse(value);
  if (!parsed.success) return fail(z.prettifyError(parsed.error));
  const plan = parsed.data;
  const { before, after } = plan.experts;
  if (before !== model.experts) fail(`the plan is for ${before} experts a layer, the model has ${model.experts}`);
  const { least } = expertCounts(model.router);
  if (after < least) fail(`${after} experts are fewer than the ${least} that a token chooses from`);
  const planned = plan.layers.map(({ layer }) => layer);
  if (planned.join() !== model.layers.join()) {
    fail(`the plan has layers ${planned.join(", ")}, the model's MoE layers are ${model.layers.join(", ")}`);
  }
  for (const layer of plan.layers) checkLayer(layer, plan.experts, model, fail);
  return plan;
}

/** Checks a layer's plan that an earlier run recorded. `fail` throws. */
export function parseLayerPlan(
  value: unknown,
  experts: Plan["experts"],
  layer: PlannedLayer,
  fail: (what: string) => never,
): LayerPlan {
  const parsed = layerPlanSchema.safeParse(value);
  if (!parsed.success) return fail(z.prettifyError(parsed.error));
  checkLayer(parsed.data, experts, layer, fail);
  return parsed.data;
}

function checkLayer(
  { layer, attention, ...feedForward }: LayerPlan,
  experts: Plan["experts"],
  model: PlannedLayer,
  fail: (what: string) => never,
): void {
  const name = `layer ${layer}`;
  checkBlock(name, feedForward, experts, model, fail);
  if ((attention === undefined) !== (model.attention === undefined)) {
    const says = attention === undefined ? "says nothing of" : "has a plan of";
    fail(`${name} ${says} experts of the attention, which the model has${attention === undefined ? "" : " not"}`);
  }
  if (attention !== undefined) checkBlock(`the attention of ${name}`, attention, experts, model.attention!, fail);
}

function checkBlock(
  name: string,
  plan: BlockPlan,
  experts: Plan["experts"],
  { width, router }: PlannedBlock,
  fail: (what: string) => never,
): void {
  const { keptExperts, groups } = plan;
  if (keptExperts.length !== experts.after)
    fail(`${name} keeps ${keptExperts.length} experts instead of ${experts.after}`);
  if (keptExperts.some((e, i) => e >= experts.before || (i > 0 && e <= keptExperts[i - 1]!))) {
    fail(`${name}: the kept experts are not ascending indices below ${experts.before}`);
  }
  const centroids = groups.map(({ members }) => members[0]!).sort((a, b) => a - b);
  if (centroids.join() !== keptExperts.join()) fail(`${name}: the centroids of the groups are not the kept experts`);
  const members = groups.flatMap((group) => group.members);
  if (new Set(members).size !== members.length || members.some((e) => e >= experts.before)) {
    fail(`${name}: an expert is in two groups, or outside the layer`);
  }
  checkRouterGroups(name, plan, experts, router.groups?.count ?? 1, fail);
  for (const group of groups) {
    if (group.weights.length !== group.members.length) fail(`${name}: a group has not one weight for each member`);
    if (Math.abs(group.weights.reduce((a, b) => a + b) - 1) > 1e-3)
      fail(`${name}: the weights of a group do not add up to 1`);
    for (const [member, permutation] of Object.entries(group.permutations)) {
      if (!isPermutation(permutation, width)) fail(`${name}: expert ${member} has no permutation of ${width} neurons`);
    }
  }
}

/** Checks that the router's groups, equal blocks of experts, stay equally large and that no group of the plan joins two. */
function checkRouterGroups(
  name: string,
  { keptExperts, groups }: BlockPlan,
  { before, after }: Plan["experts"],
  count: number,
  fail: (what: string) => void,
): void {
  const routerGroup = (expert: number) => Math.floor((expert * count) / before);
  for (let g = 0; g < count; g++) {
    const kept = keptExperts.filter((expert) => routerGroup(expert) === g).length;
    if (kept !== after / count) fail(`${name} keeps ${kept} experts of the router's group ${g}`);
  }
  for (const { members } of groups) {
    if (members.some((expert) => routerGroup(expert) !== routerGroup(members[0]!))) {
      fail(`${name}: a group has members in several of the router's groups`);
    }
  }
}

function isPermutation(values: readonly number[], size: number): boolean {
  return values.length === size && new Set(values).size === size && values.every((value) => value < size);
}

/** SHA-256 of a layer's plan, permutations included. */
export function planDigest(layers: readonly LayerPlan[]): string {
  return sha256(JSON.stringify(layers));
}
