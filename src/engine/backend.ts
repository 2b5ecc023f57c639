import type { IntegerGrid } from "../checkpoint/quantised/integer-grid.js";
import type { DType, Tensor } from "../checkpoint/tensor.js";
import type { DescentOperations } from "./descent.js";
import type { RoundedMatrix, Rounding } from "./rounding.js";
import type { ScaledCodes, ScaledValues } from "./scaled-codes.js";

/**
 * Type of the inputs of products with weights: `bf16` rounds activations and weights to bfloat16 (round to nearest
 * even) and accumulates in float32; `f32` keeps both in float32.
 */
export type Precision = "bf16" | "f32";

/** A weight `[rows, columns]` = `[out, in]`, made ready for products. Free it when its layer is done. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  dispose(): void;
}

/** What a gated unit makes of gate and up: a name means that function of the gate, times up. */
export type Activation = "silu" | "gelu" | "gelu_tanh" | "sigmoid" | "relu" | ClampedSwiglu | ClampedSilu;

/** (u + 1) * g * sigmoid(alpha * g) for g = min(gate, limit), u = up clamped to -limit .. limit (gpt-oss). */
export interface ClampedSwiglu {
  readonly kind: "clamped_swiglu";
  readonly alpha: number;
  /** Not negative. */
  readonly limit: number;
}

/** min(silu(gate), limit) * u for u = up clamped to -limit .. limit (Step 3.5). */
export interface ClampedSilu {
  readonly kind: "clamped_silu";
  /** Not negative. */
  readonly limit: number;
}

/**
 * The weights of one expert: `down(activation(gate x, up x))`. gate, up `[width, hidden]`, down `[hidden, width]`. Without a
 * gate, up takes its place: with "relu", an expert is down(relu(up x)²) (Nemotron-H). Biases are added to the products, of
 * any float dtype; either all experts of a layer have a given one, or a gate, or none has.
 */
export interface ExpertTensors {
  readonly gate?: Tensor | undefined;
  readonly up: Tensor;
  readonly down: Tensor;
  /** `[width]` */
  readonly gateBias?: Tensor | undefined;
  /** `[width]` */
  readonly upBias?: Tensor | undefined;
  /** `[hidden]` */
  readonly downBias?: Tensor | undefined;
}

/** All routed experts of a layer, made ready for products. */
export interface Experts {
  readonly count: number;
  readonly hidden: number;
  readonly width: number;
  /** None yet, of the same form and activation. */
  empty(): Experts;
  /** Makes one more expert ready, of the form of the first. */
  add(expert: ExpertTensors): void;
  /** Takes an expert of others, of the same form and activation, as the next one, without a copy. */
  share(from: Experts, expert: number): void;
  /** Gives the memory back, except that of experts which others share. */
  dispose(): void;
}

/** Which experts each token uses, in ascending index order, and the weight with which each output is combined. */
export interface Routing {
  readonly tokens: number;
  readonly topK: number;
  /** `[tokens, topK]` */
  readonly selected: Int32Array;
  /** `[tokens, topK]` */
  readonly weights: Float32Array;
  /**
   * The weights multiply the experts' inputs instead of their outputs (Llama 4), which is done to gate x and up x: a
   * `RangeError` where these have biases.
   */
  readonly scalesInputs?: boolean | undefined;
}

/** Consecutive groups of equally many experts, of which each token uses the best. */
export interface ExpertGroups {
  readonly count: number;
  /** Groups that a token chooses its experts from. */
  readonly kept: number;
  /** What groups are ranked by: their best expert (DeepSeek-V2), or the sum of their best two (DeepSeek-V3). */
  readonly score: "max" | "sum-of-two";
}

/** How many experts a token uses, from which groups, and what makes weights of their scores. */
export interface ExpertChoice {
  readonly topK: number;
  /** Experts are chosen from some groups only. `count` = 1: from all experts. */
  readonly groups?: ExpertGroups;
  /** Divide the chosen scores by their sum (norm_topk_prob). */
  readonly normalise: boolean;
  /** Added to that sum. */
  readonly epsilon?: number;
  /** The sum is taken to be at least this (ERNIE). */
  readonly floor?: number;
  /** Factor on the weights (routed_scaling_factor). */
  readonly scale?: number;
}

