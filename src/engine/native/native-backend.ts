import { ReamError } from "../../errors.js";
import type { Backend, ExpertChoice, Experts, ExpertTensors, Matrix, Precision } from "../backend.js";
import { ExpertForm } from "../expert-form.js";
import type { Engine, PackedExperts, PackedMatrix } from "./binary.js";
import { checked, kindOf, own, shapeOf } from "./checked.js";
import { descentOperations } from "./descent.js";
import { NativeKeyValueCache, packSegments } from "./key-value-cache.js";
import { loadBinary } from "./load-binary.js";
import { recurrentOperations } from "./recurrent.js";
import { roundingOperations } from "./rounding.js";
import { weightOperations } from "./weights.js";

export interface NativeOptions {
  readonly precision: Precision;
  /** Number of threads; undefined: all cores. */
  readonly threads?: number | undefined;
  /** Instruction set, one of `nativeVariants()`; undefined: that of REAM_CPU_VARIANT, else the best. */
  readonly variant?: string | undefined;
}

/** Instruction sets that the native library has kernels for and this machine supports, best first. */
export function nativeVariants(): string[] {
  return loadBinary().cpuVariants();
}

class NativeMatrix implements Matrix {
  constructor(
    readonly rows: number,
    readonly columns: number,
    readonly packed: PackedMatrix,
  ) {}
  dispose(): void {
    this.packed.dispose();
  }
}

class NativeExperts implements Experts {
  readonly packed: PackedExperts;
  private added = 0;

  constructor(
    readonly form: ExpertForm,
    private readonly pack: () => PackedExperts,
  ) {
    this.packed = checked(pack);
  }

  get count(): number {
    return this.added;
  }

  get hidden(): number {
    return this.form.hidden;
  }

  get width(): number {
    return this.form.width;
  }

  empty(): Experts {
    return new NativeExperts(this.form, this.pack);
  }

  add(expert: ExpertTensors): void {
    const biases = this.form.biasesOf(expert);
    const { gate, up, down } = expert;
    const all = [biases.gate, biases.up, biases.down] as const;
    checked(() => this.packed.push(gate?.dtype, gate?.data, up.dtype, up.data, down.dtype, down.data, ...all));
    this.added++;
  }

  share(from: Experts, expert: number): void {
    const { form, packed } = own(from, NativeExperts);
    this.form.expectSame(form);
    checked(() => this.packed.share(packed, expert));
    this.added++;
  }

  dispose(): void {
    this.packed.dispose();
  }
}

/**
 * The backend of the Rust library (native/).
 *
 * @throws ReamError NATIVE_UNAVAILABLE where no library loads, CPU_VARIANT where the instruction set is unknown or
 *   absent, OPTION_INVALID where the number of threads is not one
 */
