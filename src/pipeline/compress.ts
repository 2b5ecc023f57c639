import { resolve } from "node:path";
import { type DescribedCalibration, describeCalibration } from "../calibration/calibration.js";
import { loadCalibration } from "../calibration/load-calibration.js";
import { refuseExisting } from "../checkpoint/output-checks.js";
import { checkRoom } from "../compress/group.js";
import type { LayerPlan, Plan } from "../compress/plan.js";
import { pickSettings, resolveSettings, type Settings } from "../compress/settings.js";
import type { LayerTrace } from "../compress/trace.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import { type HubEvent, hubOptionsFromEnvironment } from "../hub/settings.js";
import type { ModelDescription } from "../model/description.js";
import { planObserved } from "../observe/plan-observed.js";
import { makeBatches } from "./batches.js";
import { checkExperts, expertLimits } from "./check-experts.js";
import type { CompressEvent } from "./events.js";
import { prepareGiven } from "./given-plan.js";
import { planLayers } from "./layer-loop.js";
import type { ManifestInputs } from "./manifest.js";
import { prepareObserved } from "./observed-work.js";
import { openBackend } from "./open-backend.js";
import { type OpenedModel, openModel } from "./open-model.js";
import { openOutput } from "./open-output.js";
import { type CompressOptions, compressOptions, type ResolvedCompressOptions } from "./options.js";
import { outputTarget } from "./output-target.js";
import { parseOptions } from "./parse-options.js";
import { type PreparedModel, prepareModel } from "./prediction-layers.js";
import { recordedPlans } from "./recorded-plans.js";
import { recordedSamples } from "./recorded-samples.js";
import { refuseSource } from "./refuse-source.js";
import { relay } from "./relay.js";
import { planElsewhere } from "./split/plan-elsewhere.js";
import { type CompressElsewhere, checkSplit, type Split } from "./split/split.js";
import { writeTrace } from "./trace-files.js";
import { writeCheckpoint } from "./write-checkpoint.js";

export interface CompressResult {
  /** Folder of the compressed checkpoint; absent after a dry run. */
  readonly out: string | undefined;
  readonly plan: Plan;
  readonly settings: Settings | undefined;
  readonly calibration: DescribedCalibration | undefined;
  readonly bytes: { readonly before: number; readonly after: number };
  /** What happened to layers for multi-token prediction; undefined where the model has none with experts. */
  readonly predictionLayers: PreparedModel["predictionLayers"];
}

/**
 * Compresses a model: plans every MoE layer, then writes the checkpoint. Yields progress; returns what was done.
 * Interrupted, it continues where it was when it is called again with the same options.
 * @param elsewhere has layers planned and files written by others, where nothing is to be observed (`checkSplit`)
 */
export async function* compress(
  input: CompressOptions,
  signal?: AbortSignal,
  elsewhere?: CompressElsewhere,
): AsyncGenerator<CompressEvent | HubEvent, CompressResult> {
  const options = parseOptions(compressOptions, input);
  if (elsewhere !== undefined) checkSplit(options);
  const context = { signal, elsewhere };
  if (options.out === undefined && !options.dryRun) {
    throw new ReamError("OPTION_MISSING", "no output folder was given", {
      hint: "Give --out DIR, or --dry-run for the plan alone.",
    });
  }
  // Said before hours of work, and before anything is fetched.
  if (options.out !== undefined && !options.dryRun) await refuseExisting(resolve(options.out));
  const opened = yield* relay((onEvent: (event: HubEvent) => void) => openModel(options.model, { onEvent, signal }));
  try {
    refuseSource(opened);
    const prepared = await prepareModel(options, opened);
    if (options.plan !== undefined) return yield* applyPlan(options, options.plan, prepared, context);
    if (options.observed !== undefined)
      return yield* planObservedAndWrite(options, options.observed, prepared, context);
    return yield* planAndWrite(options, prepared, context);
  } finally {
    await opened.checkpoint.close();
  }
}

interface Context {
  readonly signal: AbortSignal | undefined;
  readonly elsewhere: CompressElsewhere | undefined;
}

/** Observes, plans and writes. */
async function* planAndWrite(options: ResolvedCompressOptions, opened: PreparedModel, context: Context) {
  const { signal } = context;
  const { checkpoint, model, folder, predictions } = opened;
  const settings = resolveSettings(options.method, pickSettings(options));
  const kept = checkExperts(options.experts, expertLimits(model));
  checkRoom(model.experts, kept, settings);
  const notes: string[] = [];
  const backend = openBackend(options, opened, (note) => notes.push(note));
  const calibration = yield* relay((onEvent: (event: HubEvent) => void) =>
    loadCalibration(options, {
      model: folder,
      vocabularySize: model.vocabularySize,
      hub: { ...hubOptionsFromEnvironment(process.env), onEvent, signal },
    }),
  );
  if (calibration.length > model.maxPositions) {
    notes.push(
      `Sequences of ${calibration.length} tokens are longer than the ${model.maxPositions} positions the model was made for.`,
    );
  }
  const traces: LayerTrace[] = [];
  const observed = { settings, calibration, seed: options.seed, backend };
  return yield* writePlanned(options, opened, observed, notes, context, async function* ({ finished, onPlan }) {
    const plans = yield* planLayers({
      checkpoint,
      model,
      predictions,
      backend,
      settings,
      batches: makeBatches(calibration, settings),
      kept,
      seed: options.seed,
      mergedDtype: outputTarget(options, backend).mergedDtype,
      finished,
      recorded: options.sampledTokens === undefined ? undefined : recordedSamples(options.sampledTokens),
      onTrace: options.trace === undefined ? undefined : (trace) => traces.push(trace),
      onPlan,
      signal,
    });
    if (options.trace !== undefined)
      await writeTrace(options.trace, options.method, { ...settings, experts: kept }, traces);
    return plans;
  });
}

