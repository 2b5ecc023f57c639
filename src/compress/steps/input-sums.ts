import type { Backend } from "../../engine/backend.js";
import { pickRows } from "../rows.js";
import type { Need } from "./step.js";

/** Sums over the inputs that a matrix `[rows, columns]` is multiplied with. */
export class InputSums {
  tokens = 0;
  /** `[columns]`: sums of squares. */
  readonly squares: Float64Array | undefined;
  /** `[columns, columns]`: sums of products. */
  readonly gram: Float64Array | undefined;

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
    this.tokens += rows.length / columns;
    if (rows.length === 0) return;
    if (squares !== undefined) backend.addColumnSquares(squares, rows);
    if (gram !== undefined) backend.addTransposedProduct(gram, rows, rows, columns, columns);
  }
}

function countedOf(mask: Uint8Array): number[] {
  return [...mask.keys()].filter((token) => mask[token] !== 0);
}