/** Sums of the activations of routed pairs: factor times activation is added to the row of the pair's expert. */
export interface ActivationSums {
  /** `[tokens, topK]` */
  readonly factors: Float32Array;
  /** `[count, width]`, added to in float64. */
  readonly sums: Float64Array;
}

/** Angles by which rotary embeddings turn pairs of dimensions of a head. */
export interface RotaryTable {
  /** Positions of the table. */
  readonly length: number;
  /** `[length, rotary / 2]` */
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  /** halves: dimension i pairs with i + rotary / 2 (GPT-NeoX); adjacent: 2i with 2i + 1 (RoFormer, DeepSeek). */
  readonly pairing: "halves" | "adjacent";
}

/** Causal attention over `sequences` sequences of `length` tokens that start at position 0. */
export interface AttentionShape {
  readonly sequences: number;
  readonly length: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  /** Size of a head of values and of the result; undefined: headSize. */
  readonly valueSize?: number | undefined;
  /** Factor on the dot products, usually headSize^-1/2. */
  readonly scale: number;
  /** Position i sees j only if i - j < window; undefined: all earlier positions. */
  readonly window?: number | undefined;
  /** Position i sees j only if floor(i / chunk) = floor(j / chunk). */
  readonly chunk?: number | undefined;
  /** `[heads]`: one more logit of each head in the softmax, not scaled, whose value is 0 (gpt-oss). */
  readonly sinks?: Float32Array | undefined;
  /** `[sequences, length]`: 0 hides a token from every other as a key (padding). Undefined: nothing is hidden. */
  readonly mask?: Uint8Array | undefined;
}

/** Keys and values that one layer keeps of the tokens it has seen, by sequence. Sequences are numbered by the caller. */
export interface KeyValueCache {
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly valueSize: number;
  /** Bytes that are in use. */
  readonly bytes: number;
  /** Tokens that are kept of a sequence; 0 if it is not there. */
  length(sequence: number): number;
  /** Forgets a sequence's tokens from `length` on; 0 forgets all and gives its memory to other sequences. */
  truncate(sequence: number, length: number): void;
  dispose(): void;
}

/** Rows of a call that are the next tokens of one sequence. */
export interface Segment {
  /** A whole number from 0 to 2^32 - 1. */
  readonly sequence: number;
  readonly tokens: number;
  /**
   * The first `length` tokens of another sequence come before this one's own: continuations share their context so. They
   * may be appended in the same call.
   */
  readonly prefix?: { readonly sequence: number; readonly length: number } | undefined;
}

/** Attention of new tokens to those that a cache keeps. See `AttentionShape`. */
export interface CachedAttentionShape {
  readonly heads: number;
  readonly scale: number;
  readonly window?: number | undefined;
  readonly chunk?: number | undefined;
  readonly sinks?: Float32Array | undefined;
}

/** Rows of a recurrent operation's call that are the next tokens of one sequence. */
export interface RecurrentSegment {
  readonly tokens: number;
  /**
   * What the sequence's earlier tokens left behind; replaced by what its last one leaves. Undefined: it starts from
   * zeros, and nothing is kept.
   */
  readonly state: Float32Array | undefined;
}

/** Heads of the gated delta rule: head h of the values uses head floor(h / (valueHeads / keyHeads)) of queries and keys. */
export interface DeltaRuleShape {
  readonly keyHeads: number;
  /** A multiple of `keyHeads`. */
  readonly valueHeads: number;
  readonly keySize: number;
  readonly valueSize: number;
}

/** Heads of linear attention: head h of the values uses head floor(h / (heads / keyHeads)) of queries and keys. */
export interface LinearAttentionShape {
  readonly heads: number;
  /** A divisor of `heads`; undefined: as many. */
  readonly keyHeads?: number | undefined;
  readonly keySize: number;
  readonly valueSize: number;
}

