import type { ModelDescription } from "../../model/description.js";
import type { MixerDescription } from "../../model/mixers/descriptions.js";

/** Layers by kind, the most frequent kinds first. */
export interface LayerKinds {
  /** By their feed-forward block: "with experts", "dense", "without feed-forward block". */
  readonly blocks: Readonly<Record<string, number>>;
  /** By what mixes their tokens, in the words of the papers. */
  readonly mixers: Readonly<Record<string, number>>;
}

export function layerKinds({ layers }: ModelDescription): LayerKinds {
  return {
    blocks: count(layers.map(({ feedForward }) => BLOCKS[feedForward.kind])),
    mixers: count(layers.map(({ mixer }) => mixerInWords(mixer))),
  };
}

const BLOCKS = { moe: "with experts", dense: "dense", none: "without feed-forward block" } as const;

const MIXERS: Readonly<Record<Exclude<MixerDescription["kind"], "attention">, string>> = {
  "latent-attention": "latent attention",
  "mixture-of-attention": "mixture of attention heads",
  "delta-rule": "gated delta rule",
  "channel-delta-rule": "Kimi Delta Attention",
  mamba: "Mamba-2",
  "selective-scan": "Mamba",
  none: "without mixer",
  "linear-attention": "lightning attention",
  "short-convolution": "short convolution",
};

function mixerInWords(mixer: MixerDescription): string {
  if (mixer.kind !== "attention") return MIXERS[mixer.kind];
  const { gate, window, chunk, rope, sinks } = mixer;
  return [
    gate === undefined ? "attention" : "gated attention",
    ...(window === undefined ? [] : [`in a window of ${window}`]),
    ...(chunk === undefined ? [] : [`in chunks of ${chunk}`]),
    ...(rope === undefined ? ["without positions"] : []),
    ...(sinks === undefined ? [] : ["with sinks"]),
  ].join(" ");
}

function count(kinds: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([, a], [, b]) => b - a));
}
