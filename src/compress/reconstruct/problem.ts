/** The tokens of a problem come in two parts: those that weights are fitted to, and those that decide what is kept. */
export type Part = "fitted" | "heldOut";

/** Some tokens of an expert. */
export interface Piece {
  /** `[tokens]`: their rows among the residuals. */
  readonly rows: Int32Array;
  /** `[tokens, columns]`: activations, times the weights that the expert's outputs are combined with. */
  readonly inputs: Float32Array;
}

/**
 * The experts of a layer as a sum of linear maps: y_t = sum_e W_e a_te with a_te = gamma_te h_e(x_t). Everything but the W_e
 * is fixed.
 */
export interface LinearExperts {
  readonly count: number;
  /** Inputs of a W_e. */
  readonly columns: number;
  /** Outputs of a W_e. */
  readonly hidden: number;
  /** W_e `[hidden, columns]` as it is now. */
  weights(expert: number): Float32Array;
  /** W_e `[hidden, columns]` as it was at the start. */
  start(expert: number): Float32Array;
  /** Sets W_e `[hidden, columns]`, rounded to the dtype that it is stored in: `weights` tells the result. */
  replace(expert: number, weights: Float32Array): void;
  /** The inputs of an expert's tokens, some at a time. */
  pieces(expert: number, part: Part): Iterable<Piece>;
  /** Remembers all W_e; what is returned puts them back. */
  save(): () => void;
}
