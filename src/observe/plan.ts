import { z } from "zod";
import { checkRoom } from "../compress/group.js";
import type { Plan } from "../compress/plan.js";
import { METHOD_NAMES, type Settings, settingsSchema } from "../compress/settings.js";
import { checkExperts } from "../pipeline/check-experts.js";
import type { CompressEvent } from "../pipeline/events.js";
import { parseOptions } from "../pipeline/parse-options.js";
import { Observation, type ObservedMix } from "./observation.js";
import { observedNotes, observedSettings } from "./observed-settings.js";
import { planObserved } from "./plan-observed.js";

/** Options of a plan from an observation. */
export const planOptions = z.strictObject({
  ...settingsSchema.partial().shape,
  observed: z.string().min(1).describe("folder of an observation"),
  mix: z.string().optional().describe("domains and their shares; default: all domains in equal shares"),
  experts: z.int().min(1).describe("experts that each layer keeps"),
  method: z.enum(METHOD_NAMES).default("ream").describe("what to do with the experts"),
});

export type PlanOptions = z.input<typeof planOptions>;

export interface PlanResult {
  /** Groups and weights, without the permutations of neurons, which need the model's weights. */
  readonly plan: Plan;
  readonly settings: Settings;
  readonly mix: ObservedMix;
}

/** Plans a compression from an observation alone, in the time that reading its sums takes. */
export async function* plan(input: PlanOptions, signal?: AbortSignal): AsyncGenerator<CompressEvent, PlanResult> {
  const options = parseOptions(planOptions, input);
  const observation = await Observation.open(options.observed);
  const { manifest } = observation;
  const settings = observedSettings(options.method, options);
  const kept = checkExperts(options.experts, manifest.limits);
  checkRoom(manifest.limits.experts, kept, settings);
  const mix = observation.mix(options.mix);
  for (const message of [...observedNotes(options.method, options.statistics), ...mix.notes])
    yield { type: "note", message };
  const layers = yield* planObserved({ observation, mix, settings, kept, signal });
  const experts = { before: manifest.limits.experts, after: kept };
  const { method } = options;
  return {
    plan: { format: "ream-plan", version: 1, method, rounding: settings.rounding, experts, layers },
    settings,
    mix,
  };
}
