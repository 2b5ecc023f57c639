import type { Piece } from "../../compress/reconstruct/problem.js";
import { pickRows } from "../../compress/rows.js";
import { type RoutedRows, scaledInputs } from "../steps/routed-rows.js";
import { RefitExperts, type RefitExpertsOptions, withOnes } from "./refit-experts.js";

/** The down projections of a layer's experts as linear maps of their activations. */
export class DownExperts extends RefitExperts {
  readonly columns: number;

  constructor(options: RefitExpertsOptions) {
    super(options, "down");
    const { width, biased } = options.moe.experts;
    this.columns = width + (biased === true ? 1 : 0);
  }

  protected *made(expert: number, routed: RoutedRows): Generator<Piece> {
    const { backend, moe, experts, inputs, targets } = this.options;
    const ready = backend.experts([experts[expert]!], moe.activation);
    try {
      for (const tokens of routed.listed(expert)) {
        const rows = targets.rowsOf(tokens);
        const x = scaledInputs(pickRows(inputs, rows, moe.experts.hidden), tokens.weights, moe);
        const activations = backend.expertActivation(x, ready, 0);
        const values = moe.experts.biased === true ? withOnes(activations, moe.experts.width) : activations;
        yield { rows, values: targets.scale(values, tokens, rows) };
      }
    } finally {
      ready.dispose();
    }
  }
}