/**
 * The factor R of a positive definite matrix H = R Rᵀ, R upper triangular, its columns taken in some order. Free it when its
 * layer is done.
 */
export interface GramFactor {
  readonly columns: number;
  dispose(): void;
}

/** Which weights SparseGPT zeroes. */
export type PruningPattern =
  /** `counts[b]` of the weights of all rows in block b of `size` columns. */
  | { readonly kind: "blocks"; readonly size: number; readonly counts: Int32Array }
  /** `zeros` in each run of `of` columns of a row. */
  | { readonly kind: "n:m"; readonly zeros: number; readonly of: number };

/** What GPTQ makes of a matrix. See `IntegerCodes`. */
export interface GptqCodes {
  /** `[rows, columns]` */
  readonly codes: Int8Array;
  /** `[rows, groups]` */
  readonly scales: Float32Array;
  readonly zeros: Int8Array;
  readonly error: number;
}

/**
 * The closed set of operations that models and methods are written in. All arrays are row-major float32 unless said
 * otherwise; results are new arrays unless the name says `add`. Reductions have a fixed order, whatever the number of
 * threads. Shapes that do not fit throw a `RangeError`: they are mistakes of the caller, not of the user.
 */
export interface Backend extends DescentOperations {
  readonly name: "reference" | "native";
  readonly precision: Precision;
  /** What numbers may depend on besides name and precision: the instruction set. Never the number of threads. */
  readonly variant: string;
  /** For people: the instruction set in use and the number of threads. */
  readonly description: string;
  /** Bytes that were used before and are kept: new weights take them without asking the system. */
  readonly keptBytes: number;

  /** Makes a weight `[rows, columns]` of any float dtype ready for `linear`. */
  matrix(weight: Tensor): Matrix;

  /** x `[tokens, columns]` times the transposed matrix, plus bias `[rows]`: `[tokens, rows]`. */
  linear(x: Float32Array, matrix: Matrix, bias?: Float32Array): Float32Array;

  /**
   * x `[tokens, heads, columns]`, each head times the transposed matrix of its own, all of one shape:
   * `[tokens, heads, rows]`. A head's results are those of `linear`.
   */
  headLinear(x: Float32Array, heads: readonly Matrix[]): Float32Array;

  /** x / sqrt(mean(x²) + epsilon) * weight over rows of `weight.length` values (Zhang & Sennrich 2019). */
  rmsNorm(x: Float32Array, weight: Float32Array, epsilon: number): Float32Array;

  /** (x - mean) / sqrt(variance + epsilon) * weight + bias over rows of `weight.length` values (Ba et al. 2016). */
  layerNorm(x: Float32Array, weight: Float32Array, bias: Float32Array | undefined, epsilon: number): Float32Array;

  /**
   * Rotates x `[sequences * table.length, heads, headSize]` in place (RoFormer); the position of a token is its index in
   * its sequence.
   */
  rotate(x: Float32Array, heads: number, headSize: number, table: RotaryTable): void;

  /**
   * Softmax attention with grouped keys and values: q `[tokens, heads, headSize]`, k `[tokens, keyValueHeads, headSize]`,
   * v `[tokens, keyValueHeads, valueSize]`, result `[tokens, heads, valueSize]`. A query that sees no key yields zeros.
   */
  attention(q: Float32Array, k: Float32Array, v: Float32Array, shape: AttentionShape): Float32Array;

  /**
   * As `rotate`, with the position of each token given `[tokens]`. One that is not in the table is a `RangeError`.
   */
  rotateAt(x: Float32Array, heads: number, headSize: number, table: RotaryTable, positions: Int32Array): void;

  /**
   * An empty cache. With bf16 precision it keeps keys and values as bfloat16 (round to nearest even), else as float32;
   * queries and sums are float32 in both.
   */
  keyValueCache(keyValueHeads: number, headSize: number, valueSize?: number): KeyValueCache;

