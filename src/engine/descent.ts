import type { Activation } from "./backend.js";

/** Matrices of experts of one form, each kind of all of them one after the other. */
export interface JoinedMatrices {
  /** `[count, width, hidden]`; without one, up takes its place. */
  readonly gate?: Float32Array | undefined;
  /** `[count, width, hidden]` */
  readonly up: Float32Array;
  /** `[count, hidden, width]` */
  readonly down: Float32Array;
}

/** The experts whose gradients are asked for. Biases are added and stay as they are. */
export interface JoinedExperts {
  readonly hidden: number;
  readonly width: number;
  readonly activation: Activation;
  readonly matrices: JoinedMatrices;
  /** `[count, width]` */
  readonly gateBias?: Float32Array | undefined;
  /** `[count, width]` */
  readonly upBias?: Float32Array | undefined;
  /** `[count, hidden]` */
  readonly downBias?: Float32Array | undefined;
}

/** Some tokens and the experts that they go to. */
export interface RoutedBatch {
  /** Inputs `[*, hidden]` */
  readonly x: Float32Array;
  /** Outputs that are wanted `[*, hidden]` */
  readonly y: Float32Array;
  /** `[tokens]`: the row of each in x and y. */
  readonly rows: Int32Array;
  /** `[count + 1]`: where the pairs of each expert begin, and where those of the last one end. */
  readonly offsets: Int32Array;
  /** `[pairs]`: the token of each, by its place in `rows`. */
  readonly tokens: Int32Array;
  /** `[pairs]`: what the expert's output is multiplied by. */
  readonly factors: Float32Array;
  /** `[pairs]`: what its input is multiplied by, before biases; undefined: 1. */
  readonly inputFactors?: Float32Array | undefined;
}

/** What Adam knows of the steps before: means of gradients and of their squares, like the weights. */
export interface Moments {
  readonly first: Float32Array;
  readonly second: Float32Array;
}

/** Operations of refits by descent. */
export interface DescentOperations {
  /**
   * Writes the gradients of half the sum of ||r_t||², r_t = y_t - sum_e factor_te expert_e(x_t) over the routed pairs of the
   * batch, by the experts' matrices. Float32 products. Returns the sum of ||r_t||².
   */
  expertGradients(experts: JoinedExperts, batch: RoutedBatch, gradients: JoinedMatrices): number;

  /**
   * A step of Adam (Kingma & Ba 2015) with decays of 0.9 and 0.99: takes its share of the gradients' mean, over the root of the
   * mean of their squares, from the weights.
   *
   * @param weights of some experts, one after the other, changed in place
   * @param moments changed in place; zeros before the first step
   * @param sizes of the step, of each expert
   * @param step its number, counted from 1
   */
  adamStep(weights: Float32Array, gradients: Float32Array, moments: Moments, sizes: Float32Array, step: number): void;
}
