import type { Plot } from "./plot.js";

/** The range of values, or some room around a single one. */
export function rangeOf(values: readonly number[]): [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return low === high ? [low - 1, high + 1] : [low, high];
}

/** Axes of all plots: thin grid, short ticks, a label that says what is measured. */
export function axis(label: string | null, more: Plot.ScaleOptions = {}): Plot.ScaleOptions {
  return { label, grid: true, nice: true, tickSize: 0, labelArrow: "none", ...more };
}
