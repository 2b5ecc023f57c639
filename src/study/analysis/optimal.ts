import { paretoFrontier } from "./pareto.js";
import type { Place } from "./points.js";

/** How many of a method's mixes are Pareto-optimal. */
export interface Optimal {
  /** Among the method's own mixes: the paper's count. It tells how many different compromises a method offers, not how good they are. */
  readonly own: number;
  /** Among the mixes of all methods. */
  readonly common: number;
  readonly of: number;
}

/** By method, over all its points. Equal points are optimal together. */
export function optimalMixes(points: readonly (Place & { readonly method: string })[]): Map<string, Optimal> {
  const common = new Set(paretoFrontier(points).map((i) => points[i]!));
  return new Map(
    [...new Set(points.map(({ method }) => method))].map((method) => {
      const own = points.filter((point) => point.method === method);
      const counts = {
        own: paretoFrontier(own).length,
        common: own.filter((point) => common.has(point)).length,
        of: own.length,
      };
      return [method, counts];
    }),
  );
}