export function createNativeBackend(options: NativeOptions): Backend {
  const { precision } = options;
  const engine = createEngine(options);
  return {
    name: "native",
    precision,
    variant: engine.variant,
    description: `${engine.variant}, ${engine.threads} ${engine.threads === 1 ? "thread" : "threads"}`,
    get keptBytes() {
      return engine.keptBytes;
    },
    matrix(weight) {
      const [rows, columns] = shapeOf(weight, "matrix");
      return new NativeMatrix(
        rows,
        columns,
        checked(() => engine.matrix(weight.dtype, weight.data, rows, columns)),
      );
    },
    linear(x, matrix, bias) {
      const { rows, columns, packed } = own(matrix, NativeMatrix);
      const out = new Float32Array(rowsOf(x, columns, "linear") * rows);
      checked(() => engine.linear(x, packed, bias, out));
      return out;
    },
    headLinear(x, heads) {
      const matrices = heads.map((head) => own(head, NativeMatrix));
      const { rows, columns } = matrices[0] ?? { rows: 0, columns: 0 };
      const out = new Float32Array(rowsOf(x, columns, "headLinear") * rows);
      checked(() =>
        engine.headLinear(
          x,
          matrices.map(({ packed }) => packed),
          out,
        ),
      );
      return out;
    },
    rmsNorm(x, weight, epsilon) {
      const out = new Float32Array(x.length);
      checked(() => engine.rmsNorm(x, weight, epsilon, out));
      return out;
    },
    layerNorm(x, weight, bias, epsilon) {
      const out = new Float32Array(x.length);
      checked(() => engine.layerNorm(x, weight, bias, epsilon, out));
      return out;
    },
    rotate: (x, heads, headSize, { length, pairing, cos, sin }) =>
      checked(() => engine.rotate(x, heads, headSize, length, pairing === "adjacent", cos, sin)),
    attention(q, k, v, shape) {
      const { sequences, length, heads, keyValueHeads, headSize, valueSize = headSize, scale, sinks, mask } = shape;
      const [window, chunk] = [limit(shape.window, "attention: a window"), limit(shape.chunk, "attention: a chunk")];
      const out = new Float32Array(sequences * length * heads * valueSize);
      checked(() =>
        engine.attention(
          ...[q, k, v],
          ...[sequences, length, heads, keyValueHeads, headSize, valueSize, scale, window, chunk],
          ...[sinks, mask, out],
        ),
      );
      return out;
    },
    rotateAt: (x, heads, headSize, { length, pairing, cos, sin }, positions) =>
      checked(() => engine.rotateAt(x, heads, headSize, length, pairing === "adjacent", positions, cos, sin)),
    keyValueCache: (keyValueHeads, headSize, valueSize = headSize) =>
      new NativeKeyValueCache(
        keyValueHeads,
        headSize,
        valueSize,
        checked(() => engine.keyValueCache(keyValueHeads, headSize, valueSize)),
      ),
    attendCached(q, k, v, cache, segments, { heads, scale, window, chunk, sinks }) {
      const { kept, valueSize } = own(cache, NativeKeyValueCache);
      const limits = [limit(window, "attendCached: a window"), limit(chunk, "attendCached: a chunk")] as const;
      const packed = packSegments(segments);
      const tokens = segments.reduce((sum, segment) => sum + segment.tokens, 0);
      const out = new Float32Array(tokens * heads * valueSize);
      checked(() => engine.attendCached(q, k, v, kept, packed, heads, scale, ...limits, sinks, out));
      return out;
    },
    ...descentOperations(engine),
    ...recurrentOperations(engine),
    ...roundingOperations(engine),
    ...weightOperations(engine),
    softmax(logits, columns) {
      const out = new Float32Array(logits.length);
      checked(() => engine.softmax(logits, columns, out));
      return out;
    },
    chooseExperts(numbers, scores, bias, experts, choice) {
      const { topK, groups, normalise, epsilon, floor, scale } = choice;
      const tokens = rowsOf(numbers, experts, "chooseExperts");
      const [selected, weights] = [new Int32Array(tokens * topK), new Float32Array(tokens * topK)];
      // A description of a router has more, which would be read and left.
      const own = { topK, groups, normalise, epsilon, floor, scale } as ExpertChoice;
      checked(() => engine.chooseExperts(numbers, scores, bias, experts, own, selected, weights));
      return { selected, weights };
    },
    combine: (sums, factor, terms, termsFactor) => checked(() => engine.combine(sums, factor, terms, termsFactor)),
    gated(gate, up, activation) {
      const out = new Float32Array(gate.length);
      checked(() => engine.gated(gate, up, kindOf(activation), out));
      return out;
    },
    experts(tensors, activation) {
      const form = ExpertForm.of(tensors[0]);
      const { hidden, width, gated } = form;
      const experts = new NativeExperts(form, () => engine.experts(hidden, width, kindOf(activation), gated));
      try {
        for (const expert of tensors) experts.add(expert);
      } catch (error) {
        experts.dispose();
        throw error;
      }
      return experts;
    },
    routed(x, experts, { topK, selected, weights, scalesInputs = false }, activations) {
      const output = new Float32Array(x.length);
      const norms = new Float32Array(selected.length);
      const { packed } = own(experts, NativeExperts);
      const sums = [activations?.factors, activations?.sums] as const;
      checked(() => engine.routed(x, packed, topK, selected, weights, scalesInputs, output, norms, ...sums));
      return { output, norms };
    },
    expertActivation(x, experts, expert, given) {
      const { hidden, width, packed } = own(experts, NativeExperts);
      const out = given ?? new Float32Array(rowsOf(x, hidden, "expertActivation") * width);
      checked(() => engine.expertActivation(x, packed, expert, out));
      return out;
    },
    expertDown(activation, experts, expert) {
      const { hidden, width, packed } = own(experts, NativeExperts);
      const out = new Float32Array(rowsOf(activation, width, "expertDown") * hidden);
      checked(() => engine.expertDown(activation, packed, expert, out));
      return out;
    },
    addGatedActivations: (sums, x, experts, factors) =>
      checked(() => engine.addGatedActivations(sums, x, own(experts, NativeExperts).packed, factors)),
    addOutputCosines: (sums, x, experts) =>
      checked(() => engine.addOutputCosines(sums, x, own(experts, NativeExperts).packed)),
    addTransposedProduct: (sums, a, b, m, n, rows = {}) =>
      checked(() => engine.addTransposedProduct(sums, a, b, m, n, rows.a, rows.b)),
    addColumnSquares: (sums, rows) => checked(() => engine.addColumnSquares(sums, rows)),
    product(a, b, k, { rows, factors } = {}) {
      const m = rows?.length ?? rowsOf(a, k, "product: a");
      const out = new Float32Array(m * rowsOf(b, k, "product: b"));
      checked(() => engine.product(a, b, k, rows, factors, out));
      return out;
    },
    addGatedProduct: (sums, x, rows, factors, v, g, columns) =>
      checked(() => engine.addGatedProduct(sums, x, rows, factors, v, g, columns)),
    subtractProduct: (values, rows, a, b, k) => checked(() => engine.subtractProduct(values, rows, a, b, k)),
    assignment(cost, n) {
      const out = new Int32Array(n === 0 ? 0 : Math.floor(cost.length / n));
      checked(() => engine.assignment(cost, n, out));
      return out;
    },
    addScaled(sums, tensor, factor, permutation) {
      const [rows, columns] = shapeOf(tensor, "addScaled");
      const { axis, order } = permutation ?? { axis: undefined, order: undefined };
      checked(() => engine.addScaled(sums, tensor.dtype, tensor.data, rows, columns, factor, axis, order));
    },
  };
}

