import type { Plan } from "../compress/plan.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
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

/** Reads a plan for a compression. Errors: PLAN_INVALID, EXPERTS_RANGE. */
export async function prepareGiven(
  options: ResolvedCompressOptions,
  file: string,
  opened: OpenedModel,
): Promise<GivenPlan> {
  const plan = await readPlan(file, opened.model);
  if (options.experts !== undefined && options.experts !== plan.experts.after) {
    throw new ReamError("EXPERTS_RANGE", `the plan keeps ${plan.experts.after} experts, not ${options.experts}`, {
      where: "--experts",
      hint: "Leave --experts out, or make a plan for that number.",
    });
  }
  const notes: string[] = [];
  return { plan, backend: openBackend(options, opened, (note) => notes.push(note)), notes };
}
