import { encodeFinite } from "../../checkpoint/convert.js";
import { decode } from "../../checkpoint/dtypes.js";
import type { Tensor } from "../../checkpoint/tensor.js";
import { groupOf, type LayerPlan } from "../../compress/plan.js";
import { noDomainWorse, relative } from "../../compress/reconstruct/refit.js";
import { Residuals } from "../../compress/reconstruct/residuals.js";
import { heldOutOnly, splitTokens, type TokenSplit } from "../../compress/reconstruct/split.js";
import { fitRows, type RowProblem, scoresOf } from "../../compress/router/fit-rows.js";
import { groupBias, groupMass } from "../../compress/router/group-mass.js";
import type { Backend } from "../../engine/backend.js";
import { ReamError } from "../../errors.js";
import type { MoeDescription } from "../../model/description.js";
import type { HiddenStates } from "../../model/hidden-states.js";
import type { MoeInput, TokenBatch } from "../../model/layer.js";
import { MoeBlock, type RouterTensors, type StoredExperts } from "../../model/moe.js";
import { LayerTargets } from "../reconstruct/layer-targets.js";
import type { RouterWork } from "./open-router.js";
import type { BlockErrors, LayerRouter, RouterParts } from "./router-files.js";
import { routerTokens } from "./router-plan.js";

/** Steps after which rows are looked at on held-out tokens. */
const LOOKS = [1, 2, 4, 8, 16, 32];

/** lambda as a share of the mean curvature: how far rows go is decided by the steps that are kept. */
const RIDGE = 0.001;

/** The layer whose router is fitted. */
export interface RoutedLayer {
  /** The original router. */
  readonly original: RouterTensors;
  /** The reduced one, and the reduced layer's experts. */
  readonly reduced: RouterTensors;
  readonly experts: StoredExperts;
  readonly moeInput: (hidden: Float32Array) => MoeInput;
}

type Layer = RoutedLayer & { readonly groups: readonly (readonly number[])[] };

/**
 * Fits the router of one reduced layer, so that its scores follow what the original router gives to each group of experts.
 * Kept is what makes the reduced block's output on held-out tokens nearer to the original block's.
 */
export class LayerRouterFit {
  private readonly split: TokenSplit;
  /** Of held-out tokens. */
  private readonly targets: LayerTargets;

  constructor(
    private readonly backend: Backend,
    private readonly work: RouterWork,
    private readonly layer: number,
    private readonly moe: MoeDescription,
    batches: readonly TokenBatch[],
  ) {
    this.split = splitTokens(batches, routerTokens(moe.experts.hidden), work.plan.seed);
    if (this.split.rows === this.split.fitted) {
      throw new ReamError("ROUTER_TOKENS", "one sequence of calibration text is too few to fit routers", {
        where: "--router-calibration",
        hint: "Give more text: some sequences are held out, to tell which router is better.",
      });
    }
    this.targets = new LayerTargets(backend, moe, heldOutOnly(this.split));
  }

  /** Whether a batch has tokens that the original block's output is needed of. */
  uses(batch: number): boolean {
    return this.targets.uses(batch);
  }

  /** Takes what the original block makes of a batch `[tokens, size]`, of hidden states after the mixer. */
  observe(batch: number, mixed: Float32Array, output: Float32Array): void {
    this.targets.observe(batch, mixed, output);
  }

  /**
   * Fits the router and keeps what came of it. Everything has been observed.
   *
   * @param hidden hidden states after the mixer, of each batch
   * @param pause may throw to stop
   */
  async run(
    plan: LayerPlan,
    hidden: HiddenStates,
    layer: RoutedLayer,
    pause: (share: number) => Promise<void>,
  ): Promise<LayerRouter> {
    const groups = plan.keptExperts.map((kept) => groupOf(plan, kept).members);
    if (groups.every(({ length }) => length === 1)) return this.keep({ kept: false }, layer.reduced);
    const { backend, split } = this;
    const [fitted, heldOut] = this.inputs(hidden, layer.moeInput);
    const { problem, scores } = this.problem(fitted.router, { ...layer, groups });
    const block = await MoeBlock.load(backend, this.moe, { ...layer.reduced, experts: layer.experts });
    try {
      const before = this.errors(block, heldOut);
      let best = { kept: false, steps: 0, biases: false, after: before };
      let parts: RouterParts = layer.reduced;
      let step = 0;
      for (const rows of fitRows(backend, problem)) {
        await pause(++step / LOOKS.at(-1)!);
        if (LOOKS.includes(step)) {
          for (const candidate of this.candidates(rows, problem, scores, { ...layer, groups })) {
            const after = this.errors(block, heldOut, candidate);
            if (!(relative(after.heldOut) < relative(best.after.heldOut)) || !noDomainWorse(after, before)) continue;
            best = { kept: true, steps: step, biases: candidate.selectionBias !== layer.reduced.selectionBias, after };
            parts = candidate;
          }
        }
        if (step === LOOKS.at(-1)) break;
      }
      const { kept, ...fit } = best;
      const tokens = { fitted: split.fitted, heldOut: split.rows - split.fitted };
      return await this.keep({ kept, fit: { ...fit, tokens, before } }, parts);
    } finally {
      block.dispose();
    }
  }

