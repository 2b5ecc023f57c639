import { setImmediate as nextTurn } from "node:timers/promises";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { Backend, Segment } from "../engine/backend.js";
import type { ModelDescription } from "../model/description.js";
import { EmbeddingRows } from "../model/embedding-rows.js";
import type { OutputHead } from "../model/forward.js";
import type { ContinuedTokens, LayerState } from "../model/layer-state.js";
import { makeMixerState } from "../model/mixers/kinds.js";
import type { LayerWeights, LoadedLayer } from "./weights.js";

/** Tokens that a layer works on at a time. More would only take more memory: products are at full speed by then. */
export const SLICE_TOKENS = 2048;

/** The next tokens of one sequence. */
export interface Piece {
  readonly sequence: number;
  readonly prefix: Segment["prefix"];
  readonly ids: readonly number[];
  /** Place of the first token, counted from the start of the prefix. */
  readonly position: number;
  /** Indices of tokens whose last hidden state is wanted, in ascending order. */
  readonly wanted: readonly number[];
}

/** Some of a pass's tokens. */
interface Slice extends ContinuedTokens {
  hidden: Float32Array;
  /** Rows that are wanted. */
  readonly wanted: readonly number[];
}

/** A model's weights with what its layers remember. One pass at a time. */
export class ModelRunner {
  private readonly states: readonly LayerState[];
  private readonly embedding: EmbeddingRows;
  private tableLength = 1024;

  constructor(
    checkpoint: Checkpoint,
    private readonly model: ModelDescription,
    backend: Backend,
    private readonly weights: LayerWeights,
    private readonly head: OutputHead,
    private readonly sliceTokens = SLICE_TOKENS,
  ) {
    this.embedding = new EmbeddingRows(checkpoint, model);
    this.states = model.layers.map(({ mixer }) => makeMixerState(mixer, backend));
  }

  /**
   * Runs the layers over the next tokens of some sequences, and returns the last hidden states of those that are wanted
   * `[wanted, hidden]`, in the order of the pieces. A piece's prefix is remembered already, or comes before it. `check` is
   * called now and then and may throw. After an error the sequences of the pieces must be forgotten.
   */
  async run(pieces: readonly Piece[], check: () => void): Promise<Float32Array> {
    const slices = await this.slices(pieces);
    let index = 0;
    for await (const loaded of this.weights.layers()) {
      for (const slice of slices) {
        slice.hidden = layerOutput(loaded, slice, this.states[index]!);
        // One token more of a few answers is soon done: going through the event loop would take longer.
        if (slice.positions.length > 64) await nextTurn();
        check();
      }
      index += 1;
    }
    return this.wantedRows(slices);
  }

  /** Logits `[rows, vocabulary]` of last hidden states. */
  logits(hidden: Float32Array): Float32Array {
    return this.head.logits(hidden);
  }

  forget(sequence: number): void {
    for (const state of this.states) state.forget(sequence);
  }

  /** Bytes of what is remembered. */
  get stateBytes(): number {
    return this.states.reduce((sum, state) => sum + state.bytes, 0);
  }

  dispose(): void {
    for (const state of this.states) state.dispose();
    this.head.dispose();
    this.weights.dispose();
  }

  /** Cuts the pieces so that no slice has more than `sliceTokens` tokens. */
  private async slices(pieces: readonly Piece[]): Promise<Slice[]> {
    const last = Math.max(...pieces.map(({ position, ids }) => position + ids.length));
    while (this.tableLength < last) this.tableLength *= 2;
    const tableLength = Math.min(this.tableLength, Math.max(this.model.maxPositions, last));
    const slices: Slice[] = [];
    let rows = new SliceRows();
    const finish = async () => {
      const { segments, positions, wanted, ids } = rows;
      const hidden = await this.embedding.embed(ids);
      slices.push({ segments, wanted, tableLength, positions: Int32Array.from(positions), hidden });
      rows = new SliceRows();
    };
    for (const piece of pieces) {
      for (let begin = 0; begin < piece.ids.length; ) {
        const end = Math.min(piece.ids.length, begin + this.sliceTokens - rows.ids.length);
        rows.add(piece, begin, end);
        begin = end;
        if (rows.ids.length === this.sliceTokens) await finish();
      }
    }
    if (rows.ids.length > 0) await finish();
    return slices;
  }

  private wantedRows(slices: readonly Slice[]): Float32Array {
    const { hiddenSize: size } = this.model;
    const out = new Float32Array(slices.reduce((sum, { wanted }) => sum + wanted.length, 0) * size);
    let row = 0;
    for (const { hidden, wanted } of slices) {
      for (const token of wanted) out.set(hidden.subarray(token * size, (token + 1) * size), size * row++);
    }
    return out;
  }
}

/** The rows of a slice as they are put together. */
class SliceRows {
  readonly segments: Segment[] = [];
  readonly positions: number[] = [];
  readonly ids: number[] = [];
  readonly wanted: number[] = [];

  /** Adds tokens `[begin, end)` of a piece. */
  add({ sequence, prefix, ids, position, wanted }: Piece, begin: number, end: number): void {
    const shift = this.ids.length - begin;
    for (const index of wanted) if (index >= begin && index < end) this.wanted.push(index + shift);
    for (let i = begin; i < end; i++) {
      this.positions.push(position + i);
      this.ids.push(ids[i]!);
    }
    this.segments.push({ sequence, tokens: end - begin, prefix });
  }
}

function layerOutput({ layer, moe }: LoadedLayer, slice: Slice, state: LayerState): Float32Array {
  const mixed = layer.mixNext(slice.hidden, slice, state);
  const x = layer.feedForwardInput(mixed);
  return layer.finish(mixed, x, layer.feedForward(x, moe?.run(layer.moeInput(x)).output));
}
