import { resolve } from "node:path";
import { type Calibration, type DescribedCalibration, describeCalibration } from "../calibration/calibration.js";
import { loadCalibration } from "../calibration/load-calibration.js";
import type { OutputFolder } from "../checkpoint/output.js";
import { refuseExisting } from "../checkpoint/output-checks.js";
import { attentionNotes } from "../compress/attention-plan.js";
import { checkRoom } from "../compress/group.js";
import type { LayerPlan, Plan } from "../compress/plan.js";
import { pickSettings, resolveSettings, type Settings } from "../compress/settings.js";
import type { LayerTrace } from "../compress/trace.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import { type HubEvent, hubOptionsFromEnvironment } from "../hub/settings.js";
import type { ModelDescription } from "../model/description.js";
import { planObserved } from "../observe/plan-observed.js";
import { checkAuto, planUntilStable } from "./auto-calibration.js";
import { makeBatches } from "./batches.js";
import { checkExperts, expertLimits } from "./check-experts.js";
import type { CompressEvent } from "./events.js";
import { prepareGiven } from "./given-plan.js";
import { type GuardPlan, planGuard } from "./guard/guard-plan.js";
import { memoryEstimate } from "./inspect.js";
import { planLayers } from "./layer-loop.js";
import { allRefits, type Refits } from "./layer-losses.js";
import type { ManifestInputs } from "./manifest.js";
import type { MemoryWork } from "./memory-estimate.js";
import { type MemoryPlan, planMemory, statesFile } from "./memory-plan.js";
import { prepareObserved } from "./observed-work.js";
import { openBackend } from "./open-backend.js";
import { type OpenedModel, openModel } from "./open-model.js";
import { openOutput } from "./open-output.js";
import type { CompressOptions, ResolvedCompressOptions } from "./options.js";
import { OutputShards } from "./output-shards.js";
import { outputTarget } from "./output-target.js";
import { type PreparedModel, prepareModel } from "./prediction-layers.js";
import type { RefitWork } from "./reconstruct/open-refit.js";
import { randomBatches } from "./reconstruct/random-batches.js";
import { checkRefit, planRefit, type RefitPlan } from "./reconstruct/refit-plan.js";
import { planEntries, recordedPlans } from "./recorded-plans.js";
import { recordedSamples } from "./recorded-samples.js";
import { refuseChanges } from "./refuse-source.js";
import { relay } from "./relay.js";
import type { LayerRequantised } from "./requantise.js";
import { resolveCompress } from "./resolve-options.js";
import type { RouterWork } from "./router/open-router.js";
import { checkRouters, planRouter, type RouterPlan } from "./router/router-plan.js";
import { planElsewhere } from "./split/plan-elsewhere.js";
import { type CompressElsewhere, checkSplit, type Split } from "./split/split.js";
import { checkSteps } from "./steps/check-steps.js";
import type { StepWork } from "./steps/layer-steps.js";
import { stepLayers } from "./steps/step-layers.js";
import { planSteps, type StepPlan, stepNotes, stepsFor } from "./steps/step-plan.js";
import { writeTrace } from "./trace-files.js";
import { type CheckpointBytes, writeCheckpoint } from "./write-checkpoint.js";

