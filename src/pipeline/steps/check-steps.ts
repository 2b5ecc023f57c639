import type { ResolvedCompressOptions } from "../options.js";
import { refuseSplit, requireTextRun } from "../text-run.js";
import type { StepPlan } from "./step-plan.js";

/** Refuses what steps cannot be done with: `SETTINGS_CONFLICT`. @param split workers make parts of the output */
export function checkSteps(options: ResolvedCompressOptions, { need, steps }: StepPlan, split: boolean): void {
  const text = steps.map((step) => step.text).join(", ");
  refuseSplit(split, `do the steps of --then (${text})`);
  if (need !== "nothing") requireTextRun(options, `${text} is done`);
}
