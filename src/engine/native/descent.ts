import type { DescentOperations } from "../descent.js";
import type { Engine } from "./binary.js";
import { checked, kindOf } from "./checked.js";

/** The operations of refits by descent. */
export function descentOperations(engine: Engine): DescentOperations {
  return {
    expertGradients({ hidden, width, activation, matrices, gateBias, upBias, downBias }, batch, gradients) {
      const { gate, up, down } = matrices;
      const { x, y, rows, offsets, tokens, factors, inputFactors } = batch;
      const weights = [gate, up, down, gateBias, upBias, downBias] as const;
      const routed = [x, y, rows, offsets, tokens, factors, inputFactors] as const;
      const out = [gradients.gate, gradients.up, gradients.down] as const;
      return checked(() => engine.expertGradients(hidden, width, kindOf(activation), ...weights, ...routed, ...out));
    },
    adamStep: (weights, gradients, { first, second }, sizes, step) =>
      checked(() => engine.adamStep(weights, gradients, first, second, sizes, step)),
  };
}
