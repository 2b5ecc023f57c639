import { encode } from "../checkpoint/dtypes.js";
import type { Tensor } from "../checkpoint/tensor.js";
import { countedLengths, countedTokens } from "../compress/counted-tokens.js";
import { meanOutputsOf } from "../compress/mean-outputs.js";
import { notFinite } from "../compress/not-finite.js";
import { sampledRows } from "../compress/samples.js";
import {
  addTokens,
  emptyStatistics,
  type StatisticSums,
  statisticArrays,
  type WantedStatistics,
} from "../compress/statistics.js";
import type { Backend } from "../engine/backend.js";
import type { TokenBatch } from "../model/layer.js";
import type { MoeBlock, MoeOutput, MoeTensors } from "../model/moe.js";
import type { UnitStatistics } from "./unit-file.js";

/** Observes one layer on the sequences of one unit, batch by batch. */
export class UnitObserver {
  private readonly sums: StatisticSums;
  private readonly samples: Float32Array[] = [];
  private readonly sampleRows: number[] = [];

  /** @param samplesPerSequence tokens of each sequence whose inputs are kept, chosen by `seed` */
  constructor(
    private readonly backend: Backend,
    private readonly block: MoeBlock,
    private readonly wanted: WantedStatistics,
    private readonly samplesPerSequence: number,
    private readonly seed: number,
  ) {
    this.sums = emptyStatistics(block.experts.count, block.experts.width, wanted);
  }

  /** Adds a batch: x `[tokens, hidden]` is what the routed experts see, result what the block made of it. */
  add(x: Float32Array, result: MoeOutput, batch: TokenBatch): void {
    const { backend, block, wanted, samplesPerSequence, seed } = this;
    const tokens = countedTokens(x, result, batch.mask, block.experts.count);
    if (tokens.routing.tokens > 0) addTokens(this.sums, backend, block, tokens, wanted.activations === "gated");
    const lengths = countedLengths(batch, true);
    const hidden = block.experts.hidden;
    let first = 0;
    for (const [i, length] of lengths.entries()) {
      const rows = sampledRows(length, samplesPerSequence, seed, batch.keys?.[i] ?? i);
      for (const row of rows) this.samples.push(tokens.x.slice((first + row) * hidden, (first + row + 1) * hidden));
      this.sampleRows.push(rows.length);
      first += length;
    }
  }

  /** What the unit's file holds. Activations become outputs, so that plans need no weights. Errors: NOT_FINITE. */
  async finish(tensors: MoeTensors): Promise<UnitStatistics> {
    const { backend, block, sums } = this;
    const { activations, ...others } = sums;
    const { factors } = others;
    const [outputs] = activations ? await meanOutputsOf(backend, [{ activations, factors }], tensors) : [];
    const finished = { ...others, activations: undefined, outputs };
    for (const [name, values] of statisticArrays(finished)) {
      if (!values.every(Number.isFinite))
        throw notFinite(`${name} of the block with router ${block.description.router.weight}`);
    }
    return { sums: finished, samples: this.sampleTensor(), sampleRows: Int32Array.from(this.sampleRows) };
  }

  /** In bfloat16 the products round their inputs to it anyway. */
  private sampleTensor(): Tensor {
    const { hidden } = this.block.experts;
    const values = new Float32Array(this.samples.length * hidden);
    for (const [row, input] of this.samples.entries()) values.set(input, row * hidden);
    const dtype = this.backend.precision === "bf16" ? "BF16" : "F32";
    return { dtype, shape: [this.samples.length, hidden], data: encode(dtype, values) };
  }
}
