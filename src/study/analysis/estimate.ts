import { percentiles } from "../../evaluate/compare/bootstrap.js";
import { mean } from "./points.js";

/** A number of a study and how well it is known; only the number where neither items nor standard errors are. */
export interface Estimate {
  readonly value: number;
  /** Deviation over the resamples. */
  readonly standardError: number | undefined;
  /** Percentiles of 95 % of the resamples. */
  readonly interval: readonly [low: number, high: number] | undefined;
  /** Mean over the resamples less the value. What picks the best of noisy points, as a hypervolume does, comes out too high by about as much. */
  readonly bias: number | undefined;
}

/** @param redrawn the number in each resample. */
export function estimate(value: number, redrawn: Float64Array | undefined): Estimate {
  if (redrawn === undefined) return { value, standardError: undefined, interval: undefined, bias: undefined };
  const middle = mean([...redrawn]);
  let squares = 0;
  for (const drawn of redrawn) squares += (drawn - middle) ** 2;
  const standardError = Math.sqrt(squares / (redrawn.length - 1));
  return { value, standardError, interval: percentiles(redrawn), bias: middle - value };
}
