import type { LayerState } from "../layer-state.js";
import type { NoMixerDescription } from "./descriptions.js";
import type { MixerKind } from "./mixer.js";

/** What a layer without a mixer keeps: nothing. */
const NOTHING: LayerState = { bytes: 0, forget() {}, dispose() {} };

/** No mixer: nothing is added to the hidden states. */
export const noMixer: MixerKind<NoMixerDescription> = {
  tensors: () => [],
  load: async () => ({
    mix: (x) => new Float32Array(x.length),
    mixNext: (x) => new Float32Array(x.length),
  }),
  makeState: () => NOTHING,
  stateSize: () => ({ bytesPerToken: 0, bytesPerSequence: 0 }),
};
