import type { Backend } from "../engine/backend.js";
import type { MoeBlock, MoeTensors } from "../model/moe.js";
import { DecodedExpert } from "./decoded-expert.js";
import { addNeuronProducts, neuronSquares, toDistances } from "./neurons.js";
import { notFinite } from "./not-finite.js";
import { PrincipalComponents } from "./principal-components.js";
import type { TokenSamples } from "./samples.js";
import type { Settings } from "./settings.js";

/** Pairs whose assignments are solved together, by all threads, and the most that their costs take. */
const PAIRS = 8;
const COST_BYTES = 256 << 20;

/** How a member's neurons correspond to a centroid's, and what that was decided by. */
export interface Alignment {
  readonly member: number;
  /** p[i] = the member's neuron that is placed at the centroid's neuron i. */
  readonly permutation: Int32Array;
  /** Costs of placing member neuron q at centroid neuron p, each `[width, width]`; only where they are asked for. */
  readonly activations?: Float64Array | undefined;
  readonly weights?: Float64Array | undefined;
}

/** One way in which neurons of two experts are compared. */
interface Comparison {
  /** Whether vectors are compared by their directions alone. */
  readonly unit: boolean;
  /** Takes an expert, as the centroid or as a member; returns the squared lengths of its neurons' vectors `[width]`. */
  take(role: Role, expert: number): Promise<Float64Array>;
  /** Adds inner products of the centroid's neurons and the member's to sums `[width, width]`. */
  addProducts(sums: Float64Array): void;
}

type Role = "centroid" | "member";

export interface AlignerOptions {
  readonly backend: Backend;
  readonly block: MoeBlock;
  readonly tensors: MoeTensors;
  readonly samples: TokenSamples | undefined;
  readonly settings: Settings;
  /** Called between long steps, for the process to hear signals; throws to stop. */
  readonly pause: () => Promise<void>;
  /** Whether costs are told besides permutations. */
  readonly costs: boolean;
}

/** Bytes that an alignment takes besides the sampled tokens and their activations: costs, and weights of two experts. */
export function alignmentBytes({ width, hidden }: { readonly width: number; readonly hidden: number }): number {
  const size = width ** 2;
  return 8 * (pairsAtOnce(size) + 1) * size + 4 * 2 * 3 * width * hidden;
}

/** @param size of a pair's costs */
function pairsAtOnce(size: number): number {
  return Math.min(PAIRS, Math.max(1, Math.floor(COST_BYTES / (8 * size))));
}

/** Aligns the neurons of experts with those of a centroid (Eq. 6: the permutation that minimises Cact + Cwt). */
export class Aligner {
  private readonly costs: Float64Array;
  private readonly weightCost: Float64Array;

  private constructor(
    private readonly options: AlignerOptions,
    private readonly activations: Comparison | undefined,
    private readonly weights: Comparison | undefined,
  ) {
    const size = options.block.experts.width ** 2;
    this.costs = new Float64Array(pairsAtOnce(size) * size);
    this.weightCost = new Float64Array(weights === undefined ? 0 : size);
  }

  static async create(options: AlignerOptions): Promise<Aligner> {
    return new Aligner(options, activationComparison(options), await weightComparison(options));
  }

