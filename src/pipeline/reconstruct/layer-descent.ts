import { decode } from "../../checkpoint/dtypes.js";
import type { Tensor } from "../../checkpoint/tensor.js";
import { type DescentProblem, descend } from "../../compress/reconstruct/descent.js";
import { noDomainWorse, relative } from "../../compress/reconstruct/refit.js";
import type { RefitErrors, Residuals } from "../../compress/reconstruct/residuals.js";
import { addBack, subtractAll } from "../../compress/reconstruct/sweep.js";
import { type ExpertTokens, TokenPairs } from "../../compress/reconstruct/token-pairs.js";
import type { ExpertTensors } from "../../engine/backend.js";
import type { JoinedExperts, JoinedMatrices } from "../../engine/descent.js";
import { DownExperts } from "./down-experts.js";
import { refittedTensor } from "./expert-matrices.js";
import type { RefitExpertsOptions } from "./refit-experts.js";
import type { RefitRound } from "./refit-files.js";
import { DESCENT_BYTES, DESCENT_NUMBERS, RATES } from "./refit-plan.js";

export interface LayerDescentOptions {
  readonly epochs: number;
  readonly seed: number;
  /** The calibration tokens' rows below this are fitted to. */
  readonly fitted: number;
  readonly pause: (share: number) => Promise<void>;
  /** What experts that descend together may take. */
  readonly bytes?: number;
}

/** What came of a descent. */
export interface LayerDescent {
  readonly before: RefitErrors;
  readonly after: RefitErrors;
  readonly rounds: readonly RefitRound[];
  readonly experts: readonly ExpertTensors[];
}

/**
 * Refits all matrices of a layer's experts together by descent, as many experts at a time as `bytes` hold: the
 * others are as they have become so far. What a group has become is kept where less is lost of held-out outputs, and in no
 * domain more than before all; else smaller steps are tried, and in the end it stays as it was.
 *
 * @param residuals y, which is used up
 */
export async function descendLayer(
  residuals: Residuals,
  options: RefitExpertsOptions,
  { epochs, seed, fitted, pause, bytes = DESCENT_BYTES }: LayerDescentOptions,
): Promise<LayerDescent> {
  const { backend, free } = options;
  const experts = [...options.experts];
  // What experts make is asked for once, but where steps are too large.
  const linear = (list: readonly ExpertTensors[]) => new DownExperts({ ...options, experts: list, keptBytes: 0 });
  await subtractAll(backend, linear(experts), residuals, () => pause(0));
  const before = residuals.errors();
  let after = before;
  const rounds: RefitRound[] = [];
  const groups = groupsOf([...free], experts, bytes);
  // Groups are alike: what was too large for one is not tried again.
  let first = 0;
  for (const [index, group] of groups.entries()) {
    const own = (share: number) => pause((index + share) / groups.length);
    const start = linear(experts);
    await addBack(backend, start, residuals, () => own(0), group);
    const problem = problemOf(group, experts, residuals, options, fitted);
    let kept = false;
    for (const rate of RATES.slice(first)) {
      const found = await descend(backend, problem, { rate, epochs, seed: seed + index, pause: own });
      if (found === undefined) continue;
      const next = [...experts];
      for (const [i, slot] of group.entries())
        next[slot] = withMatrices(experts[slot]!, found, i, group.length, options);
      const made = linear(next);
      await subtractAll(backend, made, residuals, () => own(1), group);
      const errors = residuals.errors();
      kept = relative(errors.heldOut) < relative(after.heldOut) && noDomainWorse(errors, before);
      if (kept) {
        after = errors;
        experts.splice(0, experts.length, ...next);
        rounds.push({ part: "all", experts: group.length, rate, epochs, heldOut: errors.heldOut });
        first = RATES.indexOf(rate);
        break;
      }
      await addBack(backend, made, residuals, () => own(1), group);
    }
    if (kept) continue;
    first = RATES.length - 1;
    await subtractAll(backend, start, residuals, () => own(1), group);
  }
  return { before, after, rounds, experts };
}

/** Slots of experts that are refitted together. */
function groupsOf(slots: readonly number[], experts: readonly ExpertTensors[], bytes: number): number[][] {
  const { gate, up, down } = experts[0]!;
  const weights = [gate, up, down].reduce((sum, matrix) => sum + (matrix?.shape.reduce((a, b) => a * b) ?? 0), 0);
  const most = Math.max(1, Math.floor(bytes / (4 * DESCENT_NUMBERS * weights)));
  const count = Math.ceil(slots.length / most);
  return Array.from({ length: count }, (_, i) => slots.filter((_, slot) => slot % count === i));
}

function problemOf(
  group: readonly number[],
  experts: readonly ExpertTensors[],
  residuals: Residuals,
  { moe, routed, targets, inputs }: RefitExpertsOptions,
  fitted: number,
): DescentProblem {
  const own = group.map((slot) => experts[slot]!);
  const tokens = group.map((slot) =>
    [...routed.fitted.listed(slot)].map((tokens): ExpertTokens => {
      const rows = targets.rowsOf(tokens);
      const ones = () => new Float32Array(rows.length).fill(1);
      const factors = targets.scale(ones(), tokens, rows);
      const scalesInputs = moe.router.scalesInputs === true;
      return { rows, factors, inputFactors: scalesInputs ? tokens.weights : undefined };
    }),
  );
  return { experts: joined(own, moe), pairs: new TokenPairs(fitted, tokens), x: inputs, y: residuals.values };
}

/** Experts in float32, each matrix of all of them one after the other. */
function joined(
  experts: readonly ExpertTensors[],
  { experts: { hidden, width }, activation }: RefitExpertsOptions["moe"],
) {
  const of = (part: keyof ExpertTensors): Float32Array | undefined => {
    const first = experts[0]![part];
    if (first === undefined) return undefined;
    const size = first.shape.reduce((a, b) => a * b);
    const values = new Float32Array(experts.length * size);
    for (const [i, expert] of experts.entries()) values.set(decode(expert[part]!), i * size);
    return values;
  };
  const matrices = { gate: of("gate"), up: of("up")!, down: of("down")! };
  const biases = { gateBias: of("gateBias"), upBias: of("upBias"), downBias: of("downBias") };
  return { hidden, width, activation, matrices, ...biases } satisfies JoinedExperts;
}

/** An expert with its part of the matrices, rounded to the dtype that it is stored in. */
function withMatrices(
  expert: ExpertTensors,
  { gate, up, down }: JoinedMatrices,
  index: number,
  count: number,
  { dtype }: RefitExpertsOptions,
): ExpertTensors {
  const rounded = (values: Float32Array, tensor: Tensor): Tensor => {
    const size = values.length / count;
    return refittedTensor(tensor, values.slice(index * size, (index + 1) * size), dtype);
  };
  return {
    ...expert,
    ...(gate && { gate: rounded(gate, expert.gate!) }),
    ...{ up: rounded(up, expert.up), down: rounded(down, expert.down) },
  };
}