  /**
   * Appends k `[tokens, keyValueHeads, headSize]` and v `[tokens, keyValueHeads, valueSize]` to the sequences of the
   * segments, whose rows follow each other, and returns the attention of q `[tokens, heads, headSize]`: each token sees its segment's prefix, then the tokens of
   * its own sequence up to itself. A token's result does not depend on the other segments of the call, nor on how its
   * sequence was cut into calls, bit by bit (as long as keys and values are finite).
   *
   * A sequence has one segment of a call at most, with the same prefix in every call. All segments are appended before
   * any is attended. A position is counted from the start of the prefix, also for window and chunk. A prefix means the tokens
   * that its sequence itself keeps, not the prefix of that one, and is as long as them at most. What does not fit is a
   * `RangeError`, and then nothing was appended.
   */
  attendCached(
    q: Float32Array,
    k: Float32Array,
    v: Float32Array,
    cache: KeyValueCache,
    segments: readonly Segment[],
    shape: CachedAttentionShape,
  ): Float32Array;

  /**
   * Causal depthwise convolution of x `[tokens, channels]` with weight `[channels, kernel]` and bias `[channels]`:
   * out[t, c] = activation(bias[c] + sum_i weight[c, i] * x[t - kernel + 1 + i, c]).
   *
   * Rows of the segments follow each other. A state `[kernel - 1, channels]` is the last inputs, oldest first. For this
   * and the other two operations on recurrent segments: a token's result depends neither on the other segments of the
   * call nor on how its sequence was cut into calls, bit by bit. States that share memory are a `RangeError`.
   */
  convolution(
    x: Float32Array,
    weight: Float32Array,
    bias: Float32Array | undefined,
    kernel: number,
    activation: "silu" | "none",
    segments: readonly RecurrentSegment[],
  ): Float32Array;

  /**
   * Gated delta rule (Yang et al. 2024, arXiv 2412.06464): `[tokens, valueHeads, valueSize]`. A row of qkv is q and k
   * `[keyHeads, keySize]` and v `[valueHeads, valueSize]`. q and k are scaled to unit length (x / sqrt(sum x² + 1e-6)),
   * q by keySize^-1/2. For each head, state S `[keySize, valueSize]` and gate g:
   * S[i, :] *= e^g[i]; S += k (beta (v - Sᵀ k))ᵀ; o = Sᵀ q.
   *
   * logDecay is g: `[tokens, valueHeads]`, or `[tokens, valueHeads, keySize]` for one of each channel of the key (Kimi
   * Linear). beta `[tokens, valueHeads]`. A state is `[valueHeads, keySize, valueSize]`.
   */
  deltaRule(
    qkv: Float32Array,
    logDecay: Float32Array,
    beta: Float32Array,
    shape: DeltaRuleShape,
    segments: readonly RecurrentSegment[],
  ): Float32Array;

  /**
   * Linear attention with a decay: `[tokens, heads, valueSize]`. A row of qkv is q and k `[keyHeads, keySize]` and v
   * `[heads, valueSize]`. For each head: S = e^logDecay S + k vᵀ; o = Sᵀ q. logDecay is `[heads]` (lightning attention, Qin
   * et al. 2024, arXiv 2401.04658) or `[tokens, heads]` (Mamba-2, Dao & Gu 2024, arXiv 2405.21060). A state is
   * `[heads, keySize, valueSize]`.
   */
  linearAttention(
    qkv: Float32Array,
    logDecay: Float32Array,
    shape: LinearAttentionShape,
    segments: readonly RecurrentSegment[],
  ): Float32Array;

  /** Row-wise softmax of logits `[tokens, columns]`. */
  softmax(logits: Float32Array, columns: number): Float32Array;

