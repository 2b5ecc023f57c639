import type { ExpertChoice, ExpertGroups, Routing } from "../backend.js";
import { rowsOf } from "./products.js";

/** See `Backend.chooseExperts`. */
export function chooseExperts(
  numbers: Float32Array,
  scores: Float32Array,
  bias: Float32Array | undefined,
  experts: number,
  choice: ExpertChoice,
): Pick<Routing, "selected" | "weights"> {
  const { topK, groups } = choice;
  const tokens = rowsOf(numbers, experts, "chooseExperts");
  if (topK > experts) throw new RangeError(`chooseExperts: ${topK} of ${experts} experts`);
  if (scores.length !== numbers.length) throw new RangeError("chooseExperts: the scores do not fit");
  if (bias !== undefined && bias.length !== experts) throw new RangeError("chooseExperts: the bias does not fit");
  if (groups !== undefined) checkGroups(groups, experts);
  const selected = new Int32Array(tokens * topK);
  const weights = new Float32Array(tokens * topK);
  for (let token = 0; token < tokens; token++) {
    const own = numbers.slice(token * experts, (token + 1) * experts);
    if (bias !== undefined) for (let e = 0; e < experts; e++) own[e]! += bias[e]!;
    if (groups !== undefined) leaveOtherGroups(own, groups);
    const chosen = best(own, topK).sort();
    selected.set(chosen, token * topK);
    weights.set(weightsOf(scores.subarray(token * experts, (token + 1) * experts), chosen, choice), token * topK);
  }
  return { selected, weights };
}

function checkGroups({ count, kept, score }: ExpertGroups, experts: number): void {
  const least = score === "max" ? 1 : 2;
  if (experts % count === 0 && experts / count >= least && kept >= 1 && kept <= count) return;
  throw new RangeError(`chooseExperts: ${experts} experts are not ${count} groups, ${kept} of them kept`);
}

/** The chosen scores, normalised and scaled as the model does it. */
function weightsOf(
  scores: Float32Array,
  chosen: Int32Array,
  { normalise, epsilon = 0, floor = 0, scale = 1 }: ExpertChoice,
): Float32Array {
  const sum = chosen.reduce((sum, expert) => sum + scores[expert]!, epsilon);
  const divisor = normalise ? Math.max(sum, floor) : 1;
  return Float32Array.from(chosen, (expert) => (scores[expert]! / divisor) * scale);
}

/** Makes the experts of all groups but the best unelectable: -Infinity. */
function leaveOtherGroups(numbers: Float32Array, { count, kept, score }: ExpertGroups): void {
  const size = numbers.length / count;
  const ranks = Float64Array.from({ length: count }, (_, group) => {
    const members = numbers.subarray(group * size, (group + 1) * size);
    return best(members, score === "max" ? 1 : 2).reduce((sum, member) => sum + members[member]!, 0);
  });
  const stay = best(ranks, kept);
  for (let group = 0; group < count; group++) {
    if (!stay.includes(group)) numbers.fill(-Infinity, group * size, (group + 1) * size);
  }
}

/** Indices of the largest values, the largest first; of equal ones the lower index. */
function best(values: Float32Array | Float64Array, count: number): Int32Array {
  const indices = new Int32Array(count);
  // Insertion into the best so far keeps equal values in index order.
  let filled = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (filled === count && !(value > values[indices[count - 1]!]!)) continue;
    let place = filled < count ? filled++ : count - 1;
    for (; place > 0 && value > values[indices[place - 1]!]!; place--) indices[place] = indices[place - 1]!;
    indices[place] = i;
  }
  return indices;
}
