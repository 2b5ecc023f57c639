import type { Piece } from "../../compress/reconstruct/problem.js";
import { expertInputs, type RoutedRows } from "../steps/routed-rows.js";
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
    const { backend, moe, experts, moeInput, targets } = this.options;
    const ready = backend.experts([experts[expert]!], moe.activation);
    try {
      for (const tokens of routed.of(expert)) {
        const rows = targets.rowsOf(tokens);
        const activations = backend.expertActivation(expertInputs(tokens, moeInput, moe), ready, 0);
        const inputs = moe.experts.biased === true ? withOnes(activations, moe.experts.width) : activations;
        yield { rows, inputs: targets.scale(inputs, tokens, rows) };
      }
    } finally {
      ready.dispose();
    }
  }
}
