import type { Backend } from "../../engine/backend.js";
import type { Share } from "../steps/step-error.js";
import { factorGram } from "../weights/gram-factor.js";
import type { MeasuredBlock } from "./measured-block.js";

/** Most numbers of an expert's output that the fit may use, and of all experts together. */
const DIRECTIONS = 8;
const MOST_DIRECTIONS = 1024;

/** Strength of the ridge towards experts as they are, as a share of the mean diagonal: where least-squares refits begin. */
const RIDGE = 0.01;

/**
 * What a block loses on some tokens without some experts when the others have been refitted to make up for it on other
 * tokens. A whole refit would take too long for every set, so that this is one with few directions: of the sketch of each
 * expert's output o_te the first eight numbers may be mapped anew,
 *
 *     A = argmin sum_t || r_t - A p_t ||² + ridge,   r_t = y_t - sum_e gamma_te o_te,   p_t = [gamma_te o_te[0..8) for all e]
 *
 * and || r_t - A p_t ||² is what is lost on the tokens that judge.
 */
export class RefittedBlock {
  constructor(
    private readonly backend: Backend,
    private readonly fit: MeasuredBlock,
    private readonly judge: MeasuredBlock,
  ) {}

  /** @param dropped `[experts]`: 1 for those that are not there */
  lost(dropped: Uint8Array): Share {
    const { backend, fit, judge } = this;
    const kept = dropped.reduce((count, one) => count + 1 - one, 0);
    const each = Math.min(fit.size, DIRECTIONS, Math.max(1, Math.floor(MOST_DIRECTIONS / kept)));
    const columns = each * kept;
    const [seen, other] = [fit.left(dropped, each), judge.left(dropped, each)];
    const gram = new Float64Array(columns ** 2);
    backend.addGram(gram, seen.inputs, columns);
    const products = new Float64Array(fit.size * columns);
    backend.addTransposedProduct(products, seen.residuals, seen.inputs, fit.size, columns);
    const factor = factorGram(backend, gram, columns, { damping: RIDGE });
    const mapped = backend.solveGram(factor, Float32Array.from(products));
    factor.dispose();
    const made = backend.product(other.inputs, mapped, columns);
    let lost = 0;
    for (let i = 0; i < made.length; i++) lost += (other.residuals[i]! - made[i]!) ** 2;
    return { lost, of: judge.squares };
  }
}