  /** Aligns members' neurons with the centroid's, in the members' order. */
  async *align(centroid: number, members: readonly number[]): AsyncGenerator<Alignment> {
    if (members.length === 0) return;
    const { activations, weights, costs, options } = this;
    const squares = [await activations?.take("centroid", centroid), await weights?.take("centroid", centroid)];
    const { width } = options.block.experts;
    const size = width ** 2;
    const most = costs.length / size;
    for (let first = 0; first < members.length; first += most) {
      const chunk = members.slice(first, first + most);
      const kept: Pick<Alignment, "activations" | "weights">[] = [];
      for (const [i, member] of chunk.entries()) {
        await options.pause();
        const cost = costs.subarray(i * size, (i + 1) * size).fill(0);
        if (activations !== undefined) await addDistances(activations, member, squares[0]!, cost);
        const own = options.costs && activations ? { activations: cost.slice() } : {};
        if (weights !== undefined) {
          const part = this.weightCost.fill(0);
          await addDistances(weights, member, squares[1]!, part);
          for (let j = 0; j < size; j++) cost[j]! += part[j]!;
        }
        // A sum is finite only if all of its terms are.
        if (!Number.isFinite(cost.reduce((sum, value) => sum + value, 0)))
          throw notFinite(`neurons of experts ${centroid} and ${member}`);
        kept.push(options.costs && weights ? { ...own, weights: this.weightCost.slice() } : own);
      }
      const permutations = options.backend.assignment(costs.subarray(0, chunk.length * size), width);
      for (const [i, member] of chunk.entries())
        yield { member, permutation: permutations.subarray(i * width, (i + 1) * width), ...kept[i] };
    }
  }
}

/** Adds the distances of the centroid's neurons and a member's to cost `[width, width]`, which is 0. */
async function addDistances(way: Comparison, member: number, squares: Float64Array, cost: Float64Array): Promise<void> {
  const own = await way.take("member", member);
  way.addProducts(cost);
  toDistances(cost, squares, own, way.unit);
}

/** Neurons by the columns of a matrix `[rows, width]` of each expert, by their directions. */
class Columns implements Comparison {
  readonly unit = true;
  private readonly values: Record<Role, Float32Array> = { centroid: new Float32Array(0), member: new Float32Array(0) };

  /** @param matrix makes an expert's matrix, in the one before of the same role where it has its size */
  constructor(
    private readonly backend: Backend,
    private readonly width: number,
    private readonly matrix: (expert: number, before: Float32Array) => Promise<Float32Array>,
  ) {}

  async take(role: Role, expert: number): Promise<Float64Array> {
    this.values[role] = await this.matrix(expert, this.values[role]);
    const squares = new Float64Array(this.width);
    this.backend.addColumnSquares(squares, this.values[role]);
    return squares;
  }

  addProducts(sums: Float64Array): void {
    const { width } = this;
    this.backend.addTransposedProduct(sums, this.values.centroid, this.values.member, width, width);
  }
}

/** Neurons by all of their weights. */
class WholeWeights implements Comparison {
  private readonly values = { centroid: new DecodedExpert(), member: new DecodedExpert() };

  constructor(
    private readonly backend: Backend,
    private readonly tensors: MoeTensors,
    readonly unit: boolean,
  ) {}

  async take(role: Role, expert: number): Promise<Float64Array> {
    return neuronSquares(this.backend, this.values[role].of(await this.tensors.experts.read(expert)));
  }

  addProducts(sums: Float64Array): void {
    addNeuronProducts(this.backend, sums, this.values.centroid, this.values.member);
  }
}

/** By activations of the sampled tokens. */
function activationComparison({ backend, block, samples, settings }: AlignerOptions): Comparison | undefined {
  if (!settings.alignActivations || samples === undefined) return undefined;
  const { experts } = block;
  const { hidden, width } = experts;
  const size = samples.count * width;
  return new Columns(backend, width, async (expert, before) => {
    const values = before.length === size ? before : new Float32Array(size);
    let first = 0;
    for (const inputs of samples.inputs(expert)) {
      const end = first + (inputs.length / hidden) * width;
      backend.expertActivation(inputs, experts, expert, values.subarray(first, end));
      first = end;
    }
    return values;
  });
}

async function weightComparison(options: AlignerOptions): Promise<Comparison | undefined> {
  const { backend, block, tensors, settings, pause } = options;
  switch (settings.alignWeights) {
    case "none":
      return undefined;
    case "pca": {
      const components = await PrincipalComponents.of(backend, tensors.experts, pause);
      return new Columns(backend, block.experts.width, async (expert) =>
        components.project(await tensors.experts.read(expert)),
      );
    }
    case "raw":
    case "unit":
      return new WholeWeights(backend, tensors, settings.alignWeights === "unit");
  }
}
