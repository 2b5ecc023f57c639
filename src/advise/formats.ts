import type { Rounding } from "./rounding-error.js";
import type { FormatLayout } from "./sizes.js";

/** A weight format as candidates need it. */
export type CandidateFormat = FormatLayout & Rounding;

/** The weight formats by name. */
export function candidateFormats(): ReadonlyMap<string, CandidateFormat> {
  return new Map();
}
