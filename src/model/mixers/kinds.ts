import type { Backend } from "../../engine/backend.js";
import type { LayerState, StateSize } from "../layer-state.js";
import type { NamedTensor } from "../tensor-list.js";
import type { WeightLoader } from "../weight-loader.js";
import { attention } from "./attention.js";
import { channelDeltaRule } from "./channel-delta-rule.js";
import { deltaRule } from "./delta-rule.js";
import type { MixerDescription } from "./descriptions.js";
import { latentAttention } from "./latent-attention.js";
import { linearAttention } from "./linear-attention.js";
import { mamba } from "./mamba.js";
import type { Mixer, MixerKind } from "./mixer.js";
import { mixtureOfAttention } from "./mixture-of-attention.js";
import { noMixer } from "./none.js";
import { selectiveScan } from "./selective-scan.js";
import { shortConvolution } from "./short-convolution.js";

type Kinds = { readonly [K in MixerDescription["kind"]]: MixerKind<Extract<MixerDescription, { kind: K }>> };

const KINDS: Kinds = {
  attention,
  "latent-attention": latentAttention,
  "mixture-of-attention": mixtureOfAttention,
  "delta-rule": deltaRule,
  "channel-delta-rule": channelDeltaRule,
  mamba,
  "selective-scan": selectiveScan,
  none: noMixer,
  "linear-attention": linearAttention,
  "short-convolution": shortConvolution,
};

function kindOf(mixer: MixerDescription): MixerKind<MixerDescription> {
  return KINDS[mixer.kind] as MixerKind<MixerDescription>;
}

/** Tensors of a mixer. */
export function mixerTensors(mixer: MixerDescription, hidden: number): NamedTensor[] {
  return kindOf(mixer).tensors(mixer, hidden);
}

export function loadMixer(mixer: MixerDescription, loader: WeightLoader): Promise<Mixer> {
  return kindOf(mixer).load(mixer, loader);
}

/** An empty state for a layer with this mixer. */
export function makeMixerState(mixer: MixerDescription, backend: Backend): LayerState {
  return kindOf(mixer).makeState(mixer, backend);
}

export function mixerStateSize(mixer: MixerDescription, backend: Backend): StateSize {
  return kindOf(mixer).stateSize(mixer, backend);
}
