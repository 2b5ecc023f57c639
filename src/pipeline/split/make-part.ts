import { tensorBytes } from "../../checkpoint/safetensors-encode.js";
import type { LayerPlan, Plan } from "../../compress/plan.js";
import type { Backend } from "../../engine/backend.js";
import { ReamError } from "../../errors.js";
import type { HubEvent } from "../../hub/settings.js";
import { type ObservedPlanning, planObservedLayer } from "../../observe/plan-observed.js";
import type { CompressEvent } from "../events.js";
import { prepareGiven } from "../given-plan.js";
import { prepareObserved } from "../observed-work.js";
import { type OpenedModel, openModel } from "../open-model.js";
import type { CompressOptions, ResolvedCompressOptions } from "../options.js";
import { type OutputIdentity, outputIdentity, type PlanInput } from "../output-identity.js";
import { layersOf, outputTensors, shardFiles } from "../output-layout.js";
import { outputTarget } from "../output-target.js";
import { type PreparedModel, prepareModel } from "../prediction-layers.js";
import { relay } from "../relay.js";
import { RequantisedErrors } from "../requantised-errors.js";
import { resolveCompress } from "../resolve-options.js";
import { contentIdentity } from "../source-identity.js";
import { TensorContent } from "../tensor-content.js";
import type { Part } from "./part.js";
import { PartsFolder } from "./parts-folder.js";

/**
 * Makes a part of a compression that another process began in `partial`, its unfinished output. Errors: OUTPUT_OTHER where
 * model, observation or engine are not those of that process; OUTPUT_MISSING where it is done or has begun anew.
 */
export async function* makePart(
  input: CompressOptions,
  { part, identity, partial }: { readonly part: Part; readonly identity: OutputIdentity; readonly partial: string },
  signal?: AbortSignal,
): AsyncGenerator<CompressEvent | HubEvent, void> {
  const options = resolveCompress(input, true);
  const opened = yield* relay((onEvent: (event: HubEvent) => void) => openModel(options.model, { onEvent, signal }));
  try {
    const prepared = await prepareModel(options, opened);
    const work = await prepare(options, prepared);
    checkIdentity(await outputIdentity(options, opened, work.input, work.backend), identity, partial);
    const parts = await PartsFolder.find(partial, identity, prepared.model, work.kept);
    if (await parts.has(part)) return;
    if (part.kind === "layer") yield* makePlan(part.layer, work.planning!, parts, signal);
    else if (part.kind === "shard") yield* makeShard(part.file, options, prepared, work, parts, signal);
    else await parts.writeIdentity(await contentIdentity(opened.folder, part.file));
  } finally {
    await opened.checkpoint.close();
  }
}

interface PartWork {
  readonly input: PlanInput;
  readonly backend: Backend;
  readonly kept: number;
  readonly rounding: Plan["rounding"];
  /** Absent where a plan was given. */
  readonly planning?: ObservedPlanning;
}

async function prepare(options: ResolvedCompressOptions, opened: OpenedModel): Promise<PartWork> {
  if (options.plan !== undefined) {
    const { plan, backend } = await prepareGiven(options, options.plan, opened);
    return { input: plan, backend, kept: plan.experts.after, rounding: plan.rounding };
  }
  const { planning, observed } = await prepareObserved(options, options.observed!, opened);
  const { settings, calibration, backend } = observed;
  const input = { settings, calibration: calibration.digest };
  return { input, backend, kept: planning.kept, rounding: settings.rounding, planning };
}

function checkIdentity(own: OutputIdentity, wanted: OutputIdentity, where: string): void {
  const names = Object.keys({ ...own, ...wanted }).filter((name) => own[name] !== wanted[name]);
  if (names.length === 0) return;
  throw new ReamError("OUTPUT_OTHER", `this machine would make another output: it differs in ${names.join(", ")}`, {
    where,
    hint: "Model (with the times of its files), observation, version and kind of processor have to be the same everywhere.",
  });
}

async function* makePlan(
  layer: number,
  planning: ObservedPlanning,
  parts: PartsFolder,
  signal: AbortSignal | undefined,
): AsyncGenerator<CompressEvent, void> {
  const began = performance.now();
  const layers = planning.observation.manifest.layers.length;
  const plan = yield* relay<CompressEvent, LayerPlan>((emit) => {
    const onAligned = (share: number) => {
      emit({ type: "progress", layer, layers, phase: "plan", share, memory: process.memoryUsage.rss() });
    };
    onAligned(0);
    return planObservedLayer(planning, layer, { signal, onAligned });
  });
  // No event of the plan: those of a worker pass through the queue, and it may be megabytes.
  await parts.writePlan({ plan, seconds: (performance.now() - began) / 1000 });
}

async function* makeShard(
  file: string,
  options: ResolvedCompressOptions,
  opened: PreparedModel,
  { backend, kept, rounding }: PartWork,
  parts: PartsFolder,
  signal: AbortSignal | undefined,
): AsyncGenerator<CompressEvent, void> {
  const { checkpoint, model, omitted } = opened;
  const { dtype, mergedDtype, shards } = outputTarget(options, backend, model);
  const tensors = shardFiles(outputTensors(checkpoint, model, kept, dtype, { omitted }), model, shards).get(file);
  if (tensors === undefined) throw new TypeError(`the output has no file ${file}`);
  const plans: LayerPlan[] = [];
  for (const layer of layersOf(tensors)) plans.push((await parts.awaitPlan(layer, signal)).plan);
  const requantised = new RequantisedErrors();
  const onRequantised = requantised.add.bind(requantised);
  const plan = { layers: plans, rounding };
  const content = new TensorContent({ opened, plan, backend, mergedDtype, onRequantised, signal });
  const total = tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  let done = 0;
  yield* relay<CompressEvent, void>((emit) => {
    const shard = content.shard(tensors, (bytes) => {
      done += bytes;
      emit({ type: "shard", file, done, total });
    });
    return parts.writeShard(file, shard, Object.fromEntries(checkpoint.metadata), requantised);
  });
}