export interface CompressResult {
  /** Folder of the compressed checkpoint; absent after a dry run. */
  readonly out: string | undefined;
  readonly plan: Plan;
  /** What was done to single matrices afterwards. */
  readonly steps: StepPlan | undefined;
  /** How kept experts were refitted, and what came of it in each layer. */
  readonly refits: Refits | undefined;
  readonly settings: Settings | undefined;
  readonly calibration: DescribedCalibration | undefined;
  readonly bytes: CheckpointBytes;
  /** What rounding the merged experts of a quantised source to its form again lost; empty in a dry run. */
  readonly requantised: readonly LayerRequantised[];
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
  const options = resolveCompress(input, elsewhere !== undefined);
  if (elsewhere !== undefined) checkSplit(options);
  if (options.out === undefined && !options.dryRun) {
    throw new ReamError("OPTION_MISSING", "no output folder was given", {
      hint: "Give --out DIR, or --dry-run for the plan alone.",
    });
  }
  // Said before hours of work, and before anything is fetched.
  if (options.out !== undefined && !options.dryRun) await refuseExisting(resolve(options.out));
  const stepPlan = planSteps(options);
  if (stepPlan !== undefined) checkSteps(options, stepPlan, elsewhere !== undefined);
  const refit = planRefit(options, elsewhere !== undefined);
  const router = planRouter(options, elsewhere !== undefined);
  const guard = planGuard(options, elsewhere !== undefined);
  checkAuto(options);
  const opened = yield* relay((onEvent: (event: HubEvent) => void) => openModel(options.model, { onEvent, signal }));
  try {
    refuseChanges(options, opened);
    const prepared = await prepareModel(options, opened);
    const steps = stepPlan && stepsFor(prepared.model, stepPlan);
    if (router !== undefined) checkRouters(prepared.model);
    if (refit !== undefined) checkRefit(refit, prepared.model);
    const context = { signal, elsewhere, steps, refit, router, guard };
    if (options.plan !== undefined) return yield* applyPlan(options, options.plan, prepared, context);
    if (options.observed !== undefined)
      return yield* planObservedAndWrite(options, options.observed, prepared, context);
    if (steps !== undefined && options.experts === undefined)
      return yield* applyPlan(options, undefined, prepared, context);
    return yield* planAndWrite(options, prepared, context);
  } finally {
    await opened.checkpoint.close();
  }
}

interface Context {
  readonly signal: AbortSignal | undefined;
  readonly elsewhere: CompressElsewhere | undefined;
  readonly steps: StepPlan | undefined;
  readonly refit: RefitPlan | undefined;
  readonly router: RouterPlan | undefined;
  readonly guard: GuardPlan | undefined;
}

/** Observes, plans and writes. */
async function* planAndWrite(options: ResolvedCompressOptions, opened: PreparedModel, context: Context) {
  const { signal } = context;
  const { checkpoint, model, predictions } = opened;
  const settings = resolveSettings(options.method, pickSettings(options));
  const kept = checkExperts(options.experts, expertLimits(model));
  checkRoom(model.experts, kept, settings);
  const notes = [...attentionNotes(model, settings)];
  const backend = openBackend(options, opened, (note) => notes.push(note));
  const calibration = yield* calibrate(options, opened, notes, signal);
  const memory = memoryOf(options, opened, calibration, { backend, kept, settings, refit: context.refit });
  notes.push(...memory.notes);
  const traces: LayerTrace[] = [];
  const observed = { settings, calibration, seed: options.seed, backend };
  const { mergedDtype, requantises } = outputTarget(options, backend, model);
  return yield* writePlanned(options, opened, observed, notes, context, async function* (progress) {
    const { finished, onPlan, onLayer, onCalibration, output, steps, refit, router } = progress;
    const common = {
      ...{ checkpoint, model, predictions, backend, settings, kept, seed: options.seed, signal },
      ...{ mergedDtype, requantises, guard: context.guard },
      random: context.refit && randomBatches(context.refit, model, calibration),
      statesFile: await statesFile(memory, output),
    };
    if (options.calibrationTokens === "auto") {
      const auto = yield* planUntilStable({ ...common, calibration, tolerance: options.tolerance, output });
      onCalibration(auto.calibration);
      return auto.plans;
    }
    const plans = yield* planLayers({
      ...common,
      batches: makeBatches(calibration, settings),
      finished,
      // What is planned on the original model is changed afterwards.
      steps: settings.sequential ? steps : undefined,
      ...{ refit, router },
      recorded: options.sampledTokens === undefined ? undefined : recordedSamples(options.sampledTokens),
      onTrace: options.trace === undefined ? undefined : (trace) => traces.push(trace),
      ...{ onPlan, onLayer },
    });
    if (options.trace !== undefined)
      await writeTrace(options.trace, options.method, { ...settings, experts: kept }, traces);
    return plans;
  });
}

