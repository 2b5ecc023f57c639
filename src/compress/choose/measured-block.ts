import type { Backend } from "../../engine/backend.js";
import type { MoeBlock } from "../../model/moe.js";
import { routeLogits } from "../../model/router.js";
import { Random } from "../../random.js";
import { pickRows } from "../rows.js";
import type { Share } from "../steps/step-error.js";

/** Dimensions of a sketch. */
const SKETCH = 32;

/** Bytes of the sketches of a block's tokens. */
const MOST_BYTES = 2 ** 27;

/** Most tokens of a measurement. */
const MOST_TOKENS = 8192;

/** Logit of an expert that is not there: its score is 0, and differences stay finite. */
const ABSENT = -1e30;

/** Some tokens of a layer, as its block sees them. */
export interface MeasuredTokens {
  /** `[tokens, size]`: what the routed experts see. */
  readonly inputs: Float32Array;
  /** `[tokens, experts]`: the router's logits. */
  readonly logits: Float32Array;
  /** `[tokens]`: what an error is multiplied by. */
  readonly importance: Float32Array;
}

/** How many tokens of a block can be measured at once. */
export function measurableTokens({ experts }: MoeBlock): number {
  const size = Math.min(SKETCH, experts.hidden);
  return Math.max(1, Math.min(MOST_TOKENS, Math.floor(MOST_BYTES / (4 * size * experts.count))));
}

/**
 * What a block loses on some tokens when experts are dropped: the squared difference of its output to the original's, tokens
 * routed to what is left. The outputs of all experts are computed once and kept as sketches: their products with a
 * random matrix of 32 columns, whose squared lengths are those of the outputs in expectation (Johnson & Lindenstrauss 1984;
 * Achlioptas 2003). Any set of experts is then a matter of sums.
 */
export class MeasuredBlock {
  private constructor(
    private readonly backend: Backend,
    private readonly block: MoeBlock,
    private readonly logits: Float32Array,
    /** Numbers of a sketch. */
    readonly size: number,
    /** Of each expert `[tokens, size]`, times the importance of tokens. */
    private readonly outputs: readonly Float32Array[],
  ) {
    this.targets = this.combined(new Uint8Array(block.experts.count));
    this.squares = sumOfSquares(this.targets);
  }

  /** Sketches of what the original block makes `[tokens, size]`. */
  private readonly targets: Float32Array;
  readonly squares: number;

  /** Computes all experts of a block for some tokens. @param pause called after each; may throw to stop */
  static async of(
    backend: Backend,
    block: MoeBlock,
    { inputs, logits, importance }: MeasuredTokens,
    pause: () => Promise<void>,
  ): Promise<MeasuredBlock> {
    const { count, hidden } = block.experts;
    const matrix = hidden > SKETCH ? randomSigns(SKETCH, hidden) : undefined;
    const size = Math.min(SKETCH, hidden);
    const factors = inputFactors(backend, block, logits);
    const outputs: Float32Array[] = [];
    for (let e = 0; e < count; e++) {
      const own =
        factors === undefined ? inputs : inputs.map((x, i) => x * factors[Math.floor(i / hidden) * count + e]!);
      const output = backend.expertDown(backend.expertActivation(own, block.experts, e), block.experts, e);
      const sketch = matrix === undefined ? output : backend.product(output, matrix, hidden);
      outputs.push(sketch.map((value, i) => value * importance[Math.floor(i / size)]!));
      await pause();
    }
    return new MeasuredBlock(backend, block, logits, size, outputs);
  }

  get experts(): number {
    return this.block.experts.count;
  }

  /** What is lost of the outputs without some experts. @param dropped `[experts]`: 1 for those that are not there */
  lost(dropped: Uint8Array): Share {
    const outputs = this.combined(dropped);
    let lost = 0;
    for (let i = 0; i < outputs.length; i++) lost += (outputs[i]! - this.targets[i]!) ** 2;
    return { lost, of: this.squares };
  }

  /** The block on every other token, and on the rest. */
  halves(): readonly [MeasuredBlock, MeasuredBlock] {
    const half = (first: 0 | 1) => {
      const { backend, block, logits, size, outputs, experts } = this;
      const own = outputs.map((output) => everyOther(output, size, first));
      return new MeasuredBlock(backend, block, everyOther(logits, experts, first), size, own);
    };
    return [half(0), half(1)];
  }

