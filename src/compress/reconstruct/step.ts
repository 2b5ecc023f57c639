import type { Backend } from "../../engine/backend.js";
import type { Kept } from "./kept.js";
import type { LinearExperts, Piece } from "./problem.js";
import type { Residuals } from "./residuals.js";

/** One expert's turn in a sweep. */
export interface Step {
  readonly backend: Backend;
  readonly experts: LinearExperts;
  /** Of all experts as they are now. */
  readonly residuals: Residuals;
  readonly expert: number;
  /** As a share of the mean diagonal of the problem's Gram matrix. */
  readonly ridge: number;
  /** The expert's fitted tokens. */
  readonly fitted: readonly Piece[];
  /** What does not change from one sweep to the next. */
  readonly kept: Kept;
}