/** Plans from an observation and writes. */
async function* planObservedAndWrite(
  options: ResolvedCompressOptions,
  folder: string,
  opened: PreparedModel,
  context: Context,
) {
  const { signal } = context;
  const { planning, observed, notes } = await prepareObserved(options, folder, opened);
  const { layers } = planning.observation.manifest;
  return yield* writePlanned(options, opened, observed, notes, context, (progress, split) =>
    split === undefined
      ? planObserved({ ...planning, ...progress, signal })
      : planElsewhere(split, { layers, ...progress, signal }),
  );
}

/** Resumes or starts an output, makes its plans, records them as they come, and writes the checkpoint. */
async function* writePlanned(
  options: ResolvedCompressOptions,
  opened: PreparedModel,
  observed: NonNullable<ManifestInputs["observed"]>,
  notes: readonly string[],
  { signal, elsewhere }: Context,
  makePlans: (
    progress: { readonly finished: readonly LayerPlan[]; readonly onPlan: (plan: LayerPlan) => Promise<void> },
    split: Split | undefined,
  ) => AsyncGenerator<CompressEvent, LayerPlan[]>,
) {
  const { settings, calibration, backend } = observed;
  const kept = options.experts!;
  const input = { settings, calibration: calibration.digest };
  const { output, split } = await openOutput(options, opened, { input, backend, kept, elsewhere });
  try {
    // A trace holds every layer, so that with one all are planned anew.
    const finished =
      output === undefined || options.trace !== undefined ? [] : recordedPlans(output, opened.model, kept);
    const recorded = output?.journal.length ?? 0;
    let planned = finished.length;
    yield startEvent(options, opened, kept, calibration, backend, finished.length);
    const told = [...notes, ...calibration.notes, ...opened.notes];
    for (const message of told) yield { type: "note", message } as const;
    const onPlan = async (plan: LayerPlan) => {
      if (planned++ >= recorded) await output?.append({ plan });
    };
    const layers = yield* makePlans({ finished, onPlan }, split);
    const plan = makePlan(options, settings, opened.model, kept, layers);
    const bytes = yield* writeCheckpoint({
      ...outputTarget(options, backend),
      ...{ opened, output, plan, backend, observed, split, signal },
    });
    const out = options.dryRun ? undefined : options.out;
    const { predictionLayers } = opened;
    return { out, plan, settings, calibration: describeCalibration(calibration), bytes, predictionLayers };
  } finally {
    await output?.close();
  }
}

/** Writes what a given plan says; nothing is observed. */
async function* applyPlan(
  options: ResolvedCompressOptions,
  file: string,
  opened: PreparedModel,
  { signal, elsewhere }: Context,
) {
  const { plan, backend, notes } = await prepareGiven(options, file, opened);
  const kept = plan.experts.after;
  const { output, split } = await openOutput(options, opened, { input: plan, backend, kept, elsewhere });
  try {
    for (const message of [...notes, ...opened.notes]) yield { type: "note", message } as const;
    const bytes = yield* writeCheckpoint({
      ...outputTarget(options, backend),
      ...{ opened, output, plan, backend, split, signal },
    });
    const out = options.dryRun ? undefined : options.out;
    const { predictionLayers } = opened;
    return { out, plan, settings: undefined, calibration: undefined, bytes, predictionLayers };
  } finally {
    await output?.close();
  }
}

function makePlan(
  { method }: ResolvedCompressOptions,
  { rounding }: Settings,
  model: ModelDescription,
  kept: number,
  layers: LayerPlan[],
): Plan {
  return { format: "ream-plan", version: 1, method, rounding, experts: { before: model.experts, after: kept }, layers };
}

function startEvent(
  options: ResolvedCompressOptions,
  { name, model }: OpenedModel,
  kept: number,
  { sequences, length, domains }: DescribedCalibration,
  backend: Backend,
  resumed: number,
): CompressEvent {
  return {
    type: "start",
    model: name,
    family: model.family,
    layers: model.layers.length,
    experts: { before: model.experts, after: kept },
    tokens: domains.reduce((sum, { tokens }) => sum + tokens, 0),
    sequences,
    length,
    method: options.method,
    backend: `${backend.name} (${backend.description})`,
    precision: backend.precision,
    resumed,
  };
}