  /**
   * The topK experts of each token with the largest numbers `[tokens, experts]`, to which bias `[experts]` is added, in
   * ascending order; of equal ones, and of equal groups, the lower index. Their weights are made of scores
   * `[tokens, experts]`. Both results are `[tokens, topK]`.
   */
  chooseExperts(
    numbers: Float32Array,
    scores: Float32Array,
    bias: Float32Array | undefined,
    experts: number,
    choice: ExpertChoice,
  ): Pick<Routing, "selected" | "weights">;

  /** Makes factor * sums + termsFactor * terms of `sums`, each number computed in float64. */
  combine(sums: Float32Array, factor: number, terms: Float32Array, termsFactor: number): void;

  /** Element-wise gated activation. */
  gated(gate: Float32Array, up: Float32Array, activation: Activation): Float32Array;

  /** Makes the routed experts of a layer ready. All have the same shape. */
  experts(experts: readonly ExpertTensors[], activation: Activation): Experts;

  /**
   * The routed block: output `[tokens, hidden]` = sum over selected experts of weight * E(x), and norms `[tokens, topK]`
   * = ||E(x)|| of each routed pair, not weighted. Where the weights scale inputs: the sum of E(weight * x), and its
   * terms' norms.
   *
   * @param activations where the activations of the routed pairs are summed, which are there anyway
   */
  routed(
    x: Float32Array,
    experts: Experts,
    routing: Routing,
    activations?: ActivationSums,
  ): { output: Float32Array; norms: Float32Array };

  /** Activation of one expert, activation(gate x, up x), for all tokens: `[tokens, width]`, into `out` where given. */
  expertActivation(x: Float32Array, experts: Experts, expert: number, out?: Float32Array): Float32Array;

  /** Outputs of one expert for given activations `[tokens, width]`: `[tokens, hidden]`. */
  expertDown(activation: Float32Array, experts: Experts, expert: number): Float32Array;

  /**
   * Adds, for every expert e, the sum over tokens of factors[t, e] * h_e(x_t) to `sums` `[count, width]`.
   * factors `[tokens, count]`; undefined: 1 everywhere. Accumulates in float64.
   */
  addGatedActivations(sums: Float64Array, x: Float32Array, experts: Experts, factors: Float32Array | undefined): void;

  /**
   * Adds, for every pair of experts, the sum over tokens of the cosine between their outputs E_i(x_t) and E_j(x_t) to
   * `sums` `[count, count]` (Eq. 4 and 8 of the REAM paper to the letter). A zero output has cosine 0.
   */
  addOutputCosines(sums: Float64Array, x: Float32Array, experts: Experts): void;

  /**
   * Adds aᵀ b to `sums` `[m, n]` for a `[tokens, m]`, b `[tokens, n]`, float32 inputs, accumulated in float64 by blocks.
   * `rows`: a or b is these rows of the array that is given.
   */
  addTransposedProduct(
    sums: Float64Array,
    a: Float32Array,
    b: Float32Array,
    m: number,
    n: number,
    rows?: { readonly a?: Int32Array; readonly b?: Int32Array },
  ): void;

  /** Adds the squares of each column of `rows` `[tokens, width]` to `sums` `[width]`, in float64, row after row. */
  addColumnSquares(sums: Float64Array, rows: Float32Array): void;

  /**
   * a bᵀ for a `[m, k]` and b `[n, k]` in float32: `[m, n]`. `rows`: a is these rows of the array that is given; `factors`
   * `[m, n]`: what each number is multiplied by.
   */
  product(
    a: Float32Array,
    b: Float32Array,
    k: number,
    options?: { readonly rows?: Int32Array; readonly factors?: Float32Array },
  ): Float32Array;

  /**
   * Adds sum over some rows x `[*, columns]` of (f ∘ G (f ∘ V x)) xᵀ to `sums` `[width, columns]`, for factors f
   * `[rows, width]`, V `[width, columns]` and a symmetric G `[width, width]`; float32 products, accumulated in float64 by blocks.
   */
  addGatedProduct(
    sums: Float64Array,
    x: Float32Array,
    rows: Int32Array,
    factors: Float32Array,
    v: Float32Array,
    g: Float32Array,
    columns: number,
  ): void;

