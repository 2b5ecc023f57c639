import { pickRows } from "../rows.js";
import type { Share } from "../steps/step-error.js";

/** Held-out tokens of one domain: rows `[begin, end)`. */
export interface HeldOutRows {
  readonly domain: string;
  readonly begin: number;
  readonly end: number;
}

/** What is left of the outputs, squared and summed over tokens, as a share of the outputs themselves. */
export interface RefitErrors {
  readonly fitted: Share;
  readonly heldOut: Share;
  /** The held-out tokens of each domain by itself. */
  readonly domains: Readonly<Record<string, Share>>;
}

/** What a layer's experts leave of the outputs that they should have: r_t = y_t - sum_e W_e a_te. */
export class Residuals {
  private readonly outputs: RefitErrors;

  /**
   * @param values y `[tokens, hidden]`, which is changed in place
   * @param fitted rows `[0, fitted)` are those that weights are fitted to
   */
  constructor(
    readonly values: Float32Array,
    private readonly hidden: number,
    private readonly fitted: number,
    readonly heldOut: readonly HeldOutRows[],
  ) {
    this.outputs = this.sums((lost) => ({ lost, of: lost }));
  }

  /** r `[rows, hidden]` of some rows. */
  take(rows: Int32Array): Float32Array {
    return pickRows(this.values, rows, this.hidden);
  }

  /** Takes outputs `[rows, hidden]` from some rows, or with -1 gives them back. */
  subtract(rows: Int32Array, outputs: Float32Array, sign: 1 | -1 = 1): void {
    const { values, hidden } = this;
    for (let i = 0; i < rows.length; i++) {
      const to = rows[i]! * hidden;
      const from = i * hidden;
      for (let j = 0; j < hidden; j++) values[to + j]! -= sign * outputs[from + j]!;
    }
  }

  errors(): RefitErrors {
    return this.sums((lost, of) => ({ lost, of: of!.of }));
  }

  private sums(share: (lost: number, of: Share | undefined) => Share): RefitErrors {
    const outputs: RefitErrors | undefined = this.outputs;
    const domains: Record<string, Share> = {};
    const all = { lost: 0, of: 0 };
    for (const { domain, begin, end } of this.heldOut) {
      const own = share(this.squares(begin, end), outputs?.domains[domain]);
      domains[domain] = own;
      all.lost += own.lost;
      all.of += own.of;
    }
    return { fitted: share(this.squares(0, this.fitted), outputs?.fitted), heldOut: all, domains };
  }

  private squares(begin: number, end: number): number {
    let sum = 0;
    for (let i = begin * this.hidden; i < end * this.hidden; i++) sum += this.values[i]! ** 2;
    return sum;
  }
}
