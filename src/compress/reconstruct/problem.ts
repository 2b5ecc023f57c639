/** The tokens of a problem come in two parts: those that weights are fitted to, and those that decide what is kept. */
export type Part = "fitted" | "heldOut";

/** Some tokens of an expert. */
export interface Piece {
  /** `[tokens]`: their rows among the residuals. */
  readonly rows: Int32Array;
  /** `[tokens, columns]`: a_te; with something behind W_e `[tokens, rows of W_e]`: f_te, what its products are multiplied by. */
  readonly values: Float32Array;
}

/** What lies around the W_e of experts that make O_e (f_te ∘ W_e x_t). */
export interface Surroundings {
  /** x_t `[rows, columns]`, in the order of the residuals: all experts have the same. */
  readonly inputs: Float32Array;
  /** O_e `[hidden, rows of W_e]`. */
  outer(expert: number): Float32Array;
}

/**
 * The experts of a layer as a sum of maps that are linear in W_e: y_t = sum_e W_e a_te, or with something fixed around it
 * y_t = sum_e O_e (f_te ∘ W_e x_t). Everything but the W_e is fixed.
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
  /** Absent: the experts make W_e a_te, and W_e has `hidden` rows. */
  readonly around?: Surroundings;
  /** An expert's tokens, some at a time. */
  pieces(expert: number, part: Part): Iterable<Piece>;
  /** Remembers all W_e; what is returned puts that of an expert back. */
  save(): (expert: number) => void;
}
