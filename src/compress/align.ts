import type { Backend } from "../engine/backend.js";
import type { MoeBlock, MoeTensors } from "../model/moe.js";
import { addSquares, distances, neuronColumns, neuronDistances } from "./neurons.js";
import { notFinite } from "./not-finite.js";
import { PrincipalComponents } from "./principal-components.js";
import type { TokenSamples } from "./samples.js";
import type { Settings } from "./settings.js";

/** How a member's neurons correspond to a centroid's, and what that was decided by. */
export interface Alignment {
  /** Costs of placing member neuron q at centroid neuron p, each `[width, width]`. */
  readonly activations: Float64Array | undefined;
  readonly weights: Float64Array | undefined;
  /** p[i] = the member's neuron that is placed at the centroid's neuron i. */
  readonly permutation: Int32Array;
}

/** Aligns the neurons of experts with those of a centroid (Eq. 6: the permutation that minimises Cact + Cwt). */
export class Aligner {
  /** The centroid whose weight features were computed last: the members of a group follow one another. */
  private last: { readonly centroid: number; readonly weights: Float32Array | undefined } | undefined;

  private constructor(
    private readonly backend: Backend,
    private readonly block: MoeBlock,
    private readonly tensors: MoeTensors,
    private readonly samples: TokenSamples | undefined,
    private readonly settings: Settings,
    private readonly components: PrincipalComponents | undefined,
  ) {}

  static async create(
    backend: Backend,
    block: MoeBlock,
    tensors: MoeTensors,
    samples: TokenSamples | undefined,
    settings: Settings,
    pause: () => Promise<void>,
  ): Promise<Aligner> {
    const pca = settings.alignWeights === "pca";
    const components = pca ? await PrincipalComponents.of(backend, tensors.experts, pause) : undefined;
    return new Aligner(backend, block, tensors, samples, settings, components);
  }

  /** Aligns a member's neurons with the centroid's. */
  align(centroid: number, member: number): Alignment {
    const { backend } = this;
    const { width } = this.block.experts;
    const products = this.activationProducts(centroid, member);
    const activations = products && distances(products.cross, products.a, products.b, true);
    if (this.last?.centroid !== centroid) this.last = { centroid, weights: this.weightFeatures(centroid) };
    const [a, b] = [this.last.weights, this.weightFeatures(member)];
    const weights = a && b && neuronDistances(backend, a, b, width, this.settings.alignWeights !== "raw");
    const cost = new Float64Array(width * width);
    for (const part of [activations, weights]) {
      if (part !== undefined) for (let i = 0; i < cost.length; i++) cost[i]! += part[i]!;
    }
    if (!cost.every(Number.isFinite)) throw notFinite(`neurons of experts ${centroid} and ${member}`);
    return { activations, weights, permutation: backend.assignment(cost, width) };
  }

  /** Sums over the sampled tokens of a_p b_q, a_p², b_q² for the activations a, b of two experts. */
  private activationProducts(centroid: number, member: number) {
    if (!this.settings.alignActivations || this.samples === undefined) return undefined;
    const { experts } = this.block;
    const { width } = experts;
    const cross = new Float64Array(width * width);
    const [a, b] = [new Float64Array(width), new Float64Array(width)];
    const memberInputs = this.samples.inputs(member);
    for (const centroidInput of this.samples.inputs(centroid)) {
      const memberInput = memberInputs.next().value as Float32Array;
      const centroidActivation = this.backend.expertActivation(centroidInput, experts, centroid);
      const memberActivation = this.backend.expertActivation(memberInput, experts, member);
      this.backend.addTransposedProduct(cross, centroidActivation, memberActivation, width, width);
      addSquares(a, centroidActivation);
      addSquares(b, memberActivation);
    }
    return { cross, a, b };
  }

  /** Features of an expert's neurons, one column for each neuron: `[features, width]`. */
  private weightFeatures(expert: number): Float32Array | undefined {
    switch (this.settings.alignWeights) {
      case "none":
        return undefined;
      case "pca":
        return this.components!.project(this.tensors.experts[expert]!);
      case "raw":
      case "unit":
        return neuronColumns(this.tensors.experts[expert]!);
    }
  }
}