function createEngine({ precision, threads, variant }: NativeOptions): Engine {
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 1024)) {
    throw new ReamError("OPTION_INVALID", `${threads} is not a number of threads.`, {
      where: "threads",
      hint: "Give a whole number from 1 to 1024, or leave it out to use all cores.",
    });
  }
  const binary = loadBinary();
  // An empty variable counts as unset, as everywhere in shells.
  const wanted = variant ?? (process.env.REAM_CPU_VARIANT || undefined);
  const available = binary.cpuVariants();
  if (wanted !== undefined && !available.includes(wanted)) {
    throw new ReamError("CPU_VARIANT", `"${wanted}" is not an instruction set of this machine.`, {
      where: "REAM_CPU_VARIANT",
      hint: `Choose one of ${available.join(", ")}, or unset it to use the best.`,
    });
  }
  return checked(() => new binary.Engine(precision === "bf16", threads ?? 0, wanted));
}

/** A window or chunk as the library takes it: a 32-bit number, 0 for none. */
function limit(size: number | undefined, what: string): number {
  if (size === undefined) return 0;
  if (!(size >= 1)) throw new RangeError(`${what} of ${size} sees nothing`);
  return Math.min(Math.ceil(size), 0xffffffff);
}

function rowsOf(values: Float32Array, columns: number, what: string): number {
  const rows = columns === 0 ? 0 : values.length / columns;
  if (!Number.isInteger(rows)) throw new RangeError(`${what}: ${values.length} values are not rows of ${columns}`);
  return rows;
}
