import { setImmediate as nextTurn } from "node:timers/promises";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { Backend, Matrix } from "../engine/backend.js";
import { isMoe, type LayerDescription, type ModelDescription } from "./description.js";
import { embed } from "./embedding.js";
import { Layer, type TokenBatch } from "./layer.js";
import { MoeBlock, type MoeOutput, readMoe } from "./moe.js";
import { readWeight, weightBytes } from "./read-weight.js";
import { type Operation, WeightLoader } from "./weight-loader.js";

/** Sees what a forward pass computes, batch by batch. What it throws ends the pass. */
export interface ForwardTap {
  /** Output of a decoder layer `[tokens, hidden]`. */
  hidden?(layer: number, batch: number, hidden: Float32Array): void;
  /** A MoE block: its input, what its router and routed experts made of it, and its whole output. */
  moe?(layer: number, batch: number, input: Float32Array, routed: MoeOutput, output: Float32Array): void;
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
    let moe: MoeBlock | undefined;
    try {
      moe = await loadMoe(checkpoint, description, backend);
      for (const [index, batch] of batches.entries()) {
        const mixed = layer.mix(hidden[index]!, batch);
        const x = layer.feedForwardInput(mixed);
        const routed = moe?.run(layer.moeInput(x));
        const output = layer.feedForward(x, routed?.output);
        if (routed !== undefined) tap.moe?.(description.index, index, x, routed, output);
        hidden[index] = layer.finish(mixed, x, output);
        tap.hidden?.(description.index, index, hidden[index]!);
        await nextTurn();
      }
    } finally {
      layer.dispose();
      moe?.dispose();
    }
  }
  return hidden;
}

/** The MoE block of a layer as the checkpoint has it, or undefined where the layer is dense. */
export async function loadMoe(checkpoint: Checkpoint, layer: LayerDescription, backend: Backend) {
  if (!isMoe(layer)) return undefined;
  return MoeBlock.load(backend, layer.feedForward, await readMoe(checkpoint, layer.feedForward, backend));
}

/** Largest part of the output matrix that is read at once, as stored; the whole can be larger than one array may be. */
const HEAD_BYTES = 2 ** 30;

/** The final norm and the output matrix. */
export class OutputHead {
  private constructor(
    private readonly loader: WeightLoader,
    /** Rows of the output matrix, in order. */
    private readonly parts: readonly Matrix[],
    private readonly norm: Operation,
    /** `[vocabulary]` */
    private readonly bias: Float32Array | undefined,
    private readonly model: ModelDescription,
  ) {}

  /** `partBytes`: see HEAD_BYTES. */
  static async load(checkpoint: Checkpoint, model: ModelDescription, backend: Backend, partBytes = HEAD_BYTES) {
    const { vocabularySize: vocabulary } = model;
    const { weight, bias } = model.outputHead;
    const rows = Math.max(1, Math.floor(partBytes / (weightBytes(checkpoint, weight) / vocabulary)));
    const loader = new WeightLoader(checkpoint, backend);
    const parts: Matrix[] = [];
    try {
      for (let begin = 0; begin < vocabulary; begin += rows) {
        parts.push(
          loader.matrix(await readWeight(checkpoint, weight, [begin, Math.min(vocabulary, begin + rows)], backend)),
        );
      }
      const norm = await loader.norm(model.finalNorm);
      return new OutputHead(loader, parts, norm, bias === undefined ? undefined : await loader.vector(bias), model);
    } catch (error) {
      loader.dispose();
      throw error;
    }
  }

  /** Logits `[tokens, vocabulary]` of last hidden states `[tokens, hidden]`. */
  logits(hidden: Float32Array): Float32Array {
    const logits = this.products(this.norm(hidden));
    const { logitScale: scale = 1, logitCap: cap } = this.model;
    if (scale !== 1) for (let i = 0; i < logits.length; i++) logits[i]! *= scale;
    if (cap !== undefined) for (let i = 0; i < logits.length; i++) logits[i] = cap * Math.tanh(logits[i]! / cap);
    return logits;
  }

  private products(x: Float32Array): Float32Array {
    const { backend } = this.loader;
    if (this.parts.length === 1) return backend.linear(x, this.parts[0]!, this.bias);
    const { vocabularySize: vocabulary, hiddenSize } = this.model;
    const tokens = x.length / hiddenSize;
    const logits = new Float32Array(tokens * vocabulary);
    let begin = 0;
    for (const part of this.parts) {
      const some = backend.linear(x, part, this.bias?.subarray(begin, begin + part.rows));
      for (let t = 0; t < tokens; t++) {
        logits.set(some.subarray(t * part.rows, (t + 1) * part.rows), t * vocabulary + begin);
      }
      begin += part.rows;
    }
    return logits;
  }

  dispose(): void {
    this.loader.dispose();
  }
}