  /** What router and experts see of the fitted tokens, and of those held out. */
  private inputs(hidden: HiddenStates, moeInput: RoutedLayer["moeInput"]): [MoeInput, MoeInput] {
    const { rows, fitted, rowOf } = this.split;
    let all: MoeInput | undefined;
    const sizes = { router: 0, experts: 0 };
    for (const [batch, own] of rowOf.entries()) {
      if (!own.some((row) => row >= 0)) continue;
      const input = moeInput(hidden.get(batch));
      if (all === undefined) {
        sizes.router = input.router.length / own.length;
        sizes.experts = input.experts.length / own.length;
        all = {
          router: new Float32Array(rows * sizes.router),
          experts: new Float32Array((rows - fitted) * sizes.experts),
        };
      }
      for (const [token, row] of own.entries()) {
        if (row < 0) continue;
        const take = (values: Float32Array, size: number) => values.subarray(token * size, (token + 1) * size);
        all.router.set(take(input.router, sizes.router), row * sizes.router);
        if (row >= fitted) all.experts.set(take(input.experts, sizes.experts), (row - fitted) * sizes.experts);
      }
    }
    const { router, experts } = all!;
    const cut = fitted * sizes.router;
    return [
      { router: router.subarray(0, cut), experts: new Float32Array(0) },
      { router: router.subarray(cut), experts },
    ];
  }

  /** What rows are fitted to, and the scores of the original router `[tokens, experts]`. */
  private problem(
    x: Float32Array,
    { original, reduced, groups }: Layer,
  ): { problem: RowProblem; scores: Float32Array } {
    const { backend, moe } = this;
    const { scores: kind } = moe.router;
    const size = original.router.shape[1]!;
    const weight = backend.matrix(original.router);
    const bias = original.routerBias && decode(original.routerBias);
    const scores = scoresOf(backend, backend.linear(x, weight, bias), moe.experts.count, kind);
    weight.dispose();
    const problem = {
      inputs: reduced.routerBias === undefined ? x : besides(x, size, new Float32Array(x.length / size).fill(1)),
      columns: reduced.routerBias === undefined ? size : size + 1,
      targets: groupMass(scores, moe.experts.count, groups, kind),
      start: reduced.routerBias
        ? besides(decode(reduced.router), size, decode(reduced.routerBias))
        : decode(reduced.router),
      ...{ scores: kind, ridge: RIDGE },
    };
    return { problem, scores };
  }

  /** Routers with these rows: with the selection biases as they are and, where there are any, with those that fit. */
  private *candidates(
    rows: Float32Array,
    { inputs, columns, scores: kind }: RowProblem,
    scores: Float32Array,
    { original, reduced, groups }: Layer,
  ): Generator<RouterParts> {
    const { backend } = this;
    const { router, routerBias, selectionBias } = reduced;
    const size = router.shape[1]!;
    const own = {
      router: encoded(router, routerBias === undefined ? rows : columnsOf(rows, columns, 0, size)),
      ...(routerBias && { routerBias: encoded(routerBias, columnsOf(rows, columns, size, columns)) }),
    };
    yield { ...own, ...(selectionBias && { selectionBias }) };
    if (selectionBias === undefined) return;
    const now = scoresOf(backend, backend.product(inputs, rows, columns), groups.length, kind);
    const before = { scores, bias: decode(original.selectionBias!) };
    yield { ...own, selectionBias: encoded(selectionBias, groupBias(before, now, groups)) };
  }

  /** What the reduced block, with another router, loses of the original one's outputs on held-out tokens. */
  private errors(block: MoeBlock, input: MoeInput, parts?: RouterParts): BlockErrors {
    const { outputs, importance, size, split } = this.targets;
    const { output } = parts === undefined ? block.run(input) : block.runWith(parts, input);
    const residuals = new Residuals(outputs.slice(), size, 0, split.heldOut);
    for (let i = 0; i < output.length; i++) output[i]! *= importance[Math.floor(i / size)]!;
    residuals.subtract(Int32Array.from(importance.keys()), output);
    const { heldOut: all, domains } = residuals.errors();
    return { heldOut: all, domains };
  }

  private async keep(fit: Omit<LayerRouter, "layer">, parts: RouterParts): Promise<LayerRouter> {
    const report = { layer: this.layer, ...fit };
    await this.work.files.write(report, parts);
    return report;
  }
}

function encoded({ dtype, shape }: Tensor, values: Float32Array): Tensor {
  return { dtype, shape, data: encodeFinite(dtype, values) };
}

/** `[rows, size]` with one more column. */
function besides(values: Float32Array, size: number, last: Float32Array): Float32Array {
  const result = new Float32Array(values.length + last.length);
  for (const [row, value] of last.entries()) {
    result.set(values.subarray(row * size, (row + 1) * size), row * (size + 1));
    result[(row + 1) * (size + 1) - 1] = value;
  }
  return result;
}

/** Columns `[begin, end)` of `[rows, columns]`. */
function columnsOf(values: Float32Array, columns: number, begin: number, end: number): Float32Array {
  return values.filter((_, i) => i % columns >= begin && i % columns < end);
}
