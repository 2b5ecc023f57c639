import { isMoe, type ModelDescription } from "../../model/description.js";
import type { ResolvedCompressOptions } from "../options.js";
import { conflict, refuseSplit, requireTextRun } from "../text-run.js";

/** How routers are fitted after their experts have been reduced. */
export interface RouterPlan {
  /** What their scores follow. */
  readonly rule: "group-mass";
  readonly seed: number;
}

/** Bytes of the routers' inputs that a fit looks at. */
const MOST_BYTES = 2 ** 28;

const MOST_TOKENS = 65_536;

/** Most calibration tokens that a fit looks at. */
export function routerTokens(size: number): number {
  return Math.min(MOST_TOKENS, Math.floor(MOST_BYTES / (4 * size)));
}

/** The fit of `--router-calibration`; undefined where none is asked for. Errors: SETTINGS_CONFLICT. */
export function planRouter(options: ResolvedCompressOptions, split: boolean): RouterPlan | undefined {
  const { routerCalibration: rule, seed } = options;
  if (rule === "none") return undefined;
  refuseSplit(split, "fit routers");
  requireTextRun(options, "routers are fitted");
  return { rule, seed };
}

/** Refuses routers whose weights are no scores of single experts. Errors: SETTINGS_CONFLICT. */
export function checkRouters({ layers, family }: ModelDescription): void {
  if (!layers.some((layer) => isMoe(layer) && layer.feedForward.router.sparseMixer !== undefined)) return;
  throw conflict(
    "--router-calibration",
    `the routers of ${family} mix experts by SparseMixer`,
    "Leave it out: no fit is known.",
  );
}
