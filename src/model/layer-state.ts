import type { Backend, KeyValueCache, Segment } from "../engine/backend.js";
import type { ModelDescription } from "./description.js";
import { mixerStateSize } from "./mixers/kinds.js";

/**
 * What a layer keeps of the sequences it has seen, so that their next tokens can be computed alone. Sequences are numbered
 * by the caller. A layer and its state belong together, but the state outlives the weights where these are streamed.
 *
 * A recurrent state cannot branch at any place of a sequence: whoever uses `Segment.prefix` branches only at the end of
 * what a sequence keeps.
 */
export interface LayerState {
  /** Bytes in use. */
  readonly bytes: number;
  /** Forgets a sequence; one that is not there is no mistake. */
  forget(sequence: number): void;
  dispose(): void;
}

/** What a state takes. */
export interface StateSize {
  readonly bytesPerToken: number;
  readonly bytesPerSequence: number;
}

/** Keys and values of every token. */
export class KeyValueState implements LayerState {
  constructor(readonly cache: KeyValueCache) {}

  get bytes(): number {
    return this.cache.bytes;
  }

  forget(sequence: number): void {
    this.cache.truncate(sequence, 0);
  }

  dispose(): void {
    this.cache.dispose();
  }
}

/** The cache of a state that is one of keys and values. */
export function cacheOf(state: LayerState): KeyValueCache {
  if (state instanceof KeyValueState) return state.cache;
  throw new TypeError("the state is another layer's");
}

/** Size of a cache. The native one fills the values of a head up to 64 numbers. */
export function cacheSize(keyValueHeads: number, headSize: number, valueSize: number, backend: Backend): StateSize {
  const native = backend.name === "native";
  const numberBytes = native && backend.precision === "bf16" ? 2 : 4;
  const values = native ? 64 * Math.ceil(valueSize / 64) : valueSize;
  return { bytesPerToken: keyValueHeads * (headSize + values) * numberBytes, bytesPerSequence: 0 };
}

/** What the layers of a model keep of tokens and sequences. */
export function modelStateSize(model: ModelDescription, backend: Backend): StateSize {
  const sizes = model.layers.map(({ mixer }) => mixerStateSize(mixer, backend));
  return {
    bytesPerToken: sizes.reduce((sum, { bytesPerToken }) => sum + bytesPerToken, 0),
    bytesPerSequence: sizes.reduce((sum, { bytesPerSequence }) => sum + bytesPerSequence, 0),
  };
}

/** Tokens that continue sequences whose earlier tokens are in a state. */
export interface ContinuedTokens {
  /** The tokens, sequence by sequence. */
  readonly segments: readonly Segment[];
  /** `[tokens]`: the place of each token in its sequence, counted from the start of the prefix. */
  readonly positions: Int32Array;
  /**
   * Length of the table of rotary angles: more than any position. As long as it is at most the model's `maxPositions`, no
   * kind of scaling depends on it.
   */
  readonly tableLength: number;
}
