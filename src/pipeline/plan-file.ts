import { readFile } from "node:fs/promises";
import { type Plan, parsePlan, plannedLayer } from "../compress/plan.js";
import { ReamError } from "../errors.js";
import { isMoe, type ModelDescription } from "../model/description.js";

/** Reads a plan, alone or as `--dry-run --json` prints it, and checks that it fits the model. Errors: PLAN_INVALID. */
export async function readPlan(file: string, model: ModelDescription): Promise<Plan> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, "utf8"));
  } catch (cause) {
    throw new ReamError("PLAN_INVALID", "the plan is not a readable JSON file", { where: file, cause });
  }
  // What --dry-run --json prints holds the plan among other things.
  const plan = typeof value === "object" && value !== null && "plan" in value ? value.plan : value;
  const layers = model.layers.filter(isMoe).map(({ index }) => index);
  return parsePlan(plan, { ...plannedLayer(model), layers, experts: model.experts }, file);
}
