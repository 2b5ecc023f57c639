import { setImmediate as nextTurn } from "node:timers/promises";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { decode } from "../checkpoint/dtypes.js";
import type { Backend, Matrix } from "../engine/backend.js";
import { isMoe, type LayerDescription, type ModelDescription } from "./description.js";
import { embed } from "./embedding.js";
import { add, Layer, type TokenBatch } from "./layer.js";
import { MoeBlock, type MoeOutput, readMoe } from "./moe.js";

/** Sees what a forward pass computes, batch by batch. */
export interface ForwardTap {
  /** Output of a decoder layer `[tokens, hidden]`. */
  hidden?(layer: number, batch: number, hidden: Float32Array): void;
  moe?(layer: number, batch: number, input: Float32Array, result: MoeOutput): void;
}

/**
 * Runs all layers over the batches, one layer's weights in memory at a time, and returns the last hidden states of each
 * batch `[tokens, hidden]`, before the final norm.
 */
export async function forward(
  checkpoint: Checkpoint,
  model: ModelDescription,
  backend: Backend,
  batches: readonly TokenBatch[],
  tap: ForwardTap = {},
): Promise<Float32Array[]> {
  const hidden = await embed(checkpoint, model, batches);
  for (const description of model.layers) {
    const layer = await Layer.load(checkpoint, model, description.index, backend);
    const moe = await loadMoe(checkpoint, description, backend);
    for (const [index, batch] of batches.entries()) {
      const attended = layer.attend(hidden[index]!, batch);
      const x = layer.feedForwardInput(attended);
      const result = moe?.run(x);
      if (result !== undefined) tap.moe?.(description.index, index, x, result);
      const output = result?.output ?? layer.dense(x);
      hidden[index] = add(attended, output);
      tap.hidden?.(description.index, index, hidden[index]!);
      await nextTurn();
    }
    layer.dispose();
    moe?.dispose();
  }
  return hidden;
}

/** The MoE block of a layer as the checkpoint has it, or undefined where the layer is dense. */
export async function loadMoe(checkpoint: Checkpoint, layer: LayerDescription, backend: Backend) {
  if (!isMoe(layer)) return undefined;
  return new MoeBlock(backend, layer.feedForward, await readMoe(checkpoint, layer.feedForward));
}

/** The final norm and the output matrix. */
export class OutputHead {
  private constructor(
    private readonly backend: Backend,
    private readonly matrix: Matrix,
    private readonly norm: Float32Array,
    private readonly epsilon: number,
  ) {}

  static async load(checkpoint: Checkpoint, model: ModelDescription, backend: Backend): Promise<OutputHead> {
    const matrix = backend.matrix(await checkpoint.read(model.outputHead));
    return new OutputHead(backend, matrix, decode(await checkpoint.read(model.finalNorm)), model.normEpsilon);
  }

  /** Logits `[tokens, vocabulary]` of last hidden states `[tokens, hidden]`. */
  logits(hidden: Float32Array): Float32Array {
    return this.backend.linear(this.backend.rmsNorm(hidden, this.norm, this.epsilon), this.matrix);
  }

  dispose(): void {
    this.matrix.dispose();
  }
}
