import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { decode } from "../checkpoint/dtypes.js";
import type { Tensor } from "../checkpoint/tensor.js";
import type { Activation, ActivationSums, Backend, Experts, ExpertTensors } from "../engine/backend.js";
import type { MoeDescription, RoutedExperts, RouterDescription } from "./description.js";
import type { MoeInput } from "./layer.js";
import { readWeight } from "./read-weight.js";
import { type RouterOutput, type RouterPart, type RouterWeights, route } from "./router.js";

/** The experts of a layer as stored, or decoded from it. */
export interface StoredExperts {
  readonly count: number;
  /** Reads an expert. What is read is not kept: a layer's experts take as much memory as all else together. */
  read(expert: number): Promise<ExpertTensors>;
}

/** The tensors of a router, in memory as stored. */
export interface RouterTensors {
  /** `[experts, hidden]` */
  readonly router: Tensor;
  /** `[experts]` */
  readonly routerBias?: Tensor;
  /** `[experts]` or `[1, experts]` */
  readonly selectionBias?: Tensor;
  /** `[experts]` */
  readonly expertScale?: Tensor;
}

/** The tensors of a MoE block. */
export interface MoeTensors extends RouterTensors {
  readonly experts: StoredExperts;
}

/** Experts that are in memory. */
export function inMemory(list: readonly ExpertTensors[]): StoredExperts {
  return { count: list.length, read: async (expert) => list[expert]! };
}

/** What is told of a router's choices, and of what the chosen experts made. */
export interface RoutedNorms {
  readonly router: RouterOutput;
  /** `[tokens, topK]`: the norm of each routed expert's output, not weighted. */
  readonly norms: Float32Array;
}

export interface MoeOutput extends RoutedNorms {
  /** `[tokens, hidden]`, before what else the block does with it. */
  readonly output: Float32Array;
}

/** Reads the router, and experts when they are asked for; a backend decodes those that are quantised faster. */
export async function readMoe(checkpoint: Checkpoint, moe: RoutedExperts, backend?: Backend): Promise<MoeTensors> {
  const { weight, bias, selectionBias, expertScale } = moe.router;
  return {
    router: await readWeight(checkpoint, weight),
    ...(bias !== undefined && { routerBias: await checkpoint.read(bias) }),
    ...(selectionBias !== undefined && { selectionBias: await checkpoint.read(selectionBias) }),
    ...(expertScale !== undefined && { expertScale: await checkpoint.read(expertScale) }),
    experts: { count: moe.experts.count, read: (expert) => moe.experts.read(checkpoint, expert, backend) },
  };
}

/** Makes experts ready one after the other, so that no more than one is in memory as stored. Dispose of them. */
export async function readyExperts(backend: Backend, stored: StoredExperts, activation: Activation): Promise<Experts> {
  const ready = backend.experts(stored.count === 0 ? [] : [await stored.read(0)], activation);
  try {
    for (let e = 1; e < stored.count; e++) ready.add(await stored.read(e));
    return ready;
  } catch (error) {
    ready.dispose();
    throw error;
  }
}

/** What the router multiplies each expert's output by, where it does. */
export async function readExpertScales(
  checkpoint: Checkpoint,
  { expertScale }: Pick<RouterDescription, "expertScale">,
): Promise<Float32Array | undefined> {
  return expertScale === undefined ? undefined : decode(await checkpoint.read(expertScale));
}

/** A router ready to run; free its weight when done. */
export function routerWeights(
  backend: Backend,
  { router, routerBias, selectionBias, expertScale }: RouterTensors,
): RouterWeights {
  return {
    weight: backend.matrix(router),
    bias: routerBias && decode(routerBias),
    selectionBias: selectionBias && decode(selectionBias),
    expertScale: expertScale && decode(expertScale),
  };
}

/** A MoE block ready to run, with all of its experts or those that were kept. */
export class MoeBlock {
  readonly router: RouterWeights;

  /** @param experts the block's from now on: it disposes of them */
  constructor(
    private readonly backend: Backend,
    readonly description: MoeDescription,
    router: RouterTensors,
    readonly experts: Experts,
  ) {
    this.router = routerWeights(backend, router);
  }

  /** A block with the experts that are stored. */
  static async load(backend: Backend, description: MoeDescription, tensors: MoeTensors): Promise<MoeBlock> {
    const ready = await readyExperts(backend, tensors.experts, description.activation);
    try {
      return new MoeBlock(backend, description, tensors, ready);
    } catch (error) {
      ready.dispose();
      throw error;
    }
  }

  /**
   * What router and routed experts make of their inputs `[tokens, size]` (`Layer.moeInput`).
   *
   * @param summed tells where the activations of routed pairs are summed, and with which factors
   */
  run({ router: x, experts }: MoeInput, summed?: (router: RouterOutput) => ActivationSums | undefined): MoeOutput {
    const router = route(this.backend, x, this.router, this.description.router);
    return { router, ...this.backend.routed(experts, this.experts, router.routing, summed?.(router)) };
  }

  /** The same with parts of another router. */
  runWith(parts: Pick<MoeTensors, RouterPart>, input: MoeInput): MoeOutput {
    const other = routerWeights(this.backend, parts);
    try {
      const weights = { ...other, expertScale: this.router.expertScale };
      const router = route(this.backend, input.router, weights, this.description.router);
      return { router, ...this.backend.routed(input.experts, this.experts, router.routing) };
    } finally {
      other.weight.dispose();
    }
  }

  dispose(): void {
    this.router.weight.dispose();
    this.experts.dispose();
  }
}
