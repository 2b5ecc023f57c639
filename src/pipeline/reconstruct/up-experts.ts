import { decode } from "../../checkpoint/dtypes.js";
import type { Piece, Surroundings } from "../../compress/reconstruct/problem.js";
import { pickRows } from "../../compress/rows.js";
import { type RoutedRows, scaledInputs } from "../steps/routed-rows.js";
import { RefitExperts, type RefitExpertsOptions, withOnes } from "./refit-experts.js";

/**
 * The up projections of a layer's experts while gates and down projections stay: an expert makes
 * W_down (activation(gate x) ∘ (U x + b)), which is linear in U and b. See `checkRefit`.
 */
export class UpExperts extends RefitExperts {
  readonly columns: number;
  readonly around: Surroundings;

  constructor(options: RefitExpertsOptions) {
    super(options, "up");
    const { moe, experts, inputs } = options;
    const biased = moe.experts.biased === true;
    this.columns = moe.experts.hidden + (biased ? 1 : 0);
    this.around = {
      inputs: biased ? withOnes(inputs, moe.experts.hidden) : inputs,
      outer: (expert) => decode(experts[expert]!.down),
    };
  }

  protected *made(expert: number, routed: RoutedRows): Generator<Piece> {
    const { backend, moe, experts, inputs, targets } = this.options;
    const { gate, gateBias } = experts[expert]!;
    const ready = backend.matrix(gate!);
    try {
      for (const tokens of routed.listed(expert)) {
        const rows = targets.rowsOf(tokens);
        const x = scaledInputs(pickRows(inputs, rows, moe.experts.hidden), tokens.weights, moe);
        const gates = backend.linear(x, ready, gateBias && decode(gateBias));
        const opened = backend.gated(gates, new Float32Array(gates.length).fill(1), moe.activation);
        // Weights that scale inputs (Llama 4) do so to what U multiplies as well.
        yield { rows, values: targets.scaleBy(opened, tokens.weights, rows) };
      }
    } finally {
      ready.dispose();
    }
  }
}
