import type { ExpertChoice } from "../backend.js";

/** A weight in the layout of the kernels (native/src/packed.rs). */
export interface PackedMatrix {
  dispose(): void;
}

/** The experts of a layer in the layout of the kernels. */
export interface PackedExperts {
  /** Adds the next expert; each weight is a dtype and its bytes. */
  push(
    gateDtype: string | undefined,
    gate: Uint8Array | undefined,
    upDtype: string,
    up: Uint8Array,
    downDtype: string,
    down: Uint8Array,
    gateBias: Float32Array | undefined,
    upBias: Float32Array | undefined,
    downBias: Float32Array | undefined,
  ): void;
  /** Takes an expert of others as the next one, without a copy. */
  share(from: PackedExperts, expert: number): void;
  dispose(): void;
}

/** Keys and values in the layout of the kernels (native/src/cache.rs). */
export interface KeyValues {
  readonly bytes: number;
  length(sequence: number): number;
  truncate(sequence: number, length: number): void;
  dispose(): void;
}

/** A factor in the layout of the kernels (native/src/factor.rs). */
export interface TriangularFactor {
  dispose(): void;
}

/** An activation; `alpha` belongs to "clamped_swiglu", `limit` to it and to "clamped_silu". */
export interface ActivationKind {
  readonly kind: string;
  readonly alpha?: number;
  readonly limit?: number;
}

