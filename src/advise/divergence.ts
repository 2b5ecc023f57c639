/** A measured divergence and the error that was predicted for the same candidate, both above 0. */
export interface MeasuredDivergence {
  readonly error: number;
  readonly kl: number;
  /** What was changed: only candidates of a kind that was measured get a prediction. */
  readonly kind: CandidateKind;
}

export type CandidateKind = "experts" | "format" | "both";

/** A predicted divergence in nats; in two of three of the measured candidates it lies within this factor. */
export interface PredictedDivergence {
  readonly kl: number;
  readonly factor: number;
}

/** How predicted errors and measured divergences of one model go together. */
export interface DivergenceRelation {
  readonly points: number;
  /** log KL = intercept + slope log error. */
  readonly intercept: number;
  readonly slope: number;
  /** Undefined outside the measured range of errors, and for kinds of candidates that were not measured. */
  predict(error: number, kind: CandidateKind): PredictedDivergence | undefined;
}

/**
 * A power law, fitted by least squares to the logarithms: monotone, and with two parameters as simple as it gets. Undefined
 * for fewer than four candidates or three different errors, and where the divergence does not grow with the error.
 */
export function fitDivergence(measured: readonly MeasuredDivergence[]): DivergenceRelation | undefined {
  const known = measured.filter(({ error, kl }) => error > 0 && kl > 0);
  if (known.length < 4 || new Set(known.map(({ error }) => error)).size < 3) return undefined;
  const n = known.length;
  const x = known.map(({ error }) => Math.log(error));
  const y = known.map(({ kl }) => Math.log(kl));
  const [meanX, meanY] = [mean(x), mean(y)];
  const slope =
    sum(x.map((value, i) => (value - meanX) * (y[i]! - meanY))) / sum(x.map((value) => (value - meanX) ** 2));
  if (!(slope > 0)) return undefined;
  const intercept = meanY - slope * meanX;
  const deviation = Math.sqrt(sum(x.map((value, i) => (y[i]! - intercept - slope * value) ** 2)) / (n - 2));
  const kinds = new Set(known.map(({ kind }) => kind));
  const errors = known.map(({ error }) => error);
  const [least, most] = [Math.min(...errors), Math.max(...errors)];
  return {
    points: n,
    intercept,
    slope,
    predict: (error, kind) =>
      kinds.has(kind) && error >= least && error <= most
        ? { kl: Math.exp(intercept + slope * Math.log(error)), factor: Math.exp(deviation) }
        : undefined,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}
