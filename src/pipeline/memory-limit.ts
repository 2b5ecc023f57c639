import { ReamError } from "../errors.js";
import { formatBytes } from "../format.js";
import { parseMemorySize } from "../memory-size.js";
import type { MemoryEstimate } from "./memory-estimate.js";

/**
 * What a run plans to use, for people, beside its limit.
 *
 * @throws ReamError MEMORY_LIMIT where the plan does not fit, OPTION_INVALID where the limit is no size
 */
export function checkMemory(plan: MemoryEstimate, limit: string): string {
  const most = parseMemorySize(limit, "--memory-limit");
  const parts = [
    `one layer's weights ready for products ${formatBytes(plan.layerWeights)}`,
    `hidden states ${formatBytes(plan.hiddenStates)}`,
    `sampled tokens ${formatBytes(plan.samples)}`,
    `their alignment ${formatBytes(plan.alignment)}`,
    ...(plan.refit > 0 ? [`the refit ${formatBytes(plan.refit)}`] : []),
    `a batch ${formatBytes(plan.batch)}`,
    `the program ${formatBytes(plan.program)}`,
  ].join(", ");
  const planned = `${formatBytes(plan.bytes)} of memory planned (${parts})`;
  if (plan.bytes <= most) return `${planned}, limit ${limit}.`;
  const fixed = plan.bytes - plan.hiddenStates;
  const fitting = Math.floor(((most - fixed) * plan.sequences) / plan.hiddenStates);
  throw new ReamError("MEMORY_LIMIT", `${planned} is more than the limit of ${limit}`, {
    where: "--memory-limit",
    hint:
      fitting >= 1
        ? `About ${fitting} sequences of ${plan.length} tokens fit instead of ${plan.sequences}.`
        : `All but the hidden states takes ${formatBytes(fixed)}, however few tokens there are.`,
  });
}
