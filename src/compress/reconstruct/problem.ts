/** The tokens of a problem come in two parts: those that weights are fitted to, and those that decide what is kept. */
export type Part = "fitted" | "heldOut";

/** Some tokens of an expert. */
export interface Piece {
  /** `[tokens]`: their rows among the residuals. */
  readonly rows: Int32Array;
  /** `[tokens, columns]`: a_te. */
  readonly inputs: Float32Array;
  /** `[tokens, rows of W_e]`: f_te, what the products are multiplied by; there where the experts have `outer`. */
  readonly factors?: Float32Array;
}

/**
 * The experts of a layer as a sum of maps that are linear in W_e: y_t = sum_e W_e a_te, or with something fixed behind it
 * y_t = sum_e O_e (f_te ∘ W_e a_te). Everything but the W_e is fixed.
 */
export interface LinearExperts {
  readonly count: number;
  /** Inputs of a W_e. */
  readonly columns: number;
  /** Outputs of the experts. */
  readonly hidden: number;
  /** Whether W_e may change; absent: all may. */
  readonly isFree?: (expert: number) => boolean;
  /** W_e `[rows, columns]` as it is now. */
  weights(expert: number): Float32Array;
  /** W_e `[rows, columns]` as it was at the start. */
  start(expert: number): Float32Array;
  /** Sets W_e `[rows, columns]`, rounded to the dtype that it is stored in: `weights` tells the result. */
  replace(expert: number, weights: Float32Array): void;
  /** O_e `[hidden, rows]`. Absent: the experts make W_e a_te, and W_e has `hidden` rows. */
  readonly outer?: (expert: number) => Float32Array;
  /** The inputs of an expert's tokens, some at a time. */
  pieces(expert: number, part: Part): Iterable<Piece>;
  /** Remembers all W_e; what is returned puts that of an expert back. */
  save(): (expert: number) => void;
}
