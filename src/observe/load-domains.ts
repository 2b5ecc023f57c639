import type { Calibration } from "../calibration/calibration.js";
import { type CalibrationContext, loadCalibration } from "../calibration/load-calibration.js";
import { parseMix } from "../calibration/mix.js";
import { DEFAULT_SOURCES } from "../calibration/named-sources.js";
import { PAPER_MIXES } from "../calibration/paper-mixes.js";
import { type Cuts, limitCuts, planCuts, tenths } from "./cuts.js";
import type { ResolvedObserveOptions } from "./options.js";

/** The text of one domain, in the order in which every mix takes it. */
export interface DomainText {
  readonly name: string;
  readonly calibration: Calibration;
  readonly cuts: readonly number[];
}

/** The text of all domains, and where its sums will be cut. Errors: those of `loadCalibration`. */
export async function loadDomains(options: ResolvedObserveOptions, context: CalibrationContext): Promise<DomainText[]> {
  const names =
    options.domain.length > 0 ? options.domain.map((text) => text.split("=")[0]!) : Object.keys(DEFAULT_SOURCES);
  const texts: DomainText[] = [];
  for (const [name, cuts] of cutsOf(options, names)) {
    const own = (texts: readonly string[]) => texts.filter((text) => text.startsWith(`${name}=`));
    const sequences = cuts.at(-1)!;
    const request = { ...options, mix: `${name}=1`, domain: own(options.domain), field: own(options.field), sequences };
    const calibration = await loadCalibration({ ...request, tokens: undefined }, context);
    texts.push({ name, calibration, cuts: limitCuts(cuts, calibration.sequences) });
  }
  return texts;
}

function cutsOf({ mix, sequences }: ResolvedObserveOptions, names: readonly string[]): Cuts {
  const paper = ["code", "general", "math"].join() === [...names].sort().join();
  if (mix.length === 0 && !paper) return tenths(names, sequences);
  const texts = mix.length === 0 ? ["paper"] : mix;
  const mixes = texts.flatMap((text) => (text === "paper" ? PAPER_MIXES : [text])).map(parseMix);
  return planCuts(mixes, sequences);
}
