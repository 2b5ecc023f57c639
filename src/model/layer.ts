import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { Backend } from "../engine/backend.js";
import type { DenseDescription, LayerDescription, ModelDescription, SharedExpert, Sublayer } from "./description.js";
import type { ContinuedTokens, LayerState } from "./layer-state.js";
import { loadMixer } from "./mixers/kinds.js";
import type { Mixer } from "./mixers/mixer.js";
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
      const block = feedForward.kind === "dense" ? feedForward : feedForward.shared;
      const bias = feedForward.kind === "moe" ? feedForward.bias : undefined;
      return new Layer(
        description,
        loader,
        await loadMixer(description.mixer, loader),
        await around(description.aroundMixer),
        await around(description.aroundFeedForward),
        block && (await loadDense(block, loader)),
        bias === undefined ? undefined : await loader.vector(bias),
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

  /** hidden `[tokens, hidden]` after the first half of the layer: mixer, norms and residual. */
  mix(hidden: Float32Array, batch: TokenBatch): Float32Array {
    const { input } = this.aroundMixer;
    const x = input(hidden);
    const result = this.mixer.mix(x, batch);
    return close(this.aroundMixer, hidden, x, result, result);
  }

  /** As `mix`, for the next tokens of sequences, which the state remembers from now on. */
  mixNext(hidden: Float32Array, tokens: ContinuedTokens, state: LayerState): Float32Array {
    const { input } = this.aroundMixer;
    const x = input(hidden);
    const result = this.mixer.mixNext(x, tokens, state);
    return close(this.aroundMixer, hidden, x, result, result);
  }

  /** What the feed-forward block sees of hidden states after `mix`. */
  feedForwardInput(mixed: Float32Array): Float32Array {
    const { input } = this.aroundFeedForward;
    return input(mixed);
  }

  /**
   * The feed-forward block's whole output for its input x, without norm and residual.
   *
   * @param routed what the routed experts make of x, which is changed; undefined where the layer is dense
   */
  feedForward(x: Float32Array, routed: Float32Array | undefined): Float32Array {
    const { dense, bias } = this;
    if (routed === undefined) {
      if (dense === undefined) throw new TypeError(`layer ${this.description.index} is not dense`);
      return dense(x);
    }
    if (dense !== undefined) add(routed, dense(x));
    if (bias !== undefined) for (let i = 0; i < routed.length; i++) routed[i]! += bias[i % bias.length]!;
    return routed;
  }

  /** Hidden states after the layer, of those after `mix` (which may be changed), the block's input and its output. */
  finish(mixed: Float32Array, x: Float32Array, output: Float32Array): Float32Array {
    return close(this.aroundFeedForward, mixed, x, output, mixed);
  }
}

async function loadDense(
  { gate, up, down, activation, weighting }: Omit<DenseDescription, "kind"> & Pick<SharedExpert, "weighting">,
  loader: WeightLoader,
): Promise<Operation> {
  const { backend } = loader;
  const [gated, plain, output] = [
    await loader.projection(gate),
    await loader.projection(up),
    await loader.projection(down),
  ];
  const weigh = weighting && (await loader.projection(weighting));
  return (x) => {
    const result = output(backend.gated(gated(x), plain(x), activation));
    if (weigh === undefined) return result;
    const weights = weigh(x);
    const hidden = result.length / weights.length;
    for (const [token, weight] of weights.entries()) {
      const factor = 1 / (1 + Math.exp(-weight));
      for (let i = token * hidden; i < (token + 1) * hidden; i++) result[i]! *= factor;
    }
    return result;
  };
}

const PLAIN_SUM = { of: "input", residual: 1, output: 1 } as const;

/** Ends a sublayer: residual and the block's output, each with its factor, into a new array or into `spare`. */
function close(
  { output, factors = PLAIN_SUM }: Surroundings,
  hidden: Float32Array,
  x: Float32Array,
  result: Float32Array,
  spare: Float32Array,
): Float32Array {
  const normed = output(result);
  const residual = factors.of === "input" ? hidden : x;
  const sum = normed === result ? spare : normed;
  for (let i = 0; i < sum.length; i++) sum[i] = factors.residual * residual[i]! + factors.output * normed[i]!;
  return sum;
}

/** Adds b to a in place. */
export function add(a: Float32Array, b: Float32Array): Float32Array {
  for (let i = 0; i < a.length; i++) a[i]! += b[i]!;
  return a;
}
