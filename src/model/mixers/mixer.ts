import type { Backend } from "../../engine/backend.js";
import type { TokenBatch } from "../layer.js";
import type { ContinuedTokens, LayerState, StateSize } from "../layer-state.js";
import type { NamedTensor } from "../tensor-list.js";
import type { WeightLoader } from "../weight-loader.js";

/** A loaded mixer: x `[tokens, hidden]` -> `[tokens, hidden]`, without norm and residual. */
export interface Mixer {
  /** Whole sequences that start at position 0. */
  mix(x: Float32Array, batch: TokenBatch): Float32Array;
  /** The next tokens of sequences, which the state remembers from now on. */
  mixNext(x: Float32Array, tokens: ContinuedTokens, state: LayerState): Float32Array;
}

/** What there is to know about a kind of mixers, D its descriptions. */
export interface MixerKind<D> {
  tensors(description: D, hidden: number): NamedTensor[];
  load(description: D, loader: WeightLoader): Promise<Mixer>;
  makeState(description: D, backend: Backend): LayerState;
  stateSize(description: D, backend: Backend): StateSize;
}
