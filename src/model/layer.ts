import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { Backend } from "../engine/backend.js";
import type { DenseDescription, LayerDescription, ModelDescription, SharedExpert, Sublayer } from "./description.js";
import type { ContinuedTokens, LayerState } from "./layer-state.js";
import { loadMixer } from "./mixers/kinds.js";
import type { Mixer } from "./mixers/mixer.js";
import { pairRows, splitPairs } from "./row-pairs.js";
import { sigmoid } from "./sigmoid.js";
import { type Operation, type WeightChanges, WeightLoader } from "./weight-loader.js";

/** Some sequences of one length, padded where `mask` is 0. */
export interface TokenBatch {
  readonly sequences: number;
  readonly length: number;
  /** `[sequences, length]` */
  readonly ids: Int32Array;
  /** `[sequences, length]`, 1 = token, 0 = padding; undefined: all are tokens. */
  readonly mask?: Uint8Array | undefined;
  /** `[sequences]`: numbers that tell the sequences apart, whatever batch they are in. Undefined: nobody asks. */
  readonly keys?: Uint32Array | undefined;
  /** `[sequences]`: names of the domains that the sequences are from. Undefined: nobody asks. */
  readonly domains?: readonly string[] | undefined;
}

/** A sublayer's norms, loaded. */
interface Surroundings {
  readonly input: Operation;
  readonly output: Operation;
  readonly factors: Sublayer["factors"];
}

/** What the parts of a MoE block see of its input, `[tokens, size]` each. */
export interface MoeInput {
  readonly router: Float32Array;
  /** The routed experts. */
  readonly experts: Float32Array;
}

/** Operations around a MoE block's router and routed experts. */
interface MoeSurroundings {
  readonly router: Operation;
  readonly experts: Operation;
  readonly output: Operation;
}

/** The weights of one decoder layer besides its routed experts, ready for products, and the operations on them. */
export class Layer {
  private constructor(
    readonly description: LayerDescription,
    private readonly loader: WeightLoader,
    private readonly mixer: Mixer,
    private readonly aroundMixer: Surroundings,
    private readonly aroundFeedForward: Surroundings,
    /** The feed-forward block; of a MoE layer its shared expert, if there is one. */
    private readonly dense: Operation | undefined,
    /** What is added to the routed experts' output. */
    private readonly bias: Float32Array | undefined,
    private readonly aroundExperts: MoeSurroundings,
    /** Factor on the layer's output. */
    private readonly outputScale: number,
    private readonly hiddenSize: number,
  ) {}

  /** Reads mixer, norms, and the dense feed-forward block or shared expert; routed experts are read apart (`loadMoe`). */
  static async load(
    checkpoint: Checkpoint,
    model: ModelDescription,
    index: number,
    backend: Backend,
    changes?: WeightChanges,
  ): Promise<Layer> {
    const description = model.layers[index]!;
    const { feedForward } = description;
    const loader = new WeightLoader(checkpoint, backend, changes);
    try {
      const around = async ({ inputNorm, outputNorm, factors }: Sublayer): Promise<Surroundings> => ({
        input: await loader.optionalNorm(inputNorm),
        output: await loader.optionalNorm(outputNorm),
        factors,
      });
      const { outputScale } = description;
      const moe = feedForward.kind === "moe" ? feedForward : undefined;
      const block = feedForward.kind === "dense" ? feedForward : moe?.shared;
      const bias = moe?.bias;
      return new Layer(
        description,
        loader,
        await loadMixer(description.mixer, loader),
        await around(description.aroundMixer),
        await around(description.aroundFeedForward),
        block && (await loadDense(block, loader)),
        bias === undefined ? undefined : await loader.vector(bias),
        {
          router: await loader.optionalNorm(moe?.router.inputNorm),
          experts: await loader.optional(moe?.expertInput),
          output: await loader.optional(moe?.expertOutput),
        },
        outputScale === undefined ? 1 : (await loader.vector(outputScale))[0]!,
        model.hiddenSize,
      );
    } catch (error) {
      loader.dispose();
      throw error;
    } finally {
      loader.done();
    }
  }

  dispose(): void {
    this.loader.dispose();
  }

  /**
   * hidden `[tokens, hidden]` after the first half of the layer: mixer, norms and residual. Of a parallel layer, whose second
   * half needs both, each row is the layer's input and the mixer's output side by side, `[tokens, 2 hidden]`.
   */
  mix(hidden: Float32Array, batch: TokenBatch): Float32Array {
    return this.mixed(hidden, (x) => this.mixer.mix(x, batch));
  }

