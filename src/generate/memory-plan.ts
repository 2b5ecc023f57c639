import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import { isMoe, type LayerDescription, type ModelDescription } from "../model/description.js";
import { modelStateSize } from "../model/layer-state.js";
import { weightNumbers } from "../model/read-weight.js";
import { routerNames } from "../model/router.js";
import { layerTensors } from "../model/tensor-list.js";
import { SLICE_TOKENS } from "./model-runner.js";
import type { SchedulerLimits } from "./scheduler.js";

/** Whether all weights stay in memory: `auto` = where they fit with some room for caches. */
export type Residence = "auto" | "yes" | "no";

export interface MemoryPlan extends SchedulerLimits {
  readonly resident: boolean;
  /** Bytes of all layers' weights, ready for products. */
  readonly layerBytes: number;
}

/** Room for the caches that weights have to leave to be resident, in tokens, or the longest sequence if it is shorter. */
const CACHE_TOKENS = 16_384;
const LOGIT_BYTES = 64 * 2 ** 20;
/** Of a pass when all weights are read for it: the more it takes along, the better. */
const STREAMED_PASS_TOKENS = 16 * SLICE_TOKENS;

/**
 * Decides what stays in memory, and how many tokens the caches may hold: what is available, less a tenth, the weights that
 * stay, and what a pass works with. Errors: MEMORY_TOO_SMALL.
 */
export function planMemory(
  checkpoint: Checkpoint,
  model: ModelDescription,
  backend: Backend,
  available: number,
  residence: Residence,
): MemoryPlan {
  const numberBytes = backend.name === "native" && backend.precision === "bf16" ? 2 : 4;
  const numbers = model.layers.map((layer) => layerNumbers(checkpoint, model, layer));
  const layers = numbers.map((count) => numberBytes * count);
  const all = layers.reduce((sum, bytes) => sum + bytes, 0);
  // As read (FP8 is decoded to float32), ready for products, and the next layer ready as well.
  const readBytes = model.quantisation === "fp8-blocks" ? 4 : numberBytes;
  const streamed = (readBytes + 2 * numberBytes) * Math.max(...numbers);
  const head = numberBytes * model.vocabularySize * model.hiddenSize;
  const state = modelStateSize(model, backend);
  const perToken = Math.max(1, state.bytesPerToken);
  const sequenceTokens = Math.ceil(state.bytesPerSequence / perToken);
  const working = 4 * SLICE_TOKENS * (model.topK + 8) * model.hiddenSize + 2 * LOGIT_BYTES;
  const room = 0.9 * available - head - working;
  const least = Math.min(model.maxPositions, CACHE_TOKENS) + 2 * sequenceTokens;

  const resident = residence === "yes" || (residence === "auto" && room - all >= least * perToken);
  const rest = room - (resident ? all : streamed);
  // A pass over streamed weights takes a quarter of the rest for its hidden states, before and after a layer, at most.
  const most = Math.floor(rest / 4 / (8 * model.hiddenSize));
  const passTokens = resident ? SLICE_TOKENS : Math.max(SLICE_TOKENS, Math.min(STREAMED_PASS_TOKENS, most));
  const left = resident ? rest : rest - 8 * passTokens * model.hiddenSize;
  const cacheTokens = Math.floor(left / perToken);
  if (cacheTokens < Math.min(least, 1024 + 2 * sequenceTokens)) {
    const needed = (available - left + least * perToken) / 2 ** 30;
    throw new ReamError(
      "MEMORY_TOO_SMALL",
      `${(available / 2 ** 30).toFixed(1)} GiB of memory are available, about ${needed.toFixed(1)} GiB are needed`,
      {
        where: checkpoint.folder,
        hint: resident
          ? "Read the weights layer by layer: --resident no."
          : "Close other programs, or use a larger machine.",
      },
    );
  }
  const logitRows = Math.max(1, Math.floor(LOGIT_BYTES / (4 * model.vocabularySize)));
  return { resident, layerBytes: all, cacheTokens, sequenceTokens, passTokens, logitRows };
}

function layerNumbers(checkpoint: Checkpoint, model: ModelDescription, layer: LayerDescription): number {
  const { mixer, feedForward, norms } = layerTensors(layer, model.hiddenSize);
  const names = [...mixer, ...feedForward, ...norms].map(({ name }) => name);
  if (isMoe(layer)) names.push(...routerNames(layer.feedForward.router), ...layer.feedForward.experts.names);
  return names.reduce((sum, name) => sum + weightNumbers(checkpoint, name), 0);
}
