import { alignmentBytes } from "../compress/align.js";
import { needsAlignment } from "../compress/plan-layer.js";
import { needsSamples } from "../compress/samples.js";
import type { Settings } from "../compress/settings.js";
import type { Precision } from "../engine/backend.js";
import { isMoe, type ModelDescription } from "../model/description.js";
import { mostStates } from "../model/hidden-states.js";
import { batchTokens } from "./batches.js";
import { randomSequences } from "./reconstruct/random-batches.js";
import { refitBytes } from "./reconstruct/refit-memory.js";
import type { RefitPlan } from "./reconstruct/refit-plan.js";

/** Estimate of the memory that compressing needs, in bytes. */
export interface MemoryEstimate {
  readonly sequences: number;
  readonly length: number;
  /** Of these `hiddenStates` and, up to a number, `samples` grow with the calibration tokens. */
  readonly bytes: number;
  readonly layerWeights: number;
  readonly hiddenStates: number;
  readonly samples: number;
  readonly alignment: number;
  /** Of the refit of a layer; 0: there is none. */
  readonly refit: number;
  readonly batch: number;
  readonly program: number;
}

/** What the memory of a compression depends on. */
export interface MemoryWork {
  readonly sequences: number;
  readonly length: number;
  readonly precision: Precision;
  /** Experts that each layer keeps. */
  readonly kept: number;
  readonly settings: Settings;
  /** Undefined: layers are not refitted. */
  readonly refit?: Pick<RefitPlan, "parts" | "tokens" | "random"> | undefined;
}

/**
 * Memory of the program itself, with what waits for the garbage collector; measured. Experts as stored and decoded are read faster than
 * they are collected: up to 320 MB were seen.
 */
const PROGRAM_BYTES = 400e6;
/** Most bytes of the outputs of routed pairs at a time (PAIR_BYTES of native/src/experts.rs). */
const PAIR_BYTES = 2 ** 28;
/** Rows of the hidden size that a layer has for each token of a batch at most: queries, keys, values, inputs, outputs. */
const ROWS = 8;

/**
 * The memory that compressing a model takes at its highest: the weights of the largest layer ready for products, and experts that
 * were merged beside it; hidden states of all calibration tokens; the tokens sampled for the alignment with the activations of two
 * experts, and what else it needs; what a refit looks at; the buffers of a batch; the program. Experts as stored are read one at a time.
 *
 * @param numbers of the weights of each layer
 */
export function estimateMemory(model: ModelDescription, numbers: readonly number[], work: MemoryWork): MemoryEstimate {
  const { sequences, length, precision, settings } = work;
  const tokens = sequences * length;
  const { width, hidden } = model.layers.find(isMoe)!.feedForward.experts;
  const merged = 3 * width * hidden * mostMerged(model, work);
  const layerWeights = (precision === "bf16" ? 2 : 4) * (Math.max(...numbers) + merged);
  const { refit: plan, kept } = work;
  const random = plan === undefined ? 0 : length * randomSequences(plan, model, work);
  const hiddenStates = 4 * (tokens + random) * mostStates(model);
  const samples = needsSamples(settings) ? 4 * Math.min(tokens, settings.samples) * (hidden + 2 * width) : 0;
  const alignment = needsAlignment(settings) ? alignmentBytes({ width, hidden }) : 0;
  const ofBatch = 4 * Math.min(tokens, batchTokens(length, settings)) * model.hiddenSize;
  const batch = ROWS * ofBatch + Math.min(PAIR_BYTES, model.topK * ofBatch);
  const layers = model.layers.filter(isMoe).map(({ feedForward }) => feedForward);
  const quantised = model.quantisation !== undefined;
  const refit =
    plan === undefined ? 0 : Math.max(...layers.map((moe) => refitBytes(moe, plan, tokens, kept, quantised)));
  const parts = { layerWeights, hiddenStates, samples, alignment, refit, batch, program: PROGRAM_BYTES };
  const bytes = Object.values(parts).reduce((sum, part) => sum + part);
  return { sequences, length, bytes, ...parts };
}

/** Most experts of a layer that are made anew: each of several. */
function mostMerged({ experts, layers }: ModelDescription, { kept, settings }: MemoryWork): number {
  const { grouping, groupSize, groupIncludesCentroid, merging } = settings;
  if (merging === "none" || grouping === "none") return 0;
  const absorbed = experts - kept;
  if (grouping !== "pseudo-prune") return Math.min(kept, absorbed);
  // Groups are filled one after the other, within each of the router's groups.
  const apart = Math.max(...layers.filter(isMoe).map(({ feedForward }) => feedForward.router.groups?.count ?? 1));
  return Math.min(kept, apart * Math.ceil(absorbed / apart / (groupIncludesCentroid ? groupSize - 1 : groupSize)));
}
