import { KEEP_ALL, type Plan } from "../compress/plan.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import { attentionExperts, isMoe, type ModelDescription } from "../model/description.js";
import { openBackend } from "./open-backend.js";
import type { OpenedModel } from "./open-model.js";
import type { ResolvedCompressOptions } from "./options.js";
import { readPlan } from "./plan-file.js";

/** What a compression by a plan that was given is made from. */
export interface GivenPlan {
  readonly plan: Plan;
  readonly backend: Backend;
  readonly notes: readonly string[];
}

/** A plan that keeps every expert as it is. */
export function keepAll({ experts, layers }: ModelDescription): Plan {
  const keptExperts = Array.from({ length: experts }, (_, expert) => expert);
  const groups = keptExperts.map((expert) => ({ members: [expert], weights: [1], permutations: {} }));
  return {
    ...{ format: "ream-plan", version: 1, method: KEEP_ALL, rounding: "once" },
    experts: { before: experts, after: experts },
    layers: layers.filter(isMoe).map((layer) => ({
      ...{ layer: layer.index, keptExperts, groups },
      ...(attentionExperts(layer) && { attention: { keptExperts, groups } }),
    })),
  };
}

/** Reads the plan of a compression, without a file the one that keeps all experts. Errors: PLAN_INVALID, EXPERTS_RANGE. */
export async function prepareGiven(
  options: ResolvedCompressOptions,
  file: string | undefined,
  opened: OpenedModel,
): Promise<GivenPlan> {
  const plan = file === undefined ? keepAll(opened.model) : await readPlan(file, opened.model);
  if (options.experts !== undefined && options.experts !== plan.experts.after) {
    throw new ReamError("EXPERTS_RANGE", `the plan keeps ${plan.experts.after} experts, not ${options.experts}`, {
      where: "--experts",
      hint: "Leave --experts out, or make a plan for that number.",
    });
  }
  const notes: string[] = [];
  return { plan, backend: openBackend(options, opened, (note) => notes.push(note)), notes };
}