  /**
   * Takes a bᵀ in float32, for a `[rows, k]` and b `[n, k]`, from some rows of values `[*, n]`. A row that comes twice is a
   * `RangeError`.
   */
  subtractProduct(values: Float32Array, rows: Int32Array, a: Float32Array, b: Float32Array, k: number): void;

  /**
   * Linear assignment (Jonker & Volgenant 1987): the permutation p that minimises sum_i cost[i, p[i]], for each cost of
   * `[count, n, n]`: `[count, n]`. Solved in float64, as scipy.optimize.linear_sum_assignment does.
   */
  assignment(cost: Float64Array, n: number): Int32Array;

  /**
   * Adds factor * tensor to `sums` in float32, sums `[rows, columns]` like the tensor. With `rows`, row i of the result
   * takes row rows[i] of the tensor; with `columns` likewise for columns.
   */
  addScaled(
    sums: Float32Array,
    tensor: Tensor,
    factor: number,
    permutation?: { readonly axis: "rows" | "columns"; readonly order: Int32Array },
  ): void;

  /**
   * Adds xᵀ x to the upper triangle of `sums` `[columns, columns]`, diagonal included, for x `[tokens, columns]`, float32
   * inputs, accumulated in float64 by blocks. What is below the diagonal stays as it is.
   * `anew`: what the upper triangle held before is forgotten. `rows`: x is these rows of the array that is given.
   */
  addGram(sums: Float64Array, x: Float32Array, columns: number, anew?: boolean, rows?: Int32Array): void;

  /**
   * trace(D H Dᵀ) in float64 for the difference D `[rows, columns]` and H `[columns, columns]` symmetric, of which the
   * upper triangle is read.
   */
  outputError(difference: Float32Array, gram: Float64Array): number;

  /**
   * Zeroes in place the `zeros` weights with the smallest |w_ij| norms[j] (float32; norms undefined: 1) of each `span`
   * consecutive numbers of weight `[rows, columns]`. A span is all of them, a row, or divides a row. Among equals those
   * that come first; NaN counts as largest.
   */
  zeroSmallest(weight: Float32Array, columns: number, span: number, zeros: number, norms?: Float32Array): void;

  /**
   * The factor of H + diag(added) for `gram` `[columns, columns]`, of which the upper triangle is read, and added
   * `[columns]`. `order`: which column comes first, second and so on; undefined: as they are. Undefined result: the sum is
   * not positive definite as far as float32 can tell.
   */
  factorGram(gram: Float64Array, added: Float64Array, order: Int32Array | undefined): GramFactor | undefined;

  /**
   * X `[rows, columns]` with X H = B for B `[rows, columns]` and a factor of H. A factor with an order is a `RangeError`.
   */
  solveGram(factor: GramFactor, b: Float32Array): Float32Array;

  /**
   * SparseGPT of weight `[rows, columns]`, in place (src/compress/weights/sparsegpt.ts). A factor with an order is a
   * `RangeError`. `error` is trace(D H Dᵀ), without what was added to H, in float64 sums of float32 terms.
   */
  sparsegpt(weight: Float32Array, factor: GramFactor, pattern: PruningPattern): { readonly error: number };

  /** GPTQ of weight `[rows, columns]` (src/compress/weights/gptq.ts). `error` as above. */
  gptq(weight: Float32Array, factor: GramFactor, grid: IntegerGrid, scaleDtype: DType): GptqCodes;

  /** The greatest magnitude of a tensor's numbers `[rows, columns]`; NaN where one of them is. */
  largest(weight: Tensor): number;

  /** Rounds a weight `[rows, columns]` of any float dtype to nearest in a format of quantised checkpoints. */
  round(weight: Tensor, rounding: Rounding): RoundedMatrix;

  /** What the codes of a quantised weight mean: (code - zero) * factor in float32, rounded to the dtype. */
  expand(scaled: ScaledCodes): ScaledValues;
}
