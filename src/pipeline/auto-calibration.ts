import type { Calibration } from "../calibration/calibration.js";
import { calibrationPrefix } from "../calibration/prefix.js";
import type { OutputFolder } from "../checkpoint/output.js";
import type { LayerPlan } from "../compress/plan.js";
import { ReamError } from "../errors.js";
import { isMoe } from "../model/description.js";
import { makeBatches } from "./batches.js";
import type { CompressEvent } from "./events.js";
import { type LayerLoopOptions, planLayers } from "./layer-loop.js";
import type { ResolvedCompressOptions } from "./options.js";
import { planEntries, recordedPlans } from "./recorded-plans.js";

/** Tokens of the first round. */
const FIRST_TOKENS = 16_384;
/** MoE layers after which a round may be given up: by then most of what it says is known. */
const FEWEST_LAYERS = 4;

export interface AutoCalibration extends Omit<LayerLoopOptions, "batches" | "finished" | "onPlan" | "onHalf"> {
  /** All there is. */
  readonly calibration: Calibration;
  /** Share of the experts, on average over layers, that may be treated otherwise by half of the tokens. */
  readonly tolerance: number;
  readonly output: OutputFolder | undefined;
}

/** Plans, and the tokens that they were made from. */
export interface AutoPlans {
  readonly plans: LayerPlan[];
  readonly calibration: Calibration;
}

/** Refuses what keeps more than plans of a layer, which would be of a round that was given up. Errors: SETTINGS_CONFLICT. */
export function checkAuto(options: ResolvedCompressOptions): void {
  if (options.calibrationTokens === "all") return;
  const others = {
    "--then": options.then.length > 0,
    "--reconstruct": options.reconstruct !== "none",
    "--router-calibration": options.routerCalibration !== "none",
    "--observed": options.observed !== undefined,
    "--plan": options.plan !== undefined,
    "--trace": options.trace !== undefined,
    "--sampled-tokens": options.sampledTokens !== undefined,
  };
  const other = Object.entries(others).find(([, given]) => given)?.[0];
  if (other === undefined) return;
  throw new ReamError("SETTINGS_CONFLICT", `--calibration-tokens auto does not go with ${other}`, {
    where: "--calibration-tokens",
    hint: "Find the number of tokens with --dry-run first, then give it as --sequences.",
  });
}

/**
 * Plans all layers in rounds with twice the tokens each, until half of a round's tokens would have done the same. Every layer
 * is planned from half of the tokens too, before the others are observed, which costs nearly nothing. A round whose layers
 * differ by more than the tolerance is given up as soon as some layers say so. Rounds and their plans are in the journal, so
 * that an interrupted run decides as an undisturbed one.
 */
export async function* planUntilStable(options: AutoCalibration): AsyncGenerator<CompressEvent, AutoPlans> {
  const { calibration: all, tolerance, output, model, settings } = options;
  const layers = model.layers.filter(isMoe).length;
  let { sequences, changed, finished } = resumed(options) ?? (await begin(first(all), output));
  for (;;) {
    const calibration = calibrationPrefix(all, sequences);
    const batches = makeBatches(calibration, settings);
    const whole = sequences === all.sequences;
    const seen = [...changed];
    const onPlan = async (plan: LayerPlan) => {
      await output?.append({ plan, changed: seen.at(-1)! });
    };
    const unstable = () => mean(seen) > tolerance;
    const hopeless = () => !whole && seen.length >= Math.min(FEWEST_LAYERS, layers) && unstable();
    const run = planLayers({ ...options, batches, finished, onPlan, onHalf: (share) => seen.push(share) });
    let plans: LayerPlan[] | undefined;
    while (plans === undefined && !hopeless()) {
      const step = await run.next();
      if (step.done) plans = step.value;
      else yield step.value;
    }
    await run.return([]);
    const said = `${percent(mean(seen))} of the experts would be treated otherwise by half of them`;
    const tokens = `${(sequences * all.length).toLocaleString("en")} calibration tokens`;
    if (plans !== undefined && (whole || !unstable())) {
      const message = unstable()
        ? `${tokens} are all there are and not enough: ${said}, more than ${percent(tolerance)}.`
        : `${tokens} are enough: ${said}, at most ${percent(tolerance)} were allowed.`;
      yield { type: "note", message };
      return { plans, calibration };
    }
    const after = plans === undefined ? ` after ${seen.length} of ${layers} layers` : "";
    yield { type: "note", message: `${tokens} are not enough${after}: ${said}. Beginning anew with twice as many.` };
    ({ sequences, changed, finished } = await begin(Math.min(all.sequences, 2 * sequences), output));
  }
}

interface Round {
  readonly sequences: number;
  /** Of each layer that is planned already. */
  readonly changed: readonly number[];
  readonly finished: readonly LayerPlan[];
}

/** The last round of an interrupted run. */
function resumed({ output, model, kept }: AutoCalibration): Round | undefined {
  if (output === undefined) return undefined;
  const recorded = planEntries(output);
  const begun = recorded.findLastIndex((entry) => entry.round !== undefined);
  if (begun < 0) return undefined;
  const entries = recorded.slice(begun + 1);
  return {
    sequences: Number(recorded[begun]!.round),
    changed: entries.map((entry) => Number(entry.changed)),
    finished: recordedPlans(output, model, kept, entries),
  };
}

async function begin(sequences: number, output: OutputFolder | undefined): Promise<Round> {
  await output?.append({ round: sequences });
  return { sequences, changed: [], finished: [] };
}

function first({ sequences, length }: Calibration): number {
  return Math.min(sequences, Math.max(2, Math.ceil(FIRST_TOKENS / length)));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
