import { AttentionObserver } from "../../compress/attention-plan.js";
import { reduceBlock } from "../../compress/merge.js";
import type { BlockPlan } from "../../compress/plan.js";
import { attentionExperts, type RoutedExperts } from "../../model/description.js";
import type { TokenBatch } from "../../model/layer.js";
import { readMoe } from "../../model/moe.js";
import type { CompressEvent } from "../events.js";
import type { LayerWork } from "./layer-work.js";

/**
 * The plan of the attention's experts, where it has some. In sequential runs the layer has the reduced ones from now on.
 *
 * @param known where there is one already
 */
export async function* reduceAttention(
  work: LayerWork,
  known: BlockPlan | undefined,
): AsyncGenerator<CompressEvent, BlockPlan | undefined> {
  const mixture = attentionExperts(work.description);
  if (mixture === undefined) return undefined;
  const { checkpoint, backend, settings, mergedDtype } = work.options;
  const plan = known ?? (yield* planAttention(work, mixture));
  if (settings.sequential) {
    const rounding = { when: settings.rounding, dtype: mergedDtype };
    work.changes.attention = await reduceBlock(backend, await readMoe(checkpoint, mixture), plan, rounding);
  }
  return plan;
}

async function* planAttention(work: LayerWork, mixture: RoutedExperts): AsyncGenerator<CompressEvent, BlockPlan> {
  const { backend, settings, kept } = work.options;
  const observer = new AttentionObserver(backend, mixture, settings);
  let mask: TokenBatch["mask"];
  const layer = await work.open({ attentionTap: (x, routed) => observer.add(x, routed, mask) });
  try {
    const look = (batch: TokenBatch, index: number) => {
      mask = batch.mask;
      layer.mix(work.hidden.get(index), batch);
    };
    yield* work.eachBatch("attention", look, work.options.batches);
  } finally {
    layer.dispose();
  }
  return observer.plan({ layer: work.description.index, kept, pause: work.pause });
}
