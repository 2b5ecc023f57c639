import { InputSums } from "../../compress/steps/input-sums.js";
import type { Need } from "../../compress/steps/step.js";
import type { Backend } from "../../engine/backend.js";

/** Sums over the inputs of projections, by the name of the weight, made while a layer runs. */
export class TappedInputs {
  readonly sums = new Map<string, InputSums>();
  /** Of the batch that runs. */
  mask: Uint8Array | undefined;
  private last: { readonly x: Float32Array; readonly sums: InputSums } | undefined;

  /** @param columns of a weight whose inputs are wanted; undefined: they are not */
  constructor(
    private readonly backend: Backend,
    private readonly need: Need,
    private readonly columns: (weight: string) => number | undefined,
  ) {}

  /** Told of a projection's inputs (`WeightChanges.tap`). */
  readonly tap = (weight: string, x: Float32Array): void => {
    const known = this.sums.get(weight);
    // Projections of the same input share its sums; rows of one tensor are told the same input several times.
    if (this.last?.x === x) {
      if (known === undefined) this.sums.set(weight, this.last.sums);
      return;
    }
    const columns = this.columns(weight);
    if (columns === undefined) return;
    const own = known ?? new InputSums(this.backend, columns, this.need);
    own.add(x, this.mask);
    this.sums.set(weight, own);
    this.last = { x, sums: own };
  };
}
