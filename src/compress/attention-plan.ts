import type { Backend } from "../engine/backend.js";
import { attentionExperts, type ModelDescription, type RoutedExperts } from "../model/description.js";
import type { RoutedNorms } from "../model/moe.js";
import { countedTokens } from "./counted-tokens.js";
import { requireFinite } from "./not-finite.js";
import { type LayerObservation, observationOf } from "./observer.js";
import type { BlockPlan } from "./plan.js";
import { type LayerPlanOptions, planLayer } from "./plan-layer.js";
import type { Settings } from "./settings.js";
import { addRouting, emptyStatistics, type StatisticSums, wantedBy } from "./statistics.js";

/**
 * How a method treats the experts of a mixture of attention. What it ranks them by and whether it merges or prunes stays;
 * what is not defined here is left out: experts share keys and values, so that neurons of queries correspond as they are,
 * and without attention of all experts for all tokens there are no mean outputs. Groups are made by the router's logits.
 */
export function attentionSettings(settings: Settings): Settings {
  const grouping = settings.grouping === "hierarchical" ? "nearest" : settings.grouping;
  const similar = settings.gateSimilarity === "none" ? "cosine" : settings.gateSimilarity;
  return {
    ...settings,
    ...{ routing: "model", statistics: "exact", grouping },
    ...{ outputSimilarity: "none", gateSimilarity: grouping === "none" ? "none" : similar },
    ...{ alignActivations: false, alignWeights: "none" },
  };
}

/** What a person should know of a model whose attention has experts. */
export function attentionNotes({ layers }: Pick<ModelDescription, "layers">, settings: Settings): string[] {
  if (!layers.some(attentionExperts)) return [];
  const how =
    attentionSettings(settings).grouping === "none" ? "pruned" : "grouped by their router's logits, not aligned";
  return [`The experts of the attention are reduced too, to as many as each feed-forward block keeps (${how}).`];
}

/** Accumulates what is observed of the experts of a mixture of attention, batch by batch, and plans them. */
export class AttentionObserver {
  private readonly settings: Settings;
  private readonly sums: StatisticSums;

  /** @param settings of the method */
  constructor(
    private readonly backend: Backend,
    private readonly mixture: RoutedExperts,
    settings: Settings,
  ) {
    this.settings = attentionSettings(settings);
    const { count, width } = mixture.experts;
    this.sums = emptyStatistics(count, width, wantedBy(this.settings));
  }

  /** Adds a batch: x `[tokens, hidden]`, what router and experts made of it, and which rows are tokens. */
  add(x: Float32Array, routed: RoutedNorms, mask: Uint8Array | undefined): void {
    const { count } = this.mixture.experts;
    const counted = countedTokens(x, routed, mask, count);
    if (counted.routing.tokens === 0) return;
    const finite = { "router logits": counted.logits, "norms of expert outputs": counted.norms };
    requireFinite(finite, this.mixture.router);
    addRouting(this.sums, this.backend, counted, count);
  }

  /** The finished statistics. */
  observation(): LayerObservation {
    const observation = observationOf(this.sums, this.settings, undefined);
    requireFinite({ saliency: observation.saliency, gateGram: observation.gateGram }, this.mixture.router);
    return observation;
  }

  async plan(options: Pick<LayerPlanOptions, "layer" | "kept" | "pause">): Promise<BlockPlan> {
    const { settings } = this;
    const routerGroups = this.mixture.router.groups?.count ?? 1;
    const { layer: _, ...plan } = await planLayer(this.observation(), {
      ...{ ...options, settings, routerGroups, aligner: undefined },
    });
    return plan;
  }
}
