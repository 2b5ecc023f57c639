import type { Backend, GramFactor } from "../../engine/backend.js";
import { pickRows } from "../rows.js";
import { type FactorOptions, factorGram } from "../weights/gram-factor.js";
import type { Need } from "./step.js";

/** Sums over the inputs that a matrix `[rows, columns]` is multiplied with. */
export class InputSums {
  tokens = 0;
  /** `[columns]`: sums of squares. */
  readonly squares: Float64Array | undefined;
  /** `[columns, columns]`: sums of products, the upper triangle; undefined contents where there are no tokens. */
  readonly gram: Float64Array | undefined;
  private factored: GramFactor | undefined;

  constructor(
    private readonly backend: Backend,
    readonly columns: number,
    need: Need,
  ) {
    if (need === "squares") this.squares = new Float64Array(columns);
    if (need === "gram") this.gram = new Float64Array(columns * columns);
  }

  /** Adds inputs x `[tokens, columns]`; of those that a mask `[tokens]` holds, only where it is not 0. */
  add(x: Float32Array, mask?: Uint8Array): void {
    const { backend, columns, squares, gram } = this;
    const rows = mask === undefined ? x : pickRows(x, countedOf(mask), columns);
    const anew = this.tokens === 0;
    this.tokens += rows.length / columns;
    if (rows.length === 0) return;
    if (squares !== undefined) backend.addColumnSquares(squares, rows);
    if (gram !== undefined) backend.addGram(gram, rows, columns, anew);
  }

  /** The factor of the Gram matrix, which matrices of the same inputs share. Nothing may be added afterwards. */
  factor(options: FactorOptions): GramFactor {
    this.factored ??= factorGram(this.backend, this.gram!, this.columns, options);
    return this.factored;
  }

  /** Begins anew in the same memory: touching fresh memory takes as long as half of the sums of an expert. */
  reset(): void {
    this.dispose();
    this.tokens = 0;
    this.squares?.fill(0);
  }

  dispose(): void {
    this.factored?.dispose();
    this.factored = undefined;
  }
}

function countedOf(mask: Uint8Array): number[] {
  return [...mask.keys()].filter((token) => mask[token] !== 0);
}