/** The operations of native/src/bindings.rs. Results go to the arrays named `out`, `output`, `norms` and `sums`. */
export interface Engine {
  /** Name of the instruction set. */
  readonly variant: string;
  readonly threads: number;
  /** Bytes of freed buffers that are kept for the next ones. */
  readonly keptBytes: number;
  matrix(dtype: string, data: Uint8Array, rows: number, columns: number): PackedMatrix;
  /** Sum of the words of a packed weight, wrapping around: its time is that of reading the weight. */
  checksum(matrix: PackedMatrix): number;
  /** Products in the first-level cache; returns the number of operations. */
  peak(rounds: number): number;
  /** `gated`: whether `push` will be given gates. */
  experts(hidden: number, width: number, activation: ActivationKind, gated: boolean): PackedExperts;
  linear(x: Float32Array, matrix: PackedMatrix, bias: Float32Array | undefined, out: Float32Array): void;
  headLinear(x: Float32Array, heads: readonly PackedMatrix[], out: Float32Array): void;
  rmsNorm(x: Float32Array, weight: Float32Array, epsilon: number, out: Float32Array): void;
  layerNorm(
    x: Float32Array,
    weight: Float32Array,
    bias: Float32Array | undefined,
    epsilon: number,
    out: Float32Array,
  ): void;
  rotate(
    x: Float32Array,
    heads: number,
    headSize: number,
    length: number,
    adjacent: boolean,
    cos: Float32Array,
    sin: Float32Array,
  ): void;
  attention(
    q: Float32Array,
    k: Float32Array,
    v: Float32Array,
    sequences: number,
    length: number,
    heads: number,
    keyValueHeads: number,
    headSize: number,
    valueSize: number,
    scale: number,
    /** 0: none. */
    window: number,
    chunk: number,
    sinks: Float32Array | undefined,
    mask: Uint8Array | undefined,
    out: Float32Array,
  ): void;
  rotateAt(
    x: Float32Array,
    heads: number,
    headSize: number,
    length: number,
    adjacent: boolean,
    positions: Int32Array,
    cos: Float32Array,
    sin: Float32Array,
  ): void;
  keyValueCache(keyValueHeads: number, headSize: number, valueSize: number): KeyValues;
  attendCached(
    q: Float32Array,
    k: Float32Array,
    v: Float32Array,
    cache: KeyValues,
    /** `[segments, 4]`: sequence, tokens, sequence of the prefix, its length (0: none). */
    segments: Uint32Array,
    heads: number,
    scale: number,
    /** 0: none. */
    window: number,
    chunk: number,
    sinks: Float32Array | undefined,
    out: Float32Array,
  ): void;
  convolution(
    x: Float32Array,
    weight: Float32Array,
    bias: Float32Array | undefined,
    kernel: number,
    silu: boolean,
    /** Of each segment. */
    tokens: Uint32Array,
    states: readonly (Float32Array | undefined)[],
    out: Float32Array,
  ): void;
  deltaRule(
    qkv: Float32Array,
    logDecay: Float32Array,
    beta: Float32Array,
    keyHeads: number,
    valueHeads: number,
    keySize: number,
    valueSize: number,
    tokens: Uint32Array,
    states: readonly (Float32Array | undefined)[],
    out: Float32Array,
  ): void;
  linearAttention(
    qkv: Float32Array,
    logDecay: Float32Array,
    keyHeads: number,
    valueHeads: number,
    keySize: number,
    valueSize: number,
    tokens: Uint32Array,
    states: readonly (Float32Array | undefined)[],
    out: Float32Array,
  ): void;
  softmax(logits: Float32Array, columns: number, out: Float32Array): void;
  chooseExperts(
    numbers: Float32Array,
    scores: Float32Array,
    bias: Float32Array | undefined,
    experts: number,
    choice: ExpertChoice,
    selected: Int32Array,
    weights: Float32Array,
  ): void;
  combine(sums: Float32Array, factor: number, terms: Float32Array, termsFactor: number): void;
  gated(gate: Float32Array, up: Float32Array, activation: ActivationKind, out: Float32Array): void;
  routed(
    x: Float32Array,
    experts: PackedExperts,
    topK: number,
    selected: Int32Array,
    weights: Float32Array,
    scalesInputs: boolean,
    output: Float32Array,
    norms: Float32Array,
    factors: Float32Array | undefined,
    sums: Float64Array | undefined,
  ): void;
  expertActivation(x: Float32Array, experts: PackedExperts, expert: number, out: Float32Array): void;
  expertDown(activation: Float32Array, experts: PackedExperts, expert: number, out: Float32Array): void;
  addGatedActivations(
    sums: Float64Array,
    x: Float32Array,
    experts: PackedExperts,
    factors: Float32Array | undefined,
  ): void;
  addOutputCosines(sums: Float64Array, x: Float32Array, experts: PackedExperts): void;
  addTransposedProduct(
    sums: Float64Array,
    a: Float32Array,
    b: Float32Array,
    m: number,
    n: number,
    aRows: Int32Array | undefined,
    bRows: Int32Array | undefined,
  ): void;
  addColumnSquares(sums: Float64Array, rows: Float32Array): void;
  addGram(sums: Float64Array, x: Float32Array, columns: number, anew: boolean, rows: Int32Array | undefined): void;
  outputError(difference: Float32Array, gram: Float64Array, columns: number): number;
  zeroSmallest(
    weight: Float32Array,
    columns: number,
    span: number,
    zeros: number,
    norms: Float32Array | undefined,
  ): void;
  factorGram(gram: Float64Array, added: Float64Array, order: Int32Array | undefined): TriangularFactor | null;
  /** In place. */
  solveGram(factor: TriangularFactor, x: Float32Array): void;
  /** With `counts`: blocks of `size` columns; else `zeros` in each run of `size`. */
  sparsegpt(
    weight: Float32Array,
    factor: TriangularFactor,
    size: number,
    counts: Int32Array | undefined,
    zeros: number,
  ): number;
  gptq(
    weight: Float32Array,
    factor: TriangularFactor,
    bits: number,
    symmetric: boolean,
    group: number,
    scaleDtype: string,
    codes: Int8Array,
    scales: Float32Array,
    zeros: Int8Array,
  ): number;
  product(
    a: Float32Array,
    b: Float32Array,
    k: number,
    rows: Int32Array | undefined,
    factors: Float32Array | undefined,
    out: Float32Array,
  ): void;
  addGatedProduct(
    sums: Float64Array,
    x: Float32Array,
    rows: Int32Array,
    factors: Float32Array,
    v: Float32Array,
    g: Float32Array,
    columns: number,
  ): void;
  subtractProduct(values: Float32Array, rows: Int32Array, a: Float32Array, b: Float32Array, k: number): void;
  expertGradients(
    hidden: number,
    width: number,
    activation: ActivationKind,
    gate: Float32Array | undefined,
    up: Float32Array,
    down: Float32Array,
    gateBias: Float32Array | undefined,
    upBias: Float32Array | undefined,
    downBias: Float32Array | undefined,
    x: Float32Array,
    y: Float32Array,
    rows: Int32Array,
    offsets: Int32Array,
    tokens: Int32Array,
    factors: Float32Array,
    inputFactors: Float32Array | undefined,
    byGate: Float32Array | undefined,
    byUp: Float32Array,
    byDown: Float32Array,
  ): number;
  adamStep(
    weights: Float32Array,
    gradients: Float32Array,
    first: Float32Array,
    second: Float32Array,
    sizes: Float32Array,
    step: number,
  ): void;
  assignment(cost: Float64Array, n: number, out: Int32Array): void;
  addScaled(
    sums: Float32Array,
    dtype: string,
    data: Uint8Array,
    rows: number,
    columns: number,
    factor: number,
    axis: "rows" | "columns" | undefined,
    order: Int32Array | undefined,
  ): void;
  largest(dtype: string, data: Uint8Array, rows: number, columns: number): number;
  roundIntegers(
    dtype: string,
    data: Uint8Array,
    rows: number,
    columns: number,
    bits: number,
    group: number,
    symmetric: boolean,
    scalesDtype: string,
    codes: Uint8Array,
    scales: Uint8Array,
    zeros: Int8Array,
  ): void;
  roundE4M3(
    dtype: string,
    data: Uint8Array,
    rows: number,
    columns: number,
    blockRows: number,
    blockColumns: number,
    scalesDtype: string,
    powersOfTwo: boolean,
    codes: Uint8Array,
    scales: Uint8Array,
  ): void;
  expand(
    kind: string,
    codes: Uint8Array,
    rows: number,
    columns: number,
    blockRows: number,
    blockColumns: number,
    factors: Float32Array,
    zeros: Int8Array | undefined,
    firstRow: number,
    outDtype: string,
    out: Uint8Array,
  ): boolean;
  /** NVFP4 where the global scale is given, else MXFP4. */
  roundE2M1(
    dtype: string,
    data: Uint8Array,
    rows: number,
    columns: number,
    globalScale: number | undefined,
    codes: Uint8Array,
    scales: Uint8Array,
  ): void;
}

/** What the native library exports. Wrong arguments throw an error with the code `InvalidArg`. */
export interface Binary {
  version(): string;
  /** Version of the Rust compiler that built it. */
  compiler(): string;
  /** Names of the instruction sets that this machine supports, best first. */
  cpuVariants(): string[];
  /** `threads` 0: all; `variant` undefined: the best. */
  readonly Engine: new (
    bfloat16: boolean,
    threads: number,
    variant: string | undefined,
  ) => Engine;
}
