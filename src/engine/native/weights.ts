import type { Backend } from "../backend.js";
import type { Engine, TriangularFactor } from "./binary.js";
import { checked, own } from "./checked.js";

/** A factor that the library keeps. */
class NativeFactor {
  constructor(
    readonly columns: number,
    readonly factor: TriangularFactor,
  ) {}
  dispose(): void {
    this.factor.dispose();
  }
}

/** The operations on weights by the Gram matrix of their inputs. */
export function weightOperations(
  engine: Engine,
): Pick<Backend, "addGram" | "outputError" | "zeroSmallest" | "factorGram" | "solveGram" | "sparsegpt" | "gptq"> {
  return {
    addGram: (sums, x, columns, anew = false, rows) =>
      checked(() => engine.addGram(sums, x, whole(columns), anew, rows)),
    outputError: (difference, gram) => {
      return checked(() => engine.outputError(difference, gram, whole(Math.sqrt(gram.length))));
    },
    zeroSmallest(weight, columns, span, zeros, norms) {
      checked(() => engine.zeroSmallest(weight, whole(columns), whole(span), whole(zeros), norms));
    },
    factorGram(gram, added, order) {
      const factor = checked(() => engine.factorGram(gram, added, order));
      return factor === null ? undefined : new NativeFactor(added.length, factor);
    },
    solveGram(gramFactor, b) {
      const { factor } = own(gramFactor, NativeFactor);
      const x = b.slice();
      checked(() => engine.solveGram(factor, x));
      return x;
    },
    sparsegpt(weight, gramFactor, pattern) {
      const { factor } = own(gramFactor, NativeFactor);
      const { size, counts, zeros } =
        pattern.kind === "blocks"
          ? { ...pattern, zeros: 0 }
          : { size: pattern.of, counts: undefined, zeros: pattern.zeros };
      return { error: checked(() => engine.sparsegpt(weight, factor, whole(size), counts, whole(zeros))) };
    },
    gptq(weight, gramFactor, { bits, group, symmetric }, scaleDtype) {
      const { columns, factor } = own(gramFactor, NativeFactor);
      const size = whole(group ?? Math.max(1, columns));
      const groups = Math.ceil(columns / size) * (columns === 0 ? 0 : whole(weight.length / columns));
      const codes = new Int8Array(weight.length);
      const [scales, zeros] = [new Float32Array(groups), new Int8Array(groups)];
      const error = checked(() => engine.gptq(weight, factor, bits, symmetric, size, scaleDtype, codes, scales, zeros));
      return { codes, scales, zeros, error };
    },
  };
}

/** The library takes 32-bit numbers; others would wrap around. */
function whole(value: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= 0xffffffff) return value;
  throw new RangeError(`${value} is not a number of rows, columns or weights`);
}