/** Loads the calibration text. */
async function* calibrate(
  options: ResolvedCompressOptions,
  opened: OpenedModel,
  notes: string[],
  signal: AbortSignal | undefined,
) {
  const { folder, model } = opened;
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
  return calibration;
}

/** The memory that is planned. Errors: MEMORY_LIMIT. */
function memoryOf(
  { memoryLimit }: ResolvedCompressOptions,
  opened: OpenedModel,
  { sequences, length }: Calibration,
  { backend, ...work }: Pick<MemoryWork, "kept" | "settings" | "refit"> & { readonly backend: Backend },
): MemoryPlan {
  const estimate = memoryEstimate(opened, { sequences, length, precision: backend.precision, ...work });
  return planMemory(estimate, memoryLimit);
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

/** What makes the plans of an output is told of it. */
interface Progress {
  readonly output: OutputFolder | undefined;
  readonly finished: readonly LayerPlan[];
  readonly onPlan: (plan: LayerPlan) => Promise<void>;
  /** Told the layers that are done; undefined: what is to be written is not known before all are. */
  readonly onLayer: ((layer: number, plan: LayerPlan | undefined) => void) | undefined;
  /** Told the calibration set that was used, where it is a part of the given one. */
  readonly onCalibration: (used: Calibration) => void;
  readonly steps: StepWork | undefined;
  readonly refit: RefitWork | undefined;
  readonly router: RouterWork | undefined;
}

/** Resumes or starts an output, makes its plans, records them as they come, and writes the checkpoint. */
async function* writePlanned(
  options: ResolvedCompressOptions,
  opened: PreparedModel,
  given: NonNullable<ManifestInputs["observed"]>,
  notes: readonly string[],
  { signal, elsewhere, steps: stepPlan, refit: refitPlan, router: routerPlan }: Context,
  makePlans: (progress: Progress, split: Split | undefined) => AsyncGenerator<CompressEvent, LayerPlan[]>,
) {
  const { settings, calibration, backend } = given;
  const kept = options.experts!;
  const auto = options.calibrationTokens === "auto";
  const input = { settings, calibration: calibration.digest, ...(auto && { tolerance: options.tolerance }) };
  const target = outputTarget(options, backend, opened.model);
  const told = stepPlan === undefined ? [] : stepNotes(opened.model, stepPlan);
  const work = { input, backend, kept, steps: stepPlan, refit: refitPlan, router: routerPlan, elsewhere };
  const { output, split, steps, refit, router, close } = await openOutput(options, opened, work);
  let shards: OutputShards | undefined;
  // Rounds of `auto` may be given up, and what is kept of layers is read by one at a time.
  const isWrittenAlong =
    output !== undefined && ![split, steps, refit, router].some((other) => other !== undefined) && !auto;
  try {
    const made = { opened, output, backend, steps, refit, router };
    shards = new OutputShards({ ...target, ...made, kept, rounding: settings.rounding, signal });
    // A trace holds every layer, so that with one all are planned anew.
    const finished =
      output === undefined || options.trace !== undefined || auto ? [] : recordedPlans(output, opened.model, kept);
    const recorded = output === undefined ? 0 : planEntries(output).length;
    let planned = finished.length;
    yield startEvent(options.method, opened, kept, calibration, backend, finished.length, stepPlan);
    told.unshift(...notes, ...calibration.notes, ...opened.notes);
    for (const message of told) yield { type: "note", message } as const;
    const onPlan = async (plan: LayerPlan) => {
      if (planned++ >= recorded) await output?.append({ plan });
    };
    let observed = given;
    const onCalibration = (used: Calibration) => {
      observed = { ...given, calibration: used };
    };
    const onLayer = isWrittenAlong ? shards.layerDone.bind(shards) : undefined;
    const progress = { output, finished, onPlan, onLayer, onCalibration, steps, refit, router };
    const layers = yield* makePlans(progress, split);
    const plan = makePlan(options, settings, opened.model, kept, layers);
    if (steps?.plan.need === "nothing" && output !== undefined)
      yield* stepLayers({ ...target, opened, plan, backend, work: steps, signal });
    const refits = refit && (await allRefits(plan, refit));
    const written = yield* writeCheckpoint({
      ...target,
      ...made,
      plan,
      observed,
      refits,
      split,
      begun: shards,
      signal,
    });
    const out = options.dryRun ? undefined : options.out;
    const { predictionLayers } = opened;
    const described = describeCalibration(observed.calibration);
    return { ...written, refits, out, plan, steps: stepPlan, settings, calibration: described, predictionLayers };
  } finally {
    await shards?.stop();
    await close();
  }
}

/** Writes what a given plan says, or keeps all experts; text is read only where steps look at it. */
async function* applyPlan(
  options: ResolvedCompressOptions,
  file: string | undefined,
  opened: PreparedModel,
  { signal, elsewhere, steps: stepPlan, refit: refitPlan, router: routerPlan }: Context,
) {
  const { plan, backend, notes: given } = await prepareGiven(options, file, opened);
  const notes = [...given, ...(stepPlan === undefined ? [] : stepNotes(opened.model, stepPlan))];
  const looks =
    refitPlan !== undefined || routerPlan !== undefined || (stepPlan !== undefined && stepPlan.need !== "nothing");
  const calibration = looks ? yield* calibrate(options, opened, notes, signal) : undefined;
  const kept = plan.experts.after;
  const settings = resolveSettings(options.method, { ...pickSettings(options), rounding: plan.rounding });
  const planned = { backend, kept, settings, refit: refitPlan };
  const memory = calibration && memoryOf(options, opened, calibration, planned);
  notes.push(...(memory?.notes ?? []));
  const target = outputTarget(options, backend, opened.model);
  const input = calibration === undefined ? plan : { plan, calibration: calibration.digest };
  const work = { input, backend, kept, steps: stepPlan, refit: refitPlan, router: routerPlan, elsewhere };
  const { output, split, steps, refit, router, close } = await openOutput(options, opened, work);
  try {
    if (calibration !== undefined) yield startEvent(plan.method, opened, kept, calibration, backend, 0, stepPlan);
    for (const message of [...notes, ...opened.notes, ...(calibration?.notes ?? [])])
      yield { type: "note", message } as const;
    if (output !== undefined) {
      if (calibration === undefined) {
        if (steps !== undefined) yield* stepLayers({ ...target, opened, plan, backend, work: steps, signal });
      } else {
        const { checkpoint, model, predictions } = opened;
        yield* planLayers({
          ...{
            checkpoint,
            model,
            predictions,
            backend,
            settings,
            kept,
            steps,
            refit,
            router,
            signal,
            seed: options.seed,
          },
          ...{ batches: makeBatches(calibration, settings), finished: plan.layers },
          random: refitPlan && randomBatches(refitPlan, model, calibration),
          statesFile: memory && (await statesFile(memory, output)),
          ...{ mergedDtype: target.mergedDtype, requantises: target.requantises },
          onPlan: () => Promise.reject(new TypeError("all plans are given")),
        });
      }
    }
    // In a dry run nothing is refitted.
    const refits = refit && output && (await allRefits(plan, refit));
    const observed = calibration && { settings, calibration, seed: options.seed, backend };
    const written = yield* writeCheckpoint({
      ...target,
      ...{ opened, output, plan, backend, steps, refits, refit, router, split, signal },
      ...(observed && { observed }),
    });
    const out = options.dryRun ? undefined : options.out;
    const { predictionLayers } = opened;
    const described = calibration && describeCalibration(calibration);
    return {
      ...written,
      refits,
      out,
      plan,
      steps: stepPlan,
      settings: undefined,
      calibration: described,
      predictionLayers,
    };
  } finally {
    await close();
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
  method: string,
  { name, model }: OpenedModel,
  kept: number,
  { sequences, length, domains }: DescribedCalibration,
  backend: Backend,
  resumed: number,
  steps: StepPlan | undefined,
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
    method,
    steps: steps?.steps.map(({ text }) => text) ?? [],
    backend: `${backend.name} (${backend.description})`,
    precision: backend.precision,
    resumed,
  };
}