  /**
   * What is left of the outputs `[tokens, size]` without some experts, and the first numbers of what each of the others adds,
   * side by side `[tokens, kept * count]`.
   */
  left(dropped: Uint8Array, count: number): { readonly residuals: Float32Array; readonly inputs: Float32Array } {
    const { size } = this;
    const slots = new Int32Array(dropped.length);
    let kept = 0;
    for (const [expert, gone] of dropped.entries()) if (gone === 0) slots[expert] = kept++;
    const { topK, selected, weights, tokens } = this.routing(dropped);
    const residuals = this.targets.slice();
    const inputs = new Float32Array(tokens * kept * count);
    for (let pair = 0; pair < selected.length; pair++) {
      const expert = selected[pair]!;
      const output = this.outputs[expert]!;
      const token = Math.floor(pair / topK);
      const to = (token * kept + slots[expert]!) * count;
      for (let i = 0; i < size; i++) {
        const added = weights[pair]! * output[token * size + i]!;
        residuals[token * size + i]! -= added;
        if (i < count) inputs[to + i] = added;
      }
    }
    return { residuals, inputs };
  }

  /**
   * The Gram matrix of the experts' contributions in the original block `[experts, experts]`: for c_te = gamma_te E_e(x_t), 0
   * where a token does not use e, the sum over tokens of c_te c_tf.
   */
  contributionGram(): Float64Array {
    const { experts, size } = this;
    const { topK, selected, weights, tokens } = this.routing(new Uint8Array(experts));
    const gram = new Float64Array(experts ** 2);
    for (let token = 0; token < tokens; token++) {
      for (let i = token * topK; i < (token + 1) * topK; i++) {
        for (let j = token * topK; j <= i; j++) {
          const [a, b] = [selected[i]!, selected[j]!];
          const value = weights[i]! * weights[j]! * dot(this.outputs[a]!, this.outputs[b]!, token * size, size);
          gram[a * experts + b]! += value;
          if (i !== j) gram[b * experts + a]! += value;
        }
      }
    }
    return gram;
  }

  private combined(dropped: Uint8Array): Float32Array {
    const { size } = this;
    const { topK, selected, weights, tokens } = this.routing(dropped);
    const result = new Float32Array(tokens * size);
    for (let pair = 0; pair < selected.length; pair++) {
      const output = this.outputs[selected[pair]!]!;
      const weight = weights[pair]!;
      const begin = Math.floor(pair / topK) * size;
      for (let i = begin; i < begin + size; i++) result[i]! += weight * output[i]!;
    }
    return result;
  }

  /** Where tokens go without some experts; weights are those that outputs are multiplied by. */
  private routing(dropped: Uint8Array) {
    const { backend, block, experts } = this;
    const { selectionBias, expertScale } = block.router;
    const absent = dropped.includes(1);
    const logits = absent ? this.logits.map((value, i) => (dropped[i % experts] === 1 ? ABSENT : value)) : this.logits;
    const bias = absent ? selectionBias?.map((value, e) => (dropped[e] === 1 ? ABSENT : value)) : selectionBias;
    const weights = { selectionBias: bias, expertScale };
    const { routing } = routeLogits(backend, logits, experts, weights, block.description.router);
    return routing.scalesInputs === true ? { ...routing, weights: routing.weights.fill(1) } : routing;
  }
}

/** `[tokens, experts]`: what weights that scale an expert's inputs are, whatever other experts there are (Llama 4). */
function inputFactors(backend: Backend, block: MoeBlock, logits: Float32Array): Float32Array | undefined {
  const { router } = block.description;
  if (router.scalesInputs !== true) return undefined;
  if (router.scores !== "sigmoid" || router.normalise) throw new TypeError("weights of inputs depend on other experts");
  const { scores } = routeLogits(backend, logits, block.experts.count, block.router, router);
  return scores.map((score) => score * (router.scale ?? 1));
}

/** Random signs / sqrt(rows) `[rows, columns]`, always the same. */
function randomSigns(rows: number, columns: number): Float32Array {
  const random = new Random(1);
  const value = 1 / Math.sqrt(rows);
  return Float32Array.from({ length: rows * columns }, () => (random.next() < 0.5 ? value : -value));
}

/** Every other row of values `[rows, columns]`. */
function everyOther(values: Float32Array, columns: number, first: 0 | 1): Float32Array {
  const rows = values.length / columns;
  return pickRows(
    values,
    Array.from({ length: Math.ceil((rows - first) / 2) }, (_, i) => 2 * i + first),
    columns,
  );
}

function dot(a: Float32Array, b: Float32Array, begin: number, size: number): number {
  let sum = 0;
  for (let i = begin; i < begin + size; i++) sum += a[i]! * b[i]!;
  return sum;
}

function sumOfSquares(values: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return sum;
}
