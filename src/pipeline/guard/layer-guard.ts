import { type GuardErrors, type GuardOutcome, guardMerges, type MergeChange } from "../../compress/guard.js";
import { type Group, isMerged, type LayerGuard, type LayerPlan } from "../../compress/plan.js";
import { relative } from "../../compress/reconstruct/refit.js";
import { Residuals } from "../../compress/reconstruct/residuals.js";
import type { Backend, ExpertTensors } from "../../engine/backend.js";
import type { MoeDescription } from "../../model/description.js";
import type { HiddenStates } from "../../model/hidden-states.js";
import type { MoeInput } from "../../model/layer.js";
import type { RouterWeights } from "../../model/router.js";
import type { LayerTargets } from "../reconstruct/layer-targets.js";
import { expertInputs } from "../steps/routed-rows.js";

export interface GuardedLayer {
  readonly backend: Backend;
  readonly moe: MoeDescription;
  /** What the original block makes of tokens; those that are held out are looked at. */
  readonly targets: LayerTargets;
  /** Hidden states after the mixer, of each batch. */
  readonly hidden: HiddenStates;
  /** Of the kept experts. */
  readonly router: RouterWeights;
  /** The expert of a group. */
  readonly expert: (group: Group) => Promise<ExpertTensors>;
  readonly moeInput: (hidden: Float32Array) => MoeInput;
  readonly pause: (share: number) => Promise<void>;
}

/** A layer's plan with the merges that are better on held-out text than their centroids alone; the others are pruned. */
export async function guardPlan(plan: LayerPlan, layer: GuardedLayer): Promise<LayerPlan> {
  const { targets, router, hidden, moeInput, backend, moe, pause } = layer;
  const { fitted, rows, heldOut } = targets.split;
  const merging = plan.groups.filter(isMerged);
  if (merging.length === 0) return plan;
  const routed = targets.routed(router, plan.keptExperts.length, hidden, moeInput).heldOut;
  const domains = heldOut.map(({ domain, begin, end }) => ({ domain, begin: begin - fitted, end: end - fitted }));
  // A copy: a refit that comes afterwards uses the targets up.
  const outputs = targets.outputs.slice(fitted * targets.size);
  const residuals = new Residuals(outputs, targets.size, 0, domains);

  /** What a group's centroid makes of the slot's held-out tokens, or what its merge changes in that. */
  const changesOf = async (group: Group, of: "centroid" | "merge"): Promise<MergeChange[]> => {
    const centroid = await layer.expert(pruned(group));
    const ready = backend.experts(of === "merge" ? [centroid, await layer.expert(group)] : [centroid], moe.activation);
    const made = (x: Float32Array, expert: number) =>
      backend.expertDown(backend.expertActivation(x, ready, expert), ready, expert);
    try {
      const changes: MergeChange[] = [];
      for (const tokens of routed.of(plan.keptExperts.indexOf(group.members[0]!))) {
        const rows = targets.rowsOf(tokens);
        const x = expertInputs(tokens, moeInput, moe);
        const own = made(x, 0);
        const change = of === "merge" ? made(x, 1).map((value, i) => value - own[i]!) : own;
        changes.push({ rows: rows.map((row) => row - fitted), outputs: targets.scale(change, tokens, rows) });
      }
      return changes;
    } finally {
      ready.dispose();
    }
  };
  for (const [done, group] of plan.groups.entries()) {
    for (const { rows, outputs } of await changesOf(group, "centroid")) residuals.subtract(rows, outputs);
    await pause((0.2 * done) / plan.groups.length);
  }
  const outcome = await guardMerges({
    ...{ residuals, merges: merging.length },
    changes: (merge) => changesOf(merging[merge]!, "merge"),
    pause: (share) => pause(0.2 + 0.8 * share),
  });
  const undone = new Set(merging.filter((_, merge) => !outcome.merges[merge]!.kept));
  return {
    ...plan,
    groups: plan.groups.map((group) => (undone.has(group) ? pruned(group) : group)),
    guard: describe(outcome, merging, rows - fitted),
  };
}

/** A group that is its centroid alone. */
function pruned({ members }: Group): Group {
  return { members, weights: members.map((_, i) => (i === 0 ? 1 : 0)), permutations: {} };
}

function describe(
  { merges, pruned, merged, after }: GuardOutcome,
  groups: readonly Group[],
  tokens: number,
): LayerGuard {
  const losses = ({ heldOut, domains }: GuardErrors) => ({
    heldOut: relative(heldOut),
    domains: Object.fromEntries(Object.entries(domains).map(([name, share]) => [name, relative(share)])),
  });
  return {
    ...{ tokens, pruned: losses(pruned), merged: losses(merged), after: losses(after) },
    merges: merges.map((merge, i) => ({ centroid: groups[i]!.members[0]!, ...merge })),
  };
}
