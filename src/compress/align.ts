import type { Backend } from "../engine/backend.js";
import type { MoeBlock, MoeTensors } from "../model/moe.js";
import { distances, neuronColumns, neuronDistances } from "./neurons.js";
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

/** What an expert's neurons are compared by; undefined where the settings do not ask for it. */
interface Features {
  readonly activations: readonly Float32Array[] | undefined;
  readonly weights: Float32Array | undefined;
}

/** Aligns the neurons of experts with those of a centroid (Eq. 6: the permutation that minimises Cact + Cwt). */
export class Aligner {
  /** The centroid whose features were computed last: the members of a group follow one another. */
  private last: ({ readonly centroid: number } & Features) | undefined;

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
  async align(centroid: number, member: number): Promise<Alignment> {
    const { backend } = this;
    const { width } = this.block.experts;
    if (this.last?.centroid !== centroid) this.last = { centroid, ...(await this.features(centroid)) };
    const [a, b] = [this.last, await this.features(member)];
    const activations = a.activations && b.activations && this.activationDistances(a.activations, b.activations);
    const weights =
      a.weights &&
      b.weights &&
      neuronDistances(backend, a.weights, b.weights, width, this.settings.alignWeights !== "raw");
    const cost = new Float64Array(width * width);
    for (const part of [activations, weights]) {
      if (part !== undefined) for (let i = 0; i < cost.length; i++) cost[i]! += part[i]!;
    }
    if (!cost.every(Number.isFinite)) throw notFinite(`neurons of experts ${centroid} and ${member}`);
    return { activations, weights, permutation: backend.assignment(cost, width) };
  }

  private async features(expert: number): Promise<Features> {
    return { activations: this.activationsOf(expert), weights: await this.weightFeatures(expert) };
  }

  /** Activations of an expert for the sampled tokens, part by part: each `[tokens, width]`. */
  private activationsOf(expert: number): Float32Array[] | undefined {
    if (!this.settings.alignActivations || this.samples === undefined) return undefined;
    const { experts } = this.block;
    return Array.from(this.samples.inputs(expert), (inputs) => this.backend.expertActivation(inputs, experts, expert));
  }

  private activationDistances(a: readonly Float32Array[], b: readonly Float32Array[]): Float64Array {
    const { width } = this.block.experts;
    const cross = new Float64Array(width * width);
    const [squaresOfA, squaresOfB] = [new Float64Array(width), new Float64Array(width)];
    for (const [i, part] of a.entries()) {
      this.backend.addTransposedProduct(cross, part, b[i]!, width, width);
      this.backend.addColumnSquares(squaresOfA, part);
      this.backend.addColumnSquares(squaresOfB, b[i]!);
    }
    return distances(cross, squaresOfA, squaresOfB, true);
  }

  /** Features of an expert's neurons, one column for each neuron: `[features, width]`. */
  private async weightFeatures(expert: number): Promise<Float32Array | undefined> {
    switch (this.settings.alignWeights) {
      case "none":
        return undefined;
      case "pca":
        return this.components!.project(await this.tensors.experts.read(expert));
      case "raw":
      case "unit":
        return neuronColumns(await this.tensors.experts.read(expert));
    }
  }
}