  /** As `mix`, for the next tokens of sequences, which the state remembers from now on. */
  mixNext(hidden: Float32Array, tokens: ContinuedTokens, state: LayerState): Float32Array {
    return this.mixed(hidden, (x) => this.mixer.mixNext(x, tokens, state));
  }

  private mixed(hidden: Float32Array, mix: Operation): Float32Array {
    const { input, output } = this.aroundMixer;
    const { backend } = this.loader;
    const x = input(hidden);
    const result = mix(x);
    if (this.description.parallel) return pairRows(hidden, output(result), this.hiddenSize);
    return close(backend, this.aroundMixer, hidden, x, result, result);
  }

  /** What the feed-forward block sees of hidden states after `mix`. */
  feedForwardInput(mixed: Float32Array): Float32Array {
    const { input } = this.aroundFeedForward;
    return input(this.description.parallel ? splitPairs(mixed, this.hiddenSize)[0] : mixed);
  }

  /** What a MoE block makes of its input x before anything else. */
  moeInput(x: Float32Array): MoeInput {
    const { router, experts } = this.aroundExperts;
    return { router: router(x), experts: experts(x) };
  }

  /**
   * The feed-forward block's whole output for its input x, without norm and residual.
   *
   * @param routed what the routed experts make of x, which is changed; undefined where the layer is not MoE
   */
  feedForward(x: Float32Array, routed: Float32Array | undefined): Float32Array {
    const { dense, bias, aroundExperts } = this;
    if (routed === undefined) {
      if (dense !== undefined) return dense(x);
      if (this.description.feedForward.kind === "none") return new Float32Array(x.length);
      throw new TypeError(`layer ${this.description.index} is not dense`);
    }
    const output = aroundExperts.output(routed);
    if (dense !== undefined) this.loader.backend.combine(output, 1, dense(x), 1);
    if (bias !== undefined) for (let i = 0; i < output.length; i++) output[i]! += bias[i % bias.length]!;
    return output;
  }

  /** Hidden states after the layer, of those after `mix` (which may be changed), the block's input and its output. */
  finish(mixed: Float32Array, x: Float32Array, output: Float32Array): Float32Array {
    const { outputScale, aroundFeedForward } = this;
    const { backend } = this.loader;
    let hidden: Float32Array;
    if (this.description.parallel) {
      const [before, mixer] = splitPairs(mixed, this.hiddenSize);
      hidden = close(backend, aroundFeedForward, before, x, output, before);
      backend.combine(hidden, 1, mixer, 1);
    } else {
      hidden = close(backend, aroundFeedForward, mixed, x, output, mixed);
    }
    if (outputScale !== 1) for (let i = 0; i < hidden.length; i++) hidden[i]! *= outputScale;
    return hidden;
  }
}

async function loadDense(
  { gate, up, down, activation, weighting, inputNorm, outputNorm }: Omit<DenseDescription, "kind"> & SharedExpert,
  loader: WeightLoader,
): Promise<Operation> {
  const { backend } = loader;
  const gated = gate && (await loader.projection(gate));
  const [plain, output] = [await loader.projection(up), await loader.projection(down)];
  const weigh = weighting && (await loader.projection(weighting));
  const [before, after] = [await loader.optionalNorm(inputNorm), await loader.optionalNorm(outputNorm)];
  return (input) => {
    const x = before(input);
    const value = plain(x);
    const result = after(output(backend.gated(gated === undefined ? value : gated(x), value, activation)));
    if (weigh === undefined) return result;
    const weights = weigh(x);
    const hidden = result.length / weights.length;
    for (const [token, weight] of weights.entries()) {
      const factor = sigmoid(weight);
      for (let i = token * hidden; i < (token + 1) * hidden; i++) result[i]! *= factor;
    }
    return result;
  };
}

const PLAIN_SUM = { of: "input", residual: 1, output: 1 } as const;

/** Ends a sublayer: residual and the block's output, each with its factor, in the memory of the output or of `spare`. */
function close(
  backend: Backend,
  { output, factors = PLAIN_SUM }: Surroundings,
  hidden: Float32Array,
  x: Float32Array,
  result: Float32Array,
  spare: Float32Array,
): Float32Array {
  const normed = output(result);
  const residual = factors.of === "input" ? hidden : x;
  if (normed !== result || spare === result) {
    backend.combine(normed, factors.output, residual, factors.residual);
    return normed;
  }
  if (spare !== residual) spare.set(residual);
  backend.combine(spare, factors.residual, normed, factors.output);
  return spare;
}
