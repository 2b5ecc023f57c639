/** A measured divergence and the loss that is predicted for the same candidate, of experts or of rounding. */
export interface MeasuredDivergence {
  readonly loss: number;
  readonly kl: number;
}

/** A predicted divergence in nats; in two of three of the measured candidates it lies within this factor. */
export interface PredictedDivergence {
  readonly kl: number;
  readonly factor: number;
}

/** How predicted losses and measured divergences of one model go together. */
export interface DivergenceRelation {
  readonly points: number;
  /** log KL = intercept + slope log loss. */
  readonly intercept: number;
  readonly slope: number;
  /** Undefined outside the measured range of losses. */
  predict(loss: number): PredictedDivergence | undefined;
}

/**
 * A power law, fitted by least squares to the logarithms: monotone, and with two parameters as simple as it gets. Undefined
 * for fewer than four candidates or three different losses, and where the divergence does not grow with the loss.
 */
export function fitDivergence(measured: readonly MeasuredDivergence[]): DivergenceRelation | undefined {
  const known = measured.filter(({ loss, kl }) => loss > 0 && kl > 0);
  if (known.length < 4 || new Set(known.map(({ loss }) => loss)).size < 3) return undefined;
  const n = known.length;
  const x = known.map(({ loss }) => Math.log(loss));
  const y = known.map(({ kl }) => Math.log(kl));
  const [meanX, meanY] = [mean(x), mean(y)];
  const slope =
    sum(x.map((value, i) => (value - meanX) * (y[i]! - meanY))) / sum(x.map((value) => (value - meanX) ** 2));
  if (!(slope > 0)) return undefined;
  const intercept = meanY - slope * meanX;
  const deviation = Math.sqrt(sum(x.map((value, i) => (y[i]! - intercept - slope * value) ** 2)) / (n - 2));
  const losses = known.map(({ loss }) => loss);
  const [least, most] = [Math.min(...losses), Math.max(...losses)];
  return {
    points: n,
    intercept,
    slope,
    predict: (loss) =>
      loss >= least && loss <= most
        ? { kl: Math.exp(intercept + slope * Math.log(loss)), factor: Math.exp(deviation) }
        : undefined,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}
