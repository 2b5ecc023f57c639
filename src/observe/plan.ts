import { prettifyError, z } from "zod";
import { parseMix } from "../calibration/mix.js";
import { checkRoom } from "../compress/group.js";
import type { Plan } from "../compress/plan.js";
import { METHOD_NAMES, METHODS, resolveSettings, type Settings, settingsSchema } from "../compress/settings.js";
import { ReamError } from "../errors.js";
import { checkExperts } from "../pipeline/check-experts.js";
import type { CompressEvent } from "../pipeline/events.js";
import { Observation, type ObservedMix } from "./observation.js";
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
  readonly sequences: number;
}

/** Plans a compression from an observation alone, in the time that reading its sums takes. */
export async function* plan(input: PlanOptions, signal?: AbortSignal): AsyncGenerator<CompressEvent, PlanResult> {
  const parsed = planOptions.safeParse(input);
  if (!parsed.success) throw new ReamError("OPTION_INVALID", prettifyError(parsed.error));
  const options = parsed.data;
  const observation = await Observation.open(options.observed);
  const { manifest } = observation;
  const settings = observedSettings(options);
  const kept = checkExperts(options.experts, manifest.limits);
  checkRoom(manifest.limits.experts, kept, settings);
  if (METHODS[options.method].settings.statistics !== "sums" && options.statistics === undefined)
    yield { type: "note", message: SUMS_NOTE(options.method) };
  const mix = observation.mix(parseMix(options.mix ?? Object.keys(manifest.domains).join(",")));
  const layers = yield* planObserved({ observation, mix, settings, kept, signal });
  const experts = { before: manifest.limits.experts, after: kept };
  const { method } = options;
  return {
    plan: { format: "ream-plan", version: 1, method, rounding: settings.rounding, experts, layers },
    settings,
    mix,
    sequences: mix.sequences,
  };
}

/** Said where a method's own statistics are not those that were observed. */
export const SUMS_NOTE = (method: string) =>
  `${method} is computed from exact sums here (--statistics sums), not from means of batches as by default.`;

/** A method's settings for an observation of the original model: nothing is sequential then. */
export function observedSettings(options: Pick<z.output<typeof planOptions>, "method" | keyof Settings>): Settings {
  const given = Object.entries(options).filter(([key, value]) => key in settingsSchema.shape && value !== undefined);
  const changes = Object.fromEntries(given) as Partial<Settings>;
  if (changes.sequential === true) {
    throw new ReamError("SETTINGS_CONFLICT", "an observation is of the original model, so that no plan is sequential", {
      where: "--sequential",
      hint: "Leave --observed out: a sequential run observes each layer behind the merged ones.",
    });
  }
  return resolveSettings(options.method, { statistics: "sums", ...changes, sequential: false });
}
