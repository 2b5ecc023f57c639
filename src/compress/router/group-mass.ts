import type { RouterDescription } from "../../model/description.js";

/**
 * What the original router gives to each group of a plan `[tokens, groups]`: the sum of its members' scores, of sigmoids at
 * most 1, of a softmax as a share of what all groups have (experts that were dropped are in none).
 *
 * @param scores of the original router `[tokens, experts]`
 * @param groups members of each group
 */
export function groupMass(
  scores: Float32Array,
  experts: number,
  groups: readonly (readonly number[])[],
  kind: RouterDescription["scores"],
): Float32Array {
  const count = groups.length;
  const mass = new Float32Array((scores.length / experts) * count);
  for (let token = 0; token * experts < scores.length; token++) {
    const own = mass.subarray(token * count, (token + 1) * count);
    for (const [g, members] of groups.entries()) {
      for (const member of members) own[g]! += scores[token * experts + member]!;
    }
    const total = own.reduce((sum, value) => sum + value, 0);
    for (let g = 0; g < count; g++) own[g] = kind === "sigmoid" ? Math.min(1, own[g]!) : own[g]! / (total || 1);
  }
  return mass;
}

/**
 * Selection biases `[groups]` with which a group's score is, in the mean over tokens, what its members were chosen by: the
 * largest of their scores with bias.
 *
 * @param before scores and selection biases of the original router
 * @param scores of the new one `[tokens, groups]`
 */
export function groupBias(
  before: { readonly scores: Float32Array; readonly bias: Float32Array },
  scores: Float32Array,
  groups: readonly (readonly number[])[],
): Float32Array {
  const [experts, count] = [before.bias.length, groups.length];
  const tokens = scores.length / count;
  const sums = new Float64Array(count);
  for (let token = 0; token < tokens; token++) {
    for (const [g, members] of groups.entries()) {
      const chosenBy = members.map((member) => before.scores[token * experts + member]! + before.bias[member]!);
      sums[g]! += Math.max(...chosenBy) - scores[token * count + g]!;
    }
  }
  return Float32Array.from(sums, (sum) => sum / tokens);
}
