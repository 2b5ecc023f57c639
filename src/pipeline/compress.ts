import { resolve } from "node:path";
import { type DescribedCalibration, describeCalibration } from "../calibration/calibration.js";
import { loadCalibration } from "../calibration/load-calibration.js";
import { refuseExisting } from "../checkpoint/output-checks.js";
import type { DType } from "../checkpoint/tensor.js";
import { checkRoom } from "../compress/group.js";
import type { LayerPlan, Plan } from "../compress/plan.js";
import { resolveSettings, type Settings, settingsSchema } from "../compress/settings.js";
import type { LayerTrace } from "../compress/trace.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import { type HubEvent, hubOptionsFromEnvironment } from "../hub/settings.js";
import type { ModelDescription } from "../model/description.js";
import { Observation } from "../observe/observation.js";
import { observedNotes, observedSettings } from "../observe/observed-settings.js";
import { planObserved } from "../observe/plan-observed.js";
import { makeBatches } from "./batches.js";
import { checkExperts, expertLimits } from "./check-experts.js";
import type { CompressEvent } from "./events.js";
import { planLayers } from "./layer-loop.js";
import type { ManifestInputs } from "./manifest.js";
import { openBackend } from "./open-backend.js";
import { type OpenedModel, openModel } from "./open-model.js";
import { openOutput, recordedPlans } from "./open-output.js";
import { type CompressOptions, compressOptions, type ResolvedCompressOptions } from "./options.js";
import { parseOptions } from "./parse-options.js";
import { readPlan } from "./plan-file.js";
import { predictionNotes } from "./prediction-layers.js";
import { recordedSamples } from "./recorded-samples.js";
import { refuseSource } from "./refuse-source.js";
import { relay } from "./relay.js";
import { writeTrace } from "./trace-files.js";
import { writeCheckpoint } from "./write-checkpoint.js";

export interface CompressResult {
  /** Folder of the compressed checkpoint; absent after a dry run. */
  readonly out: string | undefined;
  readonly plan: Plan;
  readonly settings: Settings | undefined;
  readonly calibration: DescribedCalibration | undefined;
  readonly bytes: { readonly before: number; readonly after: number };
}

const DTYPES: Record<"bf16" | "f16" | "f32", DType> = { bf16: "BF16", f16: "F16", f32: "F32" };

/**
 * Compresses a model: plans every MoE layer, then writes the checkpoint. Yields progress; returns what was done.
 * Interrupted, it continues where it was when it is called again with the same options.
 */
export async function* compress(
  input: CompressOptions,
  signal?: AbortSignal,
): AsyncGenerator<CompressEvent | HubEvent, CompressResult> {
  const options = parseOptions(compressOptions, input);
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
    if (options.plan !== undefined) return yield* applyPlan(options, options.plan, opened, signal);
    if (options.observed !== undefined) return yield* planObservedAndWrite(options, options.observed, opened, signal);
    return yield* planAndWrite(options, opened, signal);
  } finally {
    await opened.checkpoint.close();
  }
}

