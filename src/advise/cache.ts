import type { ModelDescription } from "../model/description.js";
import type { MixerDescription } from "../model/mixers/descriptions.js";

/** Bytes of a key's or value's number (bfloat16), and of one in a recurrent state (float32, as engines keep them). */
const KEY_BYTES = 2;
const STATE_BYTES = 4;

/** What engines keep of one sequence, in bytes. */
export interface CacheSize {
  /** Keys and values of all tokens that later ones can still see. */
  readonly keysAndValues: number;
  /** States of fixed size: matrices of linear attention, last inputs of convolutions. */
  readonly states: number;
}

/**
 * The caches of a sequence of `tokens` tokens. Keys and values are bfloat16, of a window or chunk only as many as it has;
 * latent attention keeps the latent vector and the rotary key (DeepSeek-AI 2024, arXiv 2405.04434, Section 2.1). The
 * program's own caches are larger where its kernels want another layout (model/layer-state.ts).
 */
export function sequenceCache({ layers }: Pick<ModelDescription, "layers">, tokens: number): CacheSize {
  const kept = layers.map(({ mixer }) => mixerCache(mixer, tokens));
  return {
    keysAndValues: kept.reduce((sum, one) => sum + one.keysAndValues, 0),
    states: kept.reduce((sum, one) => sum + one.states, 0),
  };
}

function mixerCache(mixer: MixerDescription, tokens: number): CacheSize {
  const keys = (numbers: number, seen = tokens) => ({
    keysAndValues: KEY_BYTES * numbers * Math.min(tokens, seen),
    states: 0,
  });
  const states = (matrices: number, inputs: number) => ({
    keysAndValues: 0,
    states: STATE_BYTES * matrices + KEY_BYTES * inputs,
  });
  switch (mixer.kind) {
    case "attention":
      return keys(
        mixer.keyValueHeads * (mixer.headSize + (mixer.valueSize ?? mixer.headSize)),
        mixer.window ?? mixer.chunk,
      );
    case "latent-attention":
      return keys(mixer.rank + mixer.rotarySize);
    case "mixture-of-attention":
      return keys(2 * mixer.keyValueHeads * mixer.headSize);
    case "delta-rule": {
      const { kernel, keyHeads, keySize, valueHeads, valueSize } = mixer;
      const channels = 2 * keyHeads * keySize + valueHeads * valueSize;
      return states(valueHeads * keySize * valueSize, (kernel - 1) * channels);
    }
    case "channel-delta-rule": {
      const { kernel, heads, headSize } = mixer;
      return states(heads * headSize ** 2, (kernel - 1) * 3 * heads * headSize);
    }
    case "mamba": {
      const { kernel, heads, headSize, groups, stateSize } = mixer;
      return states(heads * headSize * stateSize, (kernel - 1) * (heads * headSize + 2 * groups * stateSize));
    }
    case "selective-scan":
      return states(mixer.channels * mixer.stateSize, (mixer.kernel - 1) * mixer.channels);
    case "none":
      return states(0, 0);
    case "linear-attention":
      return states(mixer.heads * mixer.headSize ** 2, 0);
    case "short-convolution":
      return states(0, (mixer.kernel - 1) * mixer.output.shape[1]);
  }
}
