import { ReamError } from "../../errors.js";
import type { ResolvedCompressOptions } from "../options.js";
import type { StepPlan } from "./step-plan.js";

/** Refuses what steps cannot be done with: `SETTINGS_CONFLICT`. @param split workers make parts of the output */
export function checkSteps(options: ResolvedCompressOptions, { need, steps }: StepPlan, split: boolean): void {
  const conflict = (where: string, what: string, hint: string): never => {
    throw new ReamError("SETTINGS_CONFLICT", what, { where, hint });
  };
  const text = steps.map((step) => step.text).join(", ");
  if (split) conflict("--queue", `workers do not do the steps of --then (${text}) yet`, "Leave out --queue.");
  if (need === "nothing") return;
  if (options.observed !== undefined) {
    conflict(
      "--observed",
      `${text} looks at calibration text, which an observation does not hold`,
      "Make the plan from the observation (--dry-run --json), then give it with --plan, --then and calibration text.",
    );
  }
  if (options.sequential === false)
    conflict("--no-sequential", `${text} looks at what the layers before have become`, "Leave out --no-sequential.");
}