/** Observes, plans and writes. */
async function* planAndWrite(options: ResolvedCompressOptions, opened: OpenedModel, signal: AbortSignal | undefined) {
  const { checkpoint, model, folder } = opened;
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
  return yield* writePlanned(options, opened, observed, notes, signal, async function* ({ finished, onPlan }) {
    const plans = yield* planLayers({
      checkpoint,
      model,
      backend,
      settings,
      batches: makeBatches(calibration, settings),
      kept,
      seed: options.seed,
      mergedDtype: mergedDtype(backend, outputDtype(options)),
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
  opened: OpenedModel,
  signal: AbortSignal | undefined,
) {
  const { model } = opened;
  const observation = await Observation.open(folder);
  const settings = observedSettings(options.method, pickSettings(options));
  const kept = checkExperts(options.experts, expertLimits(model));
  checkRoom(model.experts, kept, settings);
  await observation.checkModel(opened);
  const mix = observation.mix(options.mix);
  const notes = [...observedNotes(options.method, options.statistics), ...mix.notes];
  const backend = openBackend({ ...options, precision: observation.manifest.engine.precision }, opened, (note) =>
    notes.push(note),
  );
  const { seed } = observation.manifest.calibration;
  const observed = { settings, calibration: mix.calibration, seed, backend, observation: observation.identity };
  return yield* writePlanned(options, opened, observed, notes, signal, ({ finished, onPlan }) =>
    planObserved({ observation, mix, settings, kept, weights: { opened, backend }, finished, onPlan, signal }),
  );
}

/** Resumes or starts an output, makes its plans, records them as they come, and writes the checkpoint. */
async function* writePlanned(
  options: ResolvedCompressOptions,
  opened: OpenedModel,
  observed: NonNullable<ManifestInputs["observed"]>,
  notes: readonly string[],
  signal: AbortSignal | undefined,
  makePlans: (progress: {
    readonly finished: readonly LayerPlan[];
    readonly onPlan: (plan: LayerPlan) => Promise<void>;
  }) => AsyncGenerator<CompressEvent, LayerPlan[]>,
) {
  const { settings, calibration, backend } = observed;
  const kept = options.experts!;
  const output = options.dryRun
    ? undefined
    : await openOutput(options, opened, { settings, calibration: calibration.digest }, backend);
  try {
    // A trace holds every layer, so that with one all are planned anew.
    const finished =
      output === undefined || options.trace !== undefined ? [] : recordedPlans(output, opened.model, kept);
    const recorded = output?.journal.length ?? 0;
    let planned = finished.length;
    yield startEvent(options, opened, kept, calibration, backend, finished.length);
    const told = [...notes, ...calibration.notes, ...predictionNotes(opened.checkpoint, opened.model)];
    for (const message of told) yield { type: "note", message } as const;
    const onPlan = async (plan: LayerPlan) => {
      if (planned++ >= recorded) await output?.append({ plan });
    };
    const layers = yield* makePlans({ finished, onPlan });
    const plan = makePlan(options, settings, opened.model, kept, layers);
    const bytes = yield* writeCheckpoint({
      ...target(options, backend),
      opened,
      output,
      plan,
      backend,
      observed,
      signal,
    });
    const out = options.dryRun ? undefined : options.out;
    return { out, plan, settings, calibration: describeCalibration(calibration), bytes };
  } finally {
    await output?.close();
  }
}

/** Writes what a given plan says; nothing is observed. */
async function* applyPlan(
  options: ResolvedCompressOptions,
  file: string,
  opened: OpenedModel,
  signal: AbortSignal | undefined,
) {
  const plan = await readPlan(file, opened.model);
  if (options.experts !== undefined && options.experts !== plan.experts.after) {
    throw new ReamError("EXPERTS_RANGE", `the plan keeps ${plan.experts.after} experts, not ${options.experts}`, {
      where: "--experts",
      hint: "Leave --experts out, or make a plan for that number.",
    });
  }
  const notes: string[] = [];
  const backend = openBackend(options, opened, (note) => notes.push(note));
  const output = options.dryRun ? undefined : await openOutput(options, opened, plan, backend);
  try {
    for (const message of notes) yield { type: "note", message } as const;
    const bytes = yield* writeCheckpoint({
      ...target(options, backend),
      opened,
      output,
      plan,
      backend,
      signal,
    });
    return { out: options.dryRun ? undefined : options.out, plan, settings: undefined, calibration: undefined, bytes };
  } finally {
    await output?.close();
  }
}

/** What the output looks like. */
function target(options: ResolvedCompressOptions, backend: Backend) {
  const dtype = outputDtype(options);
  return { dtype, mergedDtype: mergedDtype(backend, dtype), shards: options.shards };
}

/**
 * Dtype of merged experts as later layers see them: float32 where everything is computed in it, so that only the result
 * is rounded; else exactly what is written.
 */
function mergedDtype(backend: Backend, output: DType | undefined): DType | undefined {
  return backend.precision === "f32" ? "F32" : output;
}

/** Settings that were given one by one. */
function pickSettings(options: ResolvedCompressOptions): Partial<Settings> {
  const given = Object.entries(options).filter(([key, value]) => key in settingsSchema.shape && value !== undefined);
  return Object.fromEntries(given) as Partial<Settings>;
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

function outputDtype({ outputDtype: name }: Pick<ResolvedCompressOptions, "outputDtype">): DType | undefined {
  return name === "same" ? undefined : DTYPES[name];
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
