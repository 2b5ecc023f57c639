import type { Tensor } from "../checkpoint/tensor.js";
import type { Alignment } from "./align.js";
import type { LayerObservation } from "./observer.js";
import type { LayerPlan } from "./plan.js";
import type { Settings } from "./settings.js";
import type { Similarity } from "./similarity.js";

/** Everything a layer's plan was made from, under the names of the reference data (`trace.json`, `trace.safetensors`). */
export class LayerTrace {
  readonly tensors = new Map<string, Tensor>();
  json: Record<string, unknown> = {};

  constructor(
    private readonly layer: number,
    private readonly experts: number,
    private readonly settings: Settings,
  ) {}

  alignment(centroid: number, { member, activations, weights }: Alignment): void {
    const pair = `${centroid}.${member}`;
    if (this.settings.statistics === "batch-means") {
      const parts = [activations, weights].filter((part) => part !== undefined);
      const cost = parts[0]!.map((_, i) => parts.reduce((sum, part) => sum + part[i]!, 0));
      this.add(`cost.${pair}`, cost, Math.sqrt(cost.length));
    } else {
      if (activations) this.add(`cost_act.${pair}`, activations, Math.sqrt(activations.length));
      if (weights) this.add(`cost_wt.${pair}`, weights, Math.sqrt(weights.length));
    }
  }

  planned(plan: LayerPlan, saliency: Float64Array, similar: Similarity, observation: LayerObservation): void {
    const { experts } = this;
    const official = this.settings.statistics === "batch-means";
    this.add("saliency", saliency);
    if (similar.gate) this.add("gate_similarity", similar.gate, experts);
    if (similar.output) this.add("output_similarity", similar.output, experts);
    if (similar.gate || similar.output) {
      if (official)
        this.add(
          "distance",
          similar.combined.map((s, i) => (i % (experts + 1) === 0 ? 0 : 1 - s)),
          experts,
        );
      else this.add("similarity", similar.combined, experts);
    }
    const { meanOutputs } = observation;
    if (meanOutputs) this.add("mean_expert_output", meanOutputs, meanOutputs.length / experts);
    const centroids = plan.groups.map(({ members }) => members[0]!);
    const labels = Array.from({ length: experts }, (_, e) =>
      plan.groups.findIndex(({ members }) => members.includes(e)),
    );
    this.json = {
      layer: this.layer,
      saliency: Array.from(saliency),
      tokens_routed: Array.from(observation.routed),
      ...(official ? { cluster_labels: labels } : {}),
      centroids,
      groups: plan.groups,
      kept_experts: plan.keptExperts,
    };
  }

  private add(name: string, values: Float64Array, columns?: number): void {
    const shape = columns === undefined ? [values.length] : [values.length / columns, columns];
    const data = new Uint8Array(Float32Array.from(values).buffer);
    this.tensors.set(`layers.${this.layer}.${name}`, { dtype: "F32", shape, data });
  }
}
