import { decode } from "../../checkpoint/dtypes.js";
import type { Piece } from "../../compress/reconstruct/problem.js";
import { expertInputs, type RoutedRows } from "../steps/routed-rows.js";
import { RefitExperts, type RefitExpertsOptions, withOnes } from "./refit-experts.js";

/**
 * The up projections of a layer's experts while gates and down projections stay: an expert makes
 * W_down (activation(gate x) ∘ (U x + b)), which is linear in U and b. See `checkRefit`.
 */
export class UpExperts extends RefitExperts {
  readonly columns: number;

  constructor(options: RefitExpertsOptions) {
    super(options, "up");
    const { hidden, biased } = options.moe.experts;
    this.columns = hidden + (biased === true ? 1 : 0);
  }

  outer(expert: number): Float32Array {
    return decode(this.options.experts[expert]!.down);
  }

  protected *made(expert: number, routed: RoutedRows): Generator<Piece> {
    const { backend, moe, experts, moeInput, targets } = this.options;
    const { gate, gateBias } = experts[expert]!;
    const ready = backend.matrix(gate!);
    try {
      for (const tokens of routed.of(expert)) {
        const rows = targets.rowsOf(tokens);
        const x = expertInputs(tokens, moeInput, moe);
        const gates = backend.linear(x, ready, gateBias && decode(gateBias));
        const opened = backend.gated(gates, new Float32Array(gates.length).fill(1), moe.activation);
        const factors = targets.scale(opened, tokens, rows);
        yield { rows, inputs: moe.experts.biased === true ? withOnes(x, moe.experts.hidden) : x, factors };
      }
    } finally {
      ready.dispose();
    }
  }
}
